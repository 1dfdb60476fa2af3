"""Request bodies at a real DRF view: fault row 18 answers 400 or 413 (other media: 415), never 500, as a problem."""

import gzip
import hashlib
import io
import json
from collections.abc import Mapping
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import RequestFactory
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core.strict_json import BatchJSONParser, StrictJSONParser, body_digest


class Echo(APIView):
    """Answers with what it read."""

    authentication_classes = []
    permission_classes = []

    def post(self, request: Request) -> Response:
        return Response({"read": request.data, "digest": body_digest(request)})


class BatchEcho(Echo):
    """The same for batches."""

    parser_classes = [BatchJSONParser]


def post(
    body: bytes,
    *,
    view: type[APIView] = Echo,
    content_type: str = "application/json",
    headers: Mapping[str, str] | None = None,
) -> Any:
    request = RequestFactory().generic("POST", "/operations/echo", body, content_type, headers=headers)
    return view.as_view()(request)


def problem(response: HttpResponse) -> dict[str, Any]:
    assert response.headers["Content-Type"] == "application/problem+json"
    body = json.loads(response.content)
    assert body["status"] == response.status_code
    assert body["type"] == f"urn:operations:problem:{body['code']}"
    assert body["instance"] == "/operations/echo"
    assert body["title"]
    assert body["detail"]
    return dict(body)


def test_a_good_body_is_read_and_its_digest_known() -> None:
    body = b'{"a": [1, "\xc3\xa4"]}'
    response = post(body, content_type='application/json; charset="UTF-8"')
    assert response.status_code == 200
    assert response.data["read"] == {"a": [1, "ä"]}
    assert response.data["digest"] == hashlib.sha256(body).hexdigest()


@pytest.mark.parametrize(
    ("body", "field"),
    [
        pytest.param(b'{"a":' * 100_000, "body", id="100,000 deep"),
        pytest.param(b'{"params": {"a": 1, "a": 2}}', "params.a", id="duplicate keys"),
        pytest.param(b'{"n": ' + b"1" * 5_000 + b"}", "n", id="5,000 digits"),
        pytest.param(b'{"n": NaN}', "n", id="NaN"),
        pytest.param(rb'{"s": "\udead"}', "s", id="lone surrogate"),
        pytest.param(rb'{"\udead": NaN}', r'["\udead"]', id="lone surrogate in a name"),
        pytest.param(rb'{"s": "\u0000"}', "s", id="NUL"),
        pytest.param(json.dumps({f"f{n}": 0 for n in range(10_000)}).encode(), "body", id="10,000 fields"),
        pytest.param(b"[1, 2]", "body", id="an array"),
        pytest.param(b'"text"', "body", id="a string"),
        pytest.param(b"{", "body", id="cut off"),
        pytest.param(b"\xff", "body", id="not UTF-8"),
    ],
)
def test_a_bad_body_is_a_400_that_names_the_place(body: bytes, field: str) -> None:
    response = post(body)
    assert response.status_code == 400
    told = problem(response)
    assert told["code"] == "invalid_json"
    assert [error["field"] for error in told["errors"]] == [field]


def test_a_gzip_bomb_is_refused_unopened() -> None:
    bomb = gzip.compress(b'{"a": "' + b"x" * 10_000_000 + b'"}')
    response = post(bomb, headers={"Content-Encoding": "gzip"})
    assert response.status_code == 400
    told = problem(response)
    assert told["code"] == "unsupported_encoding"
    assert [error["field"] for error in told["errors"]] == ["Content-Encoding"]


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "*/*",
        "application/*",
        "application/json; charset=utf-16",
        "application/json; charset=bz2_codec",
        "application/jsonx",
        "application/" + "x" * 5_000,
        "",
    ],
)
def test_other_media_are_a_415(content_type: str) -> None:
    response = post(b'{"a": 1}', content_type=content_type)
    assert response.status_code == 415
    problem(response)


def test_a_body_announced_as_too_large_is_not_read() -> None:
    response = post(b"{}", headers={"Content-Length": str(2**20 + 1)})
    assert response.status_code == 413
    assert problem(response)["max_bytes"] == 2**20


def test_a_body_that_is_larger_than_announced_is_cut_off_by_reading() -> None:
    parser = StrictJSONParser()
    with pytest.raises(Exception, match="larger than 1048576 bytes"):
        parser.parse(io.BytesIO(b" " * (2**20 + 1)))


@pytest.mark.parametrize("length", ["-1", "1e3", "٣", "9" * 400, "0x10"])
def test_a_length_that_is_no_number_is_never_a_500(length: str) -> None:
    assert post(b"{}", headers={"Content-Length": length}).status_code in {200, 400, 413}


def test_exactly_one_mebibyte_passes_and_one_byte_more_does_not() -> None:
    filler = b" " * (2**20 - 2)
    assert post(b"{" + filler + b"}").status_code == 200
    assert post(b"{" + filler + b" }").status_code == 413


def test_a_batch_may_be_larger_but_not_without_end() -> None:
    jobs = json.dumps({"jobs": [{"type": "ops.noop", "params": {"note": "x" * 4_000}}] * 1_000}).encode()
    assert post(jobs).status_code == 413
    assert post(jobs, view=BatchEcho).status_code == 200
    assert post(b" " * (20 * 2**20 + 1), view=BatchEcho).status_code == 413


def test_an_empty_body_reads_as_an_empty_object() -> None:
    response = post(b"")
    assert response.status_code == 200
    assert response.data["read"] == {}


def test_every_view_uses_the_strict_parser_unless_it_says_otherwise() -> None:
    assert Echo.parser_classes == [StrictJSONParser]

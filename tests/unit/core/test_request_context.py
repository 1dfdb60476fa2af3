"""Every request has an id, in its log lines and in its answer; what no view should see is refused at the door."""

import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest
import structlog
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.test import RequestFactory

from apps.core import problems
from apps.core.middleware import RequestContext

seen: dict[str, Any] = {}


def view(request: HttpRequest) -> HttpResponse:
    seen.update(structlog.contextvars.get_contextvars())
    return JsonResponse({})


def through(request: HttpRequest, inner: Callable[[HttpRequest], HttpResponseBase] = view) -> Any:
    return RequestContext(inner)(request)


def test_a_harmless_id_is_kept_and_goes_where_the_request_goes() -> None:
    response = through(RequestFactory().get("/operations/jobs", HTTP_X_REQUEST_ID="trace-1.2_3"))
    assert response.headers["X-Request-Id"] == "trace-1.2_3"
    assert seen["request_id"] == "trace-1.2_3"
    assert seen["path"] == "/operations/jobs"
    assert structlog.contextvars.get_contextvars() == {}


@pytest.mark.parametrize(
    "address", ["/operations/callbacks/{}", "/operations/callbacks/{}/", "/operations//Callbacks/{}", "/x/callbacks/{}"]
)
def test_a_callbacks_token_is_told_neither_in_the_log_nor_in_the_problem(address: str) -> None:
    token = "01a209d7-c408-717f-99ce-5a94da07f4f7.acme.bWFjLW9mLWl0"

    def refuse(request: HttpRequest) -> HttpResponseBase:
        seen.update(structlog.contextvars.get_contextvars())
        return problems.respond(problems.NotFound(), request=request)

    answer = through(RequestFactory().post(address.format(token)), refuse)
    assert json.loads(answer.content)["instance"].lower().endswith("/callbacks/***")
    assert seen["path"].lower().endswith("/callbacks/***")


@pytest.mark.parametrize("offered", ["", "a b", "x" * 65, "a\r\nSet-Cookie: b", "é", "a/b", "{}"])
def test_any_other_id_is_replaced(offered: str) -> None:
    response = through(RequestFactory().get("/operations/jobs", HTTP_X_REQUEST_ID=offered))
    assert uuid.UUID(response.headers["X-Request-Id"]).version == 7


def test_json_is_not_cached_framed_sniffed_or_run() -> None:
    headers = through(RequestFactory().get("/operations/jobs")).headers
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
    page = through(RequestFactory().get("/admin/"), lambda _: HttpResponse("<html>"))
    assert "Content-Security-Policy" not in page.headers
    assert page.headers["X-Request-Id"]


def test_a_view_may_say_how_long_its_answer_keeps() -> None:
    answer = JsonResponse({}, headers={"Cache-Control": "public, max-age=300"})
    assert through(RequestFactory().get("/x"), lambda _: answer).headers["Cache-Control"] == "public, max-age=300"


@pytest.mark.parametrize("address", ["/operations/jobs?type=%00", "/operations/jobs/%00"])
def test_nul_in_an_address_goes_no_further(address: str) -> None:
    response = through(RequestFactory().get(address))
    assert response.status_code == 400
    assert json.loads(response.content)["code"] == "invalid_address"
    assert response.headers["X-Request-Id"] == json.loads(response.content)["request_id"]


def test_a_body_without_its_length_is_not_taken_for_empty() -> None:
    request = RequestFactory().generic("POST", "/operations/jobs", b"", HTTP_TRANSFER_ENCODING="chunked")
    request.META.pop("CONTENT_LENGTH", None)
    response = through(request)
    assert response.status_code == 411
    assert json.loads(response.content)["code"] == "length_required"


def test_a_plain_views_problems_are_answered_and_other_errors_left_to_django() -> None:
    middleware = RequestContext(view)
    request = RequestFactory().get("/metrics")
    refused = middleware.process_exception(request, problems.Forbidden("No.", code="missing_scope"))
    assert refused is not None
    assert refused.status_code == 403
    away = middleware.process_exception(request, OperationalError())
    assert away is not None
    assert (away.status_code, away.headers["Retry-After"]) == (503, "2")
    page = middleware.process_exception(RequestFactory().get("/admin/", HTTP_ACCEPT="text/html"), OperationalError())
    assert page is not None
    assert (page.status_code, page.headers["Content-Type"]) == (503, "text/html; charset=utf-8")
    assert middleware.process_exception(request, RuntimeError()) is None


def test_a_stream_keeps_its_context_until_the_next_request() -> None:
    through(
        RequestFactory().get("/operations/events", HTTP_X_REQUEST_ID="s"), lambda _: StreamingHttpResponse(iter([]))
    )
    assert structlog.contextvars.get_contextvars()["request_id"] == "s"
    through(RequestFactory().get("/operations/jobs"))
    assert structlog.contextvars.get_contextvars() == {}

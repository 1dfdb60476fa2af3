"""Problems: whatever a view raises, a caller reads one form, with a code it can act on and nothing of ours inside."""

import json
from collections.abc import Mapping
from typing import Any

import psycopg
import pytest
from django.core import exceptions as django_exceptions
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from django.test import RequestFactory
from rest_framework import exceptions as drf
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core import fallbacks, problems


def answer(error: Exception, *, headers: Mapping[str, str] | None = None) -> tuple[HttpResponse, dict[str, Any]]:
    """Return what a caller gets when a view raises `error`, and its parsed body."""

    class Failing(APIView):
        authentication_classes = []
        permission_classes = []

        def get(self, _: Request) -> Response:
            raise error

    request = RequestFactory().get("/operations/jobs/ä", headers=headers)
    request.request_id = "r-1"  # type: ignore[attr-defined]
    response = Failing.as_view()(request)
    assert isinstance(response, HttpResponse)
    assert response.headers["Content-Type"] == "application/problem+json"
    body = json.loads(response.content)
    assert body["status"] == response.status_code
    assert body["instance"] == "/operations/jobs/%C3%A4"
    assert body["request_id"] == "r-1"
    return response, body


def away(state: str | None) -> OperationalError:
    error = OperationalError("connection to server at 10.0.0.7 failed: password authentication failed for user ops")
    cause = psycopg.OperationalError("secret")
    cause.sqlstate = state
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (problems.Conflict("The version is another.", code="version_conflict"), 409, "version_conflict"),
        (problems.NotFound(), 404, "not_found"),
        (Http404("No Job matches the given query."), 404, "not_found"),
        (drf.NotFound(), 404, "not_found"),
        (django_exceptions.PermissionDenied("because of X"), 403, "forbidden"),
        (drf.PermissionDenied(), 403, "forbidden"),
        (drf.ParseError(), 400, "invalid_json"),
        (drf.ValidationError({"priority": ["No."]}), 400, "invalid_fields"),
        (drf.MethodNotAllowed("PUT"), 405, "method_not_allowed"),
        (drf.NotAcceptable(), 406, "not_acceptable"),
        (drf.UnsupportedMediaType("text/x"), 415, "unsupported_media_type"),
        (drf.Throttled(wait=3), 429, "limit_reached"),
        (drf.APIException("inner workings"), 500, "internal_error"),
        (django_exceptions.SuspiciousOperation("host"), 400, "bad_request"),
        (django_exceptions.RequestDataTooBig("big"), 413, "payload_too_large"),
        (away(None), 503, "database_unavailable"),
        (away("57P01"), 503, "database_unavailable"),
        (away("53300"), 503, "database_unavailable"),
        (away("40001"), 503, "database_busy"),
        (away("55P03"), 503, "database_busy"),
        (InterfaceError("connection already closed"), 503, "database_unavailable"),
    ],
)
def test_each_error_has_its_status_and_code(error: Exception, status: int, code: str) -> None:
    response, body = answer(error)
    assert (response.status_code, body["code"]) == (status, code)
    assert body["type"] == f"urn:operations:problem:{code}"
    for inner in ("10.0.0.7", "password", "secret", "No Job matches", "because of X", "inner workings"):
        assert inner not in response.content.decode()
    if status in {429, 503}:
        assert int(response.headers["Retry-After"]) >= 1


@pytest.mark.parametrize("error", [RuntimeError("dsn=postgresql://ops:hunter2@db"), KeyError("x"), RecursionError()])
def test_the_unforeseen_is_a_500_that_says_nothing(error: Exception) -> None:
    response, body = answer(error)
    assert response.status_code == 500
    assert body["code"] == "internal_error"
    assert "hunter2" not in response.content.decode()
    assert "Traceback" not in response.content.decode()


def test_members_errors_and_headers_reach_the_caller() -> None:
    refusal = problems.TooManyRequests(
        "The plan allows 10 jobs a day.",
        code="jobs_per_day",
        retry_after_s=0.2,
        reason="limit",
        decision_id="d-1",
        job_id="j-1",
        nothing=None,
        errors=[problems.FieldError(field="type", message="is over its limit")],
    )
    response, body = answer(refusal)
    assert response.headers["Retry-After"] == "1"
    assert body["reason"] == "limit"
    assert body["decision_id"] == "d-1"
    assert body["job_id"] == "j-1"
    assert "nothing" not in body
    assert body["errors"] == [{"field": "type", "message": "is over its limit"}]
    assert body["title"] == "Too Many Requests"


def test_a_member_cannot_take_the_place_of_a_standard_one() -> None:
    _, body = answer(problems.Conflict("x", type="evil", status=200))
    assert body["status"] == 409
    assert body["type"] == "urn:operations:problem:conflict"


def test_nested_field_errors_name_their_path() -> None:
    _, body = answer(drf.ValidationError({"jobs": [{}, {"params": {"n": ["Too large.", "Odd."]}}], "rule": ["No."]}))
    assert body["errors"] == [
        {"field": "jobs[1].params.n", "message": "Too large."},
        {"field": "jobs[1].params.n", "message": "Odd."},
        {"field": "rule", "message": "No."},
    ]


def test_text_that_no_encoder_takes_still_reaches_the_caller() -> None:
    _, body = answer(problems.BadRequest("half \ud800 of a pair", code="x"))
    assert body["detail"] == "half \ud800 of a pair"


def test_a_caller_that_accepts_no_json_is_told_so_in_json() -> None:
    _, body = answer(problems.NotFound(), headers={"Accept": "text/event-stream"})
    assert body["code"] == "not_acceptable"


def test_a_problem_is_one_item_of_a_batch() -> None:
    assert problems.BadRequest("No.", code="bad_params").body() == {
        "type": "urn:operations:problem:bad_params",
        "title": "Bad Request",
        "status": 400,
        "code": "bad_params",
        "detail": "No.",
    }


def asked(path: str, accept: str = "*/*") -> HttpRequest:
    return RequestFactory().get(path, HTTP_ACCEPT=accept)


def test_outside_views_machines_get_problems_and_browsers_get_pages() -> None:
    for path, accept in (("/operations/x", "text/html"), ("/nowhere", "*/*")):
        response = fallbacks.not_found(asked(path, accept), Http404())
        assert (response.status_code, response.headers["Content-Type"]) == (404, "application/problem+json")
    page = fallbacks.not_found(asked("/nowhere", "text/html,*/*"), Http404())
    assert (page.status_code, page.headers["Content-Type"]) == (404, "text/html; charset=utf-8")


def test_outside_views_a_bad_request_is_a_400() -> None:
    response = fallbacks.bad_request(asked("/operations/x"), django_exceptions.DisallowedHost("evil.example"))
    assert response.status_code == 400
    assert b"evil" not in response.content
    assert fallbacks.permission_denied(asked("/operations/x"), Exception()).status_code == 403


@pytest.mark.parametrize(("accept", "kind"), [("*/*", "application/problem+json"), ("text/html", "text/html")])
def test_a_middleware_without_its_database_is_a_503(accept: str, kind: str) -> None:
    try:
        raise away(None)
    except OperationalError:
        response = fallbacks.server_error(asked("/admin/", accept))
    assert response.status_code == 503
    assert response.headers["Retry-After"] == "2"
    assert response.headers["Content-Type"].startswith(kind)


def test_a_middleware_that_breaks_is_a_500() -> None:
    try:
        int("inner workings")
    except ValueError:
        response = fallbacks.server_error(asked("/operations/x"))
    assert response.status_code == 500
    assert b"inner" not in response.content

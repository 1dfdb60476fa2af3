"""The outermost middleware: gives every request its id, its place in the log and its headers on the way out.

It also refuses what no view should have to think about (NUL in an address, a body without a length) and answers for
plain Django views what DRF's handler answers for its own. It reads no database and does not ask who is calling.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

import structlog
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from apps.core import addresses, fallbacks, ids, problems

_ACCEPTABLE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
# Asked every few seconds by machines: a line each would bury what people did.
_PROBED: Final = frozenset({"/livez", "/readyz", "/metrics"})
_API_POLICY: Final = "default-src 'none'; frame-ancestors 'none'"

log = structlog.stdlib.get_logger(__name__)


class RequestContext:
    """Gives each request its `request_id`: on the request, in its log lines (with method and path), in its answer."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer `request` inside its context; one line tells how it went."""
        started = time.monotonic()
        request_id = _request_id(request)
        request.request_id = request_id  # type: ignore[attr-defined]
        structlog.contextvars.clear_contextvars()
        path = addresses.told(request.path)
        structlog.contextvars.bind_contextvars(request_id=request_id, method=request.method, path=path)
        refusal = _refusal(request)
        response = problems.respond(refusal, request=request) if refusal else self._get_response(request)
        _dress(response, request_id=request_id)
        if request.path not in _PROBED or response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
            log.info("request", status=response.status_code, duration_ms=round((time.monotonic() - started) * 1000, 2))
        if not response.streaming:  # a stream goes on speaking after this; the next request clears its context
            structlog.contextvars.clear_contextvars()
        return response

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponseBase | None:
        """Answer problems and a database that is away for plain Django views; leave every other error to Django."""
        if not isinstance(exception, problems.Problem | OperationalError | InterfaceError):
            return None
        if isinstance(exception, problems.Problem) or not fallbacks.is_page(request):
            return problems.answer(exception, request=request)
        return fallbacks.unavailable_page(problems.from_exception(exception))


def _request_id(request: HttpRequest) -> str:
    """Return the caller's id where it is harmless in a log and a header, else a new one."""
    offered: str = request.META.get("HTTP_X_REQUEST_ID", "")
    return offered if _ACCEPTABLE_ID.fullmatch(offered) else str(ids.uuid7())


def _refusal(request: HttpRequest) -> problems.Problem | None:
    """Return why `request` goes no further, if it does not."""
    if "\0" in request.path or "%00" in request.META.get("QUERY_STRING", ""):
        return problems.BadRequest("An address holds no NUL.", code="invalid_address")
    if "HTTP_TRANSFER_ENCODING" in request.META and not request.META.get("CONTENT_LENGTH"):
        # WSGI gives Django no body without a length: taking it for empty would silently do something else.
        return problems.LengthRequired("Send the body with its Content-Length.")
    return None


def _dress(response: HttpResponseBase, *, request_id: str) -> None:
    """Set the headers that every answer has; JSON is never cached, framed, sniffed or run."""
    response["X-Request-Id"] = request_id
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    if "json" in response.headers.get("Content-Type", ""):
        response.headers.setdefault("Cache-Control", "no-store")
        response.headers.setdefault("Content-Security-Policy", _API_POLICY)
        response.headers.setdefault("Referrer-Policy", "no-referrer")

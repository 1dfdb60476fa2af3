"""Errors as callers meet them: RFC 9457 `application/problem+json`, each with a stable `code`, none with our internals.

Operations raise named errors of their own; what must reach a caller is raised as (or turned into) a `Problem`. `handle`
is DRF's exception handler; what fails before or outside a DRF view is answered by `fallbacks` in the same form. What
is not foreseen becomes a 500 that says nothing and a log line that says everything.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any, ClassVar, Final, TypedDict, cast

import structlog
from django.core import exceptions as django_exceptions
from django.core.signals import got_request_exception
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, UnreadablePostError
from django.utils.encoding import escape_uri_path
from rest_framework import exceptions as drf_exceptions

from apps.core import addresses

CONTENT_TYPE: Final = "application/problem+json"
DATABASE_RETRY_S: Final = 2
# Classes of SQLSTATE that mean "this database, just now": no connection, going down, out of connections.
_AWAY: Final = ("08", "57P", "53")

log = structlog.stdlib.get_logger(__name__)


class FieldError(TypedDict):
    """What is wrong with one field: its path in the body (`params.region`) and a sentence."""

    field: str
    message: str


class Problem(Exception):  # noqa: N818 - RFC 9457's own word, and what callers read
    """An error that a caller is told, whole: raise it anywhere below a view.

    `detail` is a sentence for a person; `code` a stable word for a program; `errors` name fields; `members` are the
    extension members of RFC 9457, such as `job_id`, `reason`, `decision_id` (those that are None are left out).
    """

    status: ClassVar[int] = 500
    code: str = "internal_error"
    title: str = ""

    def __init__(
        self,
        detail: str = "",
        *,
        code: str | None = None,
        title: str | None = None,
        errors: Sequence[FieldError] = (),
        retry_after_s: float | None = None,
        headers: Mapping[str, str] | None = None,
        **members: Any,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code or self.code
        self.title = title or self.title or HTTPStatus(self.status).phrase
        self.errors = list(errors)
        self.members = {name: value for name, value in members.items() if value is not None}
        self.headers = dict(headers or {})
        if retry_after_s is not None:
            self.headers["Retry-After"] = str(max(1, -int(-retry_after_s // 1)))

    def body(self, *, instance: str | None = None, request_id: str | None = None) -> dict[str, Any]:
        """Return the problem as the JSON object a caller reads, for a whole answer or for one item of a batch."""
        body: dict[str, Any] = {
            **self.members,
            "type": f"urn:operations:problem:{self.code}",
            "title": self.title,
            "status": self.status,
            "code": self.code,
        }
        optional = {"detail": self.detail, "errors": self.errors, "instance": instance, "request_id": request_id}
        return body | {name: value for name, value in optional.items() if value}


class BadRequest(Problem):
    """The request cannot be understood or says something impossible; sent again unchanged it fails again."""

    status = 400
    code = "bad_request"


class Unauthorized(Problem):
    """The token is missing, forged, expired or meant for someone else."""

    status = 401
    code = "invalid_token"


class Forbidden(Problem):
    """The caller is known and may not do this."""

    status = 403
    code = "forbidden"


class NotFound(Problem):
    """There is no such object, or it is another tenant's: the two read the same, to the letter."""

    status = 404
    code = "not_found"

    def __init__(self, detail: str = "There is no such object.", **members: Any) -> None:
        super().__init__(detail, **members)


class MethodNotAllowed(Problem):
    """The address exists and does not take this method."""

    status = 405
    code = "method_not_allowed"


class NotAcceptable(Problem):
    """The caller accepts no form this answer has."""

    status = 406
    code = "not_acceptable"


class Conflict(Problem):
    """The object's state, its version or an idempotency key forbids it now."""

    status = 409
    code = "conflict"


class Gone(Problem):
    """What the request is about is over, and will not be again."""

    status = 410
    code = "gone"


class LengthRequired(Problem):
    """The body came without its length."""

    status = 411
    code = "length_required"


class PayloadTooLarge(Problem):
    """The body is larger than this endpoint takes."""

    status = 413
    code = "payload_too_large"


class UnsupportedMediaType(Problem):
    """The body is not plain UTF-8 JSON by its own headers."""

    status = 415
    code = "unsupported_media_type"


class TooManyRequests(Problem):
    """A limit is reached; `Retry-After` says when it may be asked again."""

    status = 429
    code = "limit_reached"


class InternalError(Problem):
    """Something that was not foreseen; the log has it under the request's id."""

    def __init__(self) -> None:
        super().__init__("Something unforeseen happened; the operators see it under this request's id.")


class Unavailable(Problem):
    """Something this answer needs is away for the moment; `Retry-After` says when to ask again."""

    status = 503
    code = "unavailable"

    def __init__(self, detail: str = "", *, retry_after_s: float = DATABASE_RETRY_S, **members: Any) -> None:
        super().__init__(detail, retry_after_s=retry_after_s, **members)


_BY_STATUS: Final[dict[int, type[Problem]]] = {
    problem.status: problem
    for problem in (
        BadRequest,
        Unauthorized,
        Forbidden,
        NotFound,
        MethodNotAllowed,
        NotAcceptable,
        Conflict,
        PayloadTooLarge,
        UnsupportedMediaType,
        TooManyRequests,
        Unavailable,
    )
}


def from_exception(error: BaseException) -> Problem:
    """Return what a caller is told about `error`, whatever it is; the unforeseen becomes an `InternalError`."""
    if isinstance(error, Problem):
        return error
    for kinds, tell in _TOLD:
        if isinstance(error, kinds):
            return tell(error)
    return InternalError()


def _from_database(error: Any) -> Problem:
    """Tell a database that is away from one that is merely contended: both pass, for different reasons."""
    state = getattr(error.__cause__, "sqlstate", None)
    if state is None or state.startswith(_AWAY):
        return Unavailable("The database is away; nothing was changed.", code="database_unavailable")
    return Unavailable("The database is contended; nothing was changed.", code="database_busy", retry_after_s=1)


def _from_drf(error: Any) -> Problem:
    kind = _BY_STATUS.get(error.status_code)
    if kind is None:
        return InternalError()
    headers = {"WWW-Authenticate": error.auth_header} if getattr(error, "auth_header", None) else {}
    if getattr(error, "wait", None):
        headers["Retry-After"] = str(error.wait)
    if isinstance(error, drf_exceptions.ValidationError):
        errors = list(_fields(error.detail, ""))
        return kind("Some fields are not as they must be.", code="invalid_fields", errors=errors, headers=headers)
    code = error.get_codes()
    return kind(str(error.detail), code=_CODES.get(code, code), headers=headers)


# Where DRF's word and ours differ, ours is the documented one.
_CODES: Final = {"parse_error": "invalid_json", "permission_denied": "forbidden", "throttled": "limit_reached"}


def _fields(detail: Any, path: str) -> Iterator[FieldError]:
    """Yield DRF's nested complaints flat, each with the path of its field."""
    if isinstance(detail, dict):
        for name, inner in detail.items():
            yield from _fields(inner, f"{path}.{name}" if path else str(name))
    elif isinstance(detail, list):
        for position, inner in enumerate(detail):
            yield from _fields(inner, path if isinstance(inner, str) else f"{path}[{position}]")
    else:
        yield FieldError(field=path or "body", message=str(detail))


_TOLD: Final[tuple[tuple[type[Exception] | tuple[type[Exception], ...], Callable[[Any], Problem]], ...]] = (
    (drf_exceptions.APIException, _from_drf),
    ((OperationalError, InterfaceError), _from_database),
    (Http404, lambda _: NotFound()),
    (django_exceptions.PermissionDenied, lambda _: Forbidden("This is not permitted.")),
    (django_exceptions.RequestDataTooBig, lambda _: PayloadTooLarge("The body is larger than the plane takes.")),
    (
        (django_exceptions.BadRequest, django_exceptions.SuspiciousOperation),
        lambda _: BadRequest("The request is malformed."),
    ),
    (UnreadablePostError, lambda _: BadRequest("The body broke off.", code="incomplete_body")),
)


def respond(problem: Problem, *, request: HttpRequest) -> HttpResponse:
    """Return `problem` as the answer to `request`. The body is pure ASCII: nothing in it can fail to be encoded."""
    instance = escape_uri_path(addresses.told(request.path))
    request_id: str | None = getattr(request, "request_id", None)
    body = json.dumps(problem.body(instance=instance, request_id=request_id), default=str)
    response = HttpResponse(body.encode("ascii"), status=problem.status, content_type=CONTENT_TYPE)
    response["Cache-Control"] = "no-store"
    for name, value in problem.headers.items():
        response[name] = value
    return response


def handle(error: Exception, context: Mapping[str, Any]) -> HttpResponse:
    """Turn whatever a DRF view raised into its answer (REST_FRAMEWORK["EXCEPTION_HANDLER"]).

    No transaction spans a request here (no ATOMIC_REQUESTS), so there is none to roll back.
    """
    request = cast("HttpRequest", getattr(context["request"], "_request", context["request"]))
    return answer(error, request=request)


def answer(error: BaseException, *, request: HttpRequest) -> HttpResponse:
    """Return the answer to `request` that failed with `error`; log what a caller could not have caused."""
    problem = from_exception(error)
    if isinstance(problem, InternalError):
        log.error("unforeseen_error", exc_info=error)
        # What Django sends for an uncaught exception: error reporting listens here, and a test client raises it again.
        got_request_exception.send(sender=None, request=request)
    elif isinstance(error, OperationalError | InterfaceError):
        log.warning("database_error", code=problem.code, error=type(error).__name__)
    return respond(problem, request=request)

"""Callbacks over HTTP: a module that answered "not yet" says that it is done. The token in the path is the proof."""

from __future__ import annotations

from typing import Final

from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core import problems
from apps.jobs import callbacks
from apps.jobs.lifecycle import TERMINAL
from apps.jobs.operations.callback import call_back
from apps.tenancy import keys
from apps.tenancy.context import in_tenant

MOST_BODY_BYTES: Final = 64 * 1024


class Callback(APIView):
    """End a wait for a module's answer.

    No bearer token is asked for: the module that is called need not be one that may call.
    """

    authentication_classes = ()
    permission_classes = ()

    @extend_schema(
        operation_id="callbacks_call",
        request=None,
        responses={202: None},
        auth=[{}],
        tags=["jobs"],
        description="Say that a module is done which answered an `http.call` by 202: the call is made again now, not "
        "after its pause, at most once a second. The address is the `callback` of the signed call and its own proof: "
        "no bearer token is needed. What the body says (at most 64 KiB) is not read. 202 as often as it is asked for "
        "a job that is not over; 410 `job_over` for one that is; 404 for an address that the plane did not make.",
    )
    def post(self, request: Request, token: str) -> Response:
        """Ask the module again."""
        _refuse_large(request)
        try:
            called = callbacks.read(token, key=keys.message_key())
        except callbacks.BadTokenError as error:
            raise problems.NotFound from error
        with in_tenant(called.tenant_id):
            stands = call_back(job_id=called.job_id)
        if stands is None:
            raise problems.NotFound
        if stands in TERMINAL:
            raise problems.Gone("The job is over.", code="job_over", job_status=stands.value)
        return Response(status=status.HTTP_202_ACCEPTED)


def _refuse_large(request: Request) -> None:
    """Refuse what announces a large body, before a byte of it is read."""
    announced = request.META.get("CONTENT_LENGTH") or "0"
    if not announced.isascii() or not announced.isdigit():
        raise problems.BadRequest("Content-Length is not a number.", code="invalid_content_length")
    if len(announced) > len(str(MOST_BODY_BYTES)) or int(announced) > MOST_BODY_BYTES:
        raise problems.PayloadTooLarge(f"The body is larger than {MOST_BODY_BYTES} bytes.", max_bytes=MOST_BODY_BYTES)

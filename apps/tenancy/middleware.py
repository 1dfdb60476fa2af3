"""Signed-in people's pages: each admin request runs in one transaction under the operator's database role.

So does signing in to a tenant's pages and out of them, which writes sessions; those pages themselves do not
(`apps.console.visits`).
"""

from __future__ import annotations

from collections.abc import Callable

import structlog
from django.core.exceptions import PermissionDenied
from django.db import ProgrammingError, connection
from django.http import HttpRequest, HttpResponse
from psycopg.errors import InsufficientPrivilege

from apps.core import fallbacks
from apps.tenancy.context import operator_reading

ADMIN = "/admin/"
SIGNING = frozenset({"/console/sign-in", "/console/sign-out"})  # whole: a tenant's name may begin as they do

log = structlog.stdlib.get_logger(__name__)


class OperatorReading:
    """Open `operator_reading` around every admin page, so that staff read across tenants and no one else does.

    Signing in and out happen there as well; the role may write sessions, users and configuration, and only read what
    tenants own.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer `request`, inside the operator's context when it is for the admin or about a session."""
        if not request.path.startswith(ADMIN) and request.path not in SIGNING:
            return self.get_response(request)
        # The session and its user are read lazily, by whoever asks first: that must be inside the same role.
        connection.ensure_connection()
        with operator_reading():
            response = self.get_response(request)
            if hasattr(response, "render") and not getattr(response, "is_rendered", True):
                response = response.render()
            return response

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Answer 403 where PostgreSQL refused what a page tried: the second wall speaks as the first does."""
        if not isinstance(exception, ProgrammingError) or not isinstance(exception.__cause__, InsufficientPrivilege):
            return None
        if not request.path.startswith(ADMIN):
            return None
        # The pages' own permissions should have refused before: somebody should know that they did not.
        log.error("refused_by_the_database", detail=str(exception.__cause__).splitlines()[0])
        return fallbacks.permission_denied(request, PermissionDenied())

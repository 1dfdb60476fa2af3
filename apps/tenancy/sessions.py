"""DRF's second door, for the few addresses that are a person's: a Django session, with its CSRF token.

A view opens it by naming `SignedIn` beside `BearerToken`. No token comes in by it, and a session opens nothing else.
"""

from __future__ import annotations

from typing import Any, Final

import structlog
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import CsrfViewMiddleware
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from apps.core import problems
from apps.tenancy.context import operator_reading
from apps.tenancy.principals import ALL, SignedInPerson

ISSUER: Final = "session"
# What a person's permission is worth at an address that asks for a scope.
PERMISSIONS: Final = {"migrations:approve": "migrations.approve_migration"}


class _CSRF(CsrfViewMiddleware):
    """Django's check, which here returns what it has to say instead of answering with a page."""

    def _reject(self, request: HttpRequest, reason: str) -> Any:  # noqa: ARG002 - Django's signature
        return reason


class SignedIn(BaseAuthentication):
    """Lets in whoever signed in to the admin or to a tenant's pages; what they may do there is the view's to ask."""

    def authenticate(self, request: Request) -> tuple[SignedInPerson, None] | None:
        """Return the person; None where nobody signed in. Raises 403 `csrf_failed` without the session's token."""
        plain: HttpRequest = request._request
        connection.ensure_connection()
        with operator_reading():  # sessions and people are this role's to read
            person: Any = plain.user
            if not person.is_authenticated or not person.is_active:
                return None
            staff = bool(person.is_staff)
            scopes = frozenset(scope for scope, needed in PERMISSIONS.items() if staff and person.has_perm(needed))
            known = SignedInPerson(
                issuer=ISSUER,
                subject=person.get_username(),
                scopes=scopes,
                tenants=ALL if staff else frozenset(),
                token_id=ISSUER,
                expires_at=plain.session.get_expiry_date(),
            )
        check = _CSRF(lambda _: HttpResponse())
        check.process_request(plain)
        complaint = check.process_view(plain, None, (), {})  # type: ignore[arg-type]  # no callback: none is exempt
        if complaint is not None:
            said = f"A session speaks with its CSRF token, in X-CSRFToken: {complaint}"
            raise problems.Forbidden(said, code="csrf_failed")
        structlog.contextvars.bind_contextvars(subject=known.subject, issuer=ISSUER)
        return known, None

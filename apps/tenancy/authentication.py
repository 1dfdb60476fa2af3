"""DRF's door: turns `Authorization: Bearer …` into a `ServicePrincipal` or a 401. Cookies and sessions do not count."""

from __future__ import annotations

from typing import Any, cast

import structlog
from django.http import HttpRequest
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed, NotAuthenticated
from rest_framework.request import Request

from apps.core.clock import system_now
from apps.tenancy import tokens
from apps.tenancy.principals import ALL, ServicePrincipal

__all__ = ["ALL", "BearerToken", "ServicePrincipal", "bearer", "principal_of"]

CHALLENGE = 'Bearer realm="operations"'


def bearer(request: HttpRequest | Request) -> ServicePrincipal | None:
    """Return who `request`'s bearer token speaks for, None where it brings none; raise `tokens.TokenError`.

    An `Authorization` header of another scheme, or one said twice, is a refusal: it was meant to say something.
    """
    header: str | None = request.META.get("HTTP_AUTHORIZATION")
    if header is None:
        return None
    scheme, _, token = header.strip().partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise tokens.TokenError("the Authorization header is not 'Bearer' and a token")
    principal = tokens.verify(token.strip(), now=system_now())
    structlog.contextvars.bind_contextvars(subject=principal.subject, issuer=principal.issuer, jti=principal.token_id)
    return principal


def principal_of(request: Request) -> ServicePrincipal:
    """Return the module that sent `request`; raise DRF's `NotAuthenticated` (401) where none did."""
    user = cast("object", request.user)  # Django's stubs know people only
    if not isinstance(user, ServicePrincipal):
        raise NotAuthenticated("A bearer token is needed.")
    return user


class BearerToken(BaseAuthentication):
    """The plane's only way in for machines (REST_FRAMEWORK["DEFAULT_AUTHENTICATION_CLASSES"])."""

    def authenticate(self, request: Request) -> tuple[ServicePrincipal, None] | None:
        """Return the caller; None without a token, which the permission then answers with 401."""
        try:
            principal = bearer(request)
        except tokens.TokenError as error:
            structlog.stdlib.get_logger(__name__).info("token_refused", reason=str(error))
            raise AuthenticationFailed(error.sentence, code="invalid_token") from error
        return None if principal is None else (principal, None)

    def authenticate_header(self, request: Any) -> str:
        """Return the challenge of a 401, RFC 6750: with the error where a token was brought, bare where none was."""
        return f'{CHALLENGE}, error="invalid_token"' if "HTTP_AUTHORIZATION" in request.META else CHALLENGE

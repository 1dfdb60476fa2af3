"""How the bearer token, and a person's session, read in the OpenAPI document.

drf-spectacular finds the classes once this module is imported.
"""

from __future__ import annotations

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension


class BearerTokenScheme(OpenApiAuthenticationExtension):  # type: ignore[misc]  # the library is untyped
    """`BearerToken` as a security scheme."""

    target_class = "apps.tenancy.authentication.BearerToken"
    name = "bearerToken"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:  # noqa: ARG002 - the library's signature
        """Return the scheme as OpenAPI writes it."""
        return {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "Ed25519, typ at+jwt, at most 15 minutes; see docs/tokens.md.",
        }


class SessionScheme(OpenApiAuthenticationExtension):  # type: ignore[misc]
    """`SignedIn` as a security scheme."""

    target_class = "apps.tenancy.sessions.SignedIn"
    name = "session"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:  # noqa: ARG002
        """Return the scheme as OpenAPI writes it."""
        return {
            "type": "apiKey",
            "in": "cookie",
            "name": "sessionid",
            "description": "A person who signed in at /admin/; with the cookie `csrftoken` in the header X-CSRFToken.",
        }

"""What a caller may do: one scope for each method of each view, and tenants by token. Silence is a refusal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import structlog
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from apps.core import problems
from apps.tenancy.authentication import CHALLENGE, principal_of
from apps.tenancy.principals import ServicePrincipal

if TYPE_CHECKING:  # DRF's views import this module by setting, so it cannot import them
    from rest_framework.views import APIView


class HasScope(BasePermission):
    """Lets a caller through whose token carries the scope that the view declares for this method.

    A view says `required_scopes = {"GET": "jobs:read", "POST": "jobs:submit"}` (HEAD is GET). A method it serves and
    does not list is refused, and a system check (`checks.py`) names it before anybody meets the refusal.
    """

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Return True, or raise the problem that says what is missing."""
        principal = principal_of(request)
        method = "GET" if request.method == "HEAD" else str(request.method)
        if method not in view.allowed_methods or method == "OPTIONS":
            return True  # DRF answers 405, or describes the address: neither touches anybody's data
        scope = declared_scopes(view).get(method)
        if scope is None:
            structlog.stdlib.get_logger(__name__).error("scope_undeclared", view=type(view).__qualname__)
            raise problems.Forbidden("This address declares no scope and so serves nobody.", code="scope_undeclared")
        if not principal.may(scope):
            challenge = f'{CHALLENGE}, error="insufficient_scope", scope="{scope}"'
            raise problems.Forbidden(
                f"The token lacks the scope {scope}.",
                code="missing_scope",
                headers={"WWW-Authenticate": challenge},
                scope=scope,
            )
        return True


def declared_scopes(view: APIView | type[APIView]) -> Mapping[str, str]:
    """Return the scopes a view declares, by method; empty where it declares none."""
    scopes: Any = getattr(view, "required_scopes", None)
    return scopes if isinstance(scopes, Mapping) else {}


def tenant_or_404(principal: ServicePrincipal, tenant_id: str | None = None) -> str:
    """Return the tenant a request is about: the one it names, or the only one its token names.

    A tenant outside the token is a 404 and reads as one that does not exist; naming none where several are possible is
    a 400.
    """
    if tenant_id is None:
        if principal.only_tenant is None:
            raise problems.BadRequest(
                "The token names several tenants: say which one.",
                code="tenant_required",
                errors=[problems.FieldError(field="tenant_id", message="needed, since the token names several")],
            )
        return principal.only_tenant
    if not principal.may_act_for(tenant_id):
        raise problems.NotFound()
    return tenant_id

"""Whose rows a request may read: the tenants of its token, each in a context of its own, or all for a platform module.

A context is one tenant's (row-level security knows no sets), so who may read several reads them one after the other and
merges. A `Scope` says whose rows as a value: a stream keeps it and opens its contexts anew with each look.
"""

from __future__ import annotations

from contextlib import AbstractContextManager

from apps.core.asked import bad_field
from apps.tenancy.context import in_tenant, operator_reading
from apps.tenancy.permissions import tenant_or_404
from apps.tenancy.principals import ALL, AllTenants, ServicePrincipal

MAX_TENANTS_A_LIST = 20

Scope = tuple[str, ...] | AllTenants


def scope_of(principal: ServicePrincipal, *, tenant_id: str | None = None) -> Scope:
    """Return whose rows a caller may read: `tenant_id`'s alone where it names one, else all that its token names.

    Raises 404 for a tenant outside the token, 400 where the token names more tenants than one answer can merge.
    """
    if tenant_id is not None:
        return (tenant_or_404(principal, tenant_id),)
    if isinstance(principal.tenants, AllTenants):
        return ALL
    if len(principal.tenants) > MAX_TENANTS_A_LIST:
        raise bad_field("tenant_id", f"the token names more than {MAX_TENANTS_A_LIST} tenants: say which one")
    return tuple(sorted(principal.tenants))


def contexts_of(scope: Scope) -> list[AbstractContextManager[None]]:
    """Return the contexts of a scope, each to be entered once: its tenants' one by one, or the operator's for all."""
    if isinstance(scope, AllTenants):
        return [operator_reading()]
    return [in_tenant(each) for each in scope]


def contexts(principal: ServicePrincipal, *, tenant_id: str | None = None) -> list[AbstractContextManager[None]]:
    """Return the contexts in which a caller may read, as `scope_of` has them."""
    return contexts_of(scope_of(principal, tenant_id=tenant_id))

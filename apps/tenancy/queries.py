"""Every read of tenants that others may use."""

from __future__ import annotations

from typing import NamedTuple

from apps.tenancy.models import Membership, Tenant, TenantState

OPERATOR = "operator"


class Seat(NamedTuple):
    """A tenant that a person may look at, and as what: a role of theirs there, or `OPERATOR`."""

    tenant_id: str
    name: str
    role: str


def tenant_ids() -> frozenset[str]:
    """Return every tenant's id, for people's configuration pages; under the app's role only the current tenant's."""
    return frozenset(Tenant.objects.values_list("tenant_id", flat=True))


def active_tenant_ids() -> frozenset[str]:
    """Return every tenant whose work may run. Across tenants."""
    return frozenset(Tenant.objects.filter(state=TenantState.ACTIVE).values_list("tenant_id", flat=True))


def region_of(tenant_id: str) -> str | None:
    """Return where a tenant's data and records must stay, inside its context; None where there is no such tenant."""
    return Tenant.objects.filter(tenant_id=tenant_id).values_list("region", flat=True).first()


def seats_of(user_id: int) -> list[Seat]:
    """Return the tenants that a person belongs to, by id. In the operator's context: who asks is not known before."""
    rows = Membership.objects.filter(user_id=user_id).order_by("tenant_id")
    return [Seat(*row) for row in rows.values_list("tenant_id", "tenant__name", "role")]


def operators_seats(*, tenant_id: str | None = None, limit: int = 500) -> list[Seat]:
    """Return the tenants, or only `tenant_id`, by id, as an operator may look at them. In the operator's context."""
    rows = Tenant.objects.order_by("tenant_id").values_list("tenant_id", "name")
    found = rows if tenant_id is None else rows.filter(tenant_id=tenant_id)
    return [Seat(each, name, OPERATOR) for each, name in found[:limit]]

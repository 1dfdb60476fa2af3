"""Every read of tenants that others may use."""

from __future__ import annotations

from apps.tenancy.models import Tenant


def tenant_ids() -> frozenset[str]:
    """Return every tenant's id, for people's configuration pages; under the app's role only the current tenant's."""
    return frozenset(Tenant.objects.values_list("tenant_id", flat=True))


def region_of(tenant_id: str) -> str | None:
    """Return where a tenant's data and records must stay, inside its context; None where there is no such tenant."""
    return Tenant.objects.filter(tenant_id=tenant_id).values_list("region", flat=True).first()

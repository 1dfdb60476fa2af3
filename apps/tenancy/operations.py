"""Every write of tenants, and of who belongs to them."""

from __future__ import annotations

from apps.tenancy.models import Membership, Role, Tenant, TenantState


class StorageSharedError(Exception):
    """A tenant's storage would lie within another's, or around it."""


def put_tenant(*, tenant_id: str, name: str, region: str, state: TenantState | str, storage_url: str) -> Tenant:
    """Make the tenant, or change its name, state and storage; return it. A tenant's region never changes.

    Raises `StorageSharedError` when another tenant could reach this one's files, or this one another's.
    """
    other = storage_neighbour(tenant_id=tenant_id, storage_url=storage_url)
    if other is not None:
        raise StorageSharedError(f"{storage_url} and the storage of tenant {other} lie within each other")
    tenant, _ = Tenant.objects.update_or_create(
        tenant_id=tenant_id,
        defaults={"name": name, "state": state, "storage_url": storage_url},
        create_defaults={"name": name, "region": region, "state": state, "storage_url": storage_url},
    )
    return tenant


def put_membership(*, user_id: int, tenant_id: str, role: Role | str) -> Membership:
    """Make a person a tenant's own, or change what they are to it; return the membership. As an operator."""
    membership, _ = Membership.objects.update_or_create(user_id=user_id, tenant_id=tenant_id, defaults={"role": role})
    return membership


def end_membership(*, membership_id: int) -> bool:
    """Take a person out of a tenant; return whether they were in it. What they see ends with their next request."""
    deleted, _ = Membership.objects.filter(pk=membership_id).delete()
    return bool(deleted)


def storage_neighbour(*, tenant_id: str, storage_url: str) -> str | None:
    """Return another tenant whose storage lies within `storage_url`, or around it; None when there is none."""
    mine = _folder(storage_url)
    others = Tenant.objects.exclude(tenant_id=tenant_id).values_list("tenant_id", "storage_url")
    for other_id, other_url in others:
        theirs = _folder(other_url)
        if mine.startswith(theirs) or theirs.startswith(mine):
            return other_id
    return None


def _folder(url: str) -> str:
    """Return `url` ending in one slash, so that `…/acme` is not taken for the beginning of `…/acme-labs`."""
    return url.rstrip("/") + "/"

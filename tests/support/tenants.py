"""Tenants of a running plane that one test has for itself."""

from __future__ import annotations

import uuid

from tests.support.client import Truth


def names(count: int) -> list[str]:
    """Return names of tenants that no other test has."""
    mark = uuid.uuid4().hex[:6]
    return [f"t{mark}-{number}" for number in range(count)]


def admit(truth: Truth, tenant: str, *, plan: str = "gold") -> None:
    """Make a tenant of the plane, subscribed to a plan."""
    truth.execute(
        "INSERT INTO tenants (tenant_id, name, region, state, storage_url, created_at)"
        " VALUES (%s, %s, 'local', 'active', %s, clock_timestamp()) ON CONFLICT DO NOTHING",
        tenant,
        tenant,
        f"file:///tmp/{tenant}",
    )
    truth.execute(
        "INSERT INTO subscriptions (tenant_id, plan_id, state) VALUES (%s, %s, 'active') ON CONFLICT DO NOTHING",
        tenant,
        plan,
    )

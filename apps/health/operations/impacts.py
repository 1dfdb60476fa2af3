"""The blast radius of what is not well: whose unfinished work is there, each tenant's count for itself."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

import orjson
from django.db import connection, transaction

from apps.health.models import PLATFORM, Component, Impact
from apps.health.operations.standing import pool_of

NOTE = """
INSERT INTO health_impacts AS i (tenant_id, component_id, jobs, seen_at)
SELECT key, %(component)s, value::int, clock_timestamp() FROM jsonb_each_text(%(jobs)s)
ON CONFLICT (component_id, tenant_id) DO UPDATE SET jobs = excluded.jobs, seen_at = excluded.seen_at
"""


def bad_pools() -> list[tuple[UUID, str]]:
    """Return (component, pool) of each worker pool and queue that is not well."""
    found = Component.every.filter(
        tenant=None, module=PLATFORM, status__in=["degraded", "down", "unknown"], deleted_at=None
    )
    return [(row.component_id, pool) for row in found if (pool := pool_of(row)) is not None]


def note(component_id: UUID, *, jobs: Mapping[str, int]) -> None:
    """Write how many unfinished jobs each tenant has there now."""
    with transaction.atomic():
        Impact.every.filter(component_id=component_id).exclude(tenant_id__in=list(jobs)).delete()
        with connection.cursor() as cursor:
            cursor.execute(NOTE, {"component": component_id, "jobs": orjson.dumps(dict(jobs)).decode()})
        Component.every.filter(component_id=component_id).update(
            affected_tenants=len(jobs), affected_jobs=sum(jobs.values())
        )


def clear() -> int:
    """Forget the impacts of what is well again; return how many."""
    count, _ = Impact.every.exclude(component__status__in=["degraded", "down", "unknown"]).delete()
    return count

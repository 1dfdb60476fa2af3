"""What the scheduler reads of the work under way: the bundles in flight, who serves each pool, and how long jobs take.

Counted from the rows each time, never from what workers say: a lost notice or message then leaks nothing.
"""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID

from apps.core.database import preparing
from apps.jobs.bundling import Flying

FLYING = """
SELECT environment_id, min(type), array_agg(DISTINCT tenant_id) FROM jobs WHERE status IN ('dispatched', 'running')
 GROUP BY environment_id, coalesce(bundle_id, job_id)
"""

CHILDREN = """
SELECT e.name, e.queue, e.reserved_slots, coalesce(sum(p.capacity), 0)
  FROM environments e LEFT JOIN processes p
    ON p.environment = e.name AND p.role = 'worker' AND p.state = 'live' AND p.lease_until > clock_timestamp()
 GROUP BY e.name
"""

ALONE = "SELECT job_id FROM jobs WHERE job_id = ANY (%s) AND alone"

# Of the newest ends; what nine of ten jobs of a type keep to, so that one slow job does not spoil the measure.
PACES = """
SELECT j.type, percentile_disc(0.9) WITHIN GROUP (ORDER BY a.took_s)
  FROM (SELECT job_id, extract(epoch FROM finished_at - started_at)::float8 AS took_s FROM attempts
         WHERE ending IN ('succeeded', 'failed') AND started_at IS NOT NULL
           AND finished_at > clock_timestamp() - interval '10 minutes'
         ORDER BY finished_at DESC LIMIT 200) a
  JOIN jobs j USING (job_id) GROUP BY j.type
"""


class Crew(NamedTuple):
    """Who serves a pool: its Celery queue, its worker processes, how many of them no one tenant may fill."""

    queue: str
    reserved: int
    children: int


def flying() -> dict[str, list[Flying]]:
    """Return the bundles in flight of each environment."""
    found: dict[str, list[Flying]] = {}
    with preparing() as cursor:
        cursor.execute(FLYING)
        for environment, job_type, tenants in cursor:
            found.setdefault(environment, []).append(Flying(job_type, frozenset(tenants)))
    return found


def crews() -> dict[str, Crew]:
    """Return who serves each environment now."""
    with preparing() as cursor:
        cursor.execute(CHILDREN)
        return {name: Crew(queue, reserved, int(children)) for name, queue, reserved, children in cursor}


def alone_among(job_ids: list[UUID]) -> set[UUID]:
    """Return which of these jobs may not travel with others."""
    with preparing() as cursor:
        cursor.execute(ALONE, [job_ids])
        return {job_id for (job_id,) in cursor}


def paces() -> dict[str, float]:
    """Return how many seconds jobs take, by type, as far as the newest ends tell."""
    with preparing() as cursor:
        cursor.execute(PACES)
        return dict(cursor.fetchall())

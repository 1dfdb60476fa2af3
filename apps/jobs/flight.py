"""What the scheduler reads of the work under way: the bundles in flight, who serves each pool, and how long jobs take.

Counted from the rows each time, never from what workers say: a lost notice or message then leaks nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from apps.core.database import preparing
from apps.jobs.bundling import Flying
from apps.jobs.scheduling import Holding

CHILDREN = """
SELECT e.name, coalesce(sum(p.capacity), 0)::int
  FROM environments e LEFT JOIN processes p
    ON p.environment = e.name AND p.role = 'worker' AND p.state = 'live' AND p.lease_until > clock_timestamp()
 GROUP BY e.name
"""

# Of the newest ends; what nine of ten jobs of a type keep to, so that one slow job does not spoil the measure.
PACES = """
SELECT j.type, percentile_disc(0.9) WITHIN GROUP (ORDER BY a.took_s)
  FROM (SELECT job_id, extract(epoch FROM finished_at - started_at)::float8 AS took_s FROM attempts
         WHERE ending IN ('succeeded', 'failed') AND started_at IS NOT NULL
           AND finished_at > clock_timestamp() - interval '10 minutes'
         ORDER BY finished_at DESC LIMIT 200) a
  JOIN jobs j USING (job_id) GROUP BY j.type
"""


def flying(holding: Iterable[Holding]) -> dict[str, list[Flying]]:
    """Return the bundles in flight of each environment, by the slots that are held."""
    bundles: dict[tuple[str, UUID], tuple[str, set[str]]] = {}
    for held in holding:
        _, tenants = bundles.setdefault((held.environment, held.bundle_id), (held.type, set()))
        tenants.add(held.tenant_id)
    found: dict[str, list[Flying]] = {}
    for (environment, _), (job_type, tenants) in bundles.items():
        found.setdefault(environment, []).append(Flying(job_type, frozenset(tenants)))
    return found


def children() -> dict[str, int]:
    """Return how many worker processes serve each environment now."""
    with preparing() as cursor:
        cursor.execute(CHILDREN)
        return dict(cursor.fetchall())


def paces() -> dict[str, float]:
    """Return how many seconds jobs take, by type, as far as the newest ends tell."""
    with preparing() as cursor:
        cursor.execute(PACES)
        return dict(cursor.fetchall())

"""The one look around that a submission begins with: the tenant, its environments, the broker, the database's time."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from apps.core.database import preparing
from apps.jobs.operations.not_taken import UnknownTenantError

# The broker's breaker is read here, in the one look around that a submission needs anyway: a row of PostgreSQL's, so
# that nobody touches the broker on the request path.
SURROUNDINGS = """
SELECT clock_timestamp(), EXISTS (SELECT 1 FROM breakers WHERE name = 'broker' AND opened_at IS NOT NULL),
       e.name, e.region
  FROM tenants t LEFT JOIN environments e
    ON e.name = ANY (%s) AND (e.allowed_tenants IS NULL OR t.tenant_id = ANY (e.allowed_tenants))
 WHERE t.tenant_id = %s
"""


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What is there: `regions` by environment, of those that are there for the tenant."""

    now: datetime
    broker_away: bool
    regions: Mapping[str, str]


def surroundings_of(*, environments: Collection[str], tenant_id: str) -> Surroundings:
    """Return what is there for the tenant, and the database's time; raise for a tenant that is not there."""
    with preparing() as cursor:
        cursor.execute(SURROUNDINGS, [list(environments), tenant_id])
        rows = cursor.fetchall()
    if not rows:
        raise UnknownTenantError(tenant_id)
    now, broker_away, _, _ = rows[0]
    return Surroundings(
        now=now, broker_away=broker_away, regions={name: region for _, _, name, region in rows if name is not None}
    )

"""How many of a module's attempts ended and failed in some time, at some tenants: what a rollout is judged by."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from apps.core.database import rows

# Attempts, not jobs: a job that fails twice and succeeds at last has told already. A step of a migration is no job of
# the module's that is migrated.
ENDED = """
SELECT count(*) FILTER (WHERE a.ending IN ('succeeded', 'failed', 'timed_out')),
       count(*) FILTER (WHERE a.ending IN ('failed', 'timed_out'))
  FROM attempts a JOIN jobs j ON j.job_id = a.job_id
 WHERE a.finished_at > %(since)s AND a.finished_at <= %(until)s AND j.tenant_id = ANY(%(tenants)s)
   AND starts_with(j.type, %(prefix)s)
"""


class Ended(NamedTuple):
    """Attempts that ended, and those of them that failed."""

    ended: int
    failed: int


def ended(*, module: str, tenants: Sequence[str], since: datetime, until: datetime) -> Ended:
    """Return how the attempts at `module`'s job types ended between two instants at some tenants. Across tenants."""
    values = {"prefix": f"{module}.", "tenants": list(tenants), "since": since, "until": until}
    ((count, failed),) = rows(ENDED, values)
    return Ended(count, failed)

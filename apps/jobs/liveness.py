"""Who of the plane's own processes beats, for those who judge it: reads of `processes`."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from apps.core.database import rows
from apps.jobs.operations.processes import LEASE_S

# A process that says goodbye lets its lease go before its time; one that was found dead did not.
BEATS = f"""
SELECT process_id, role, name, host, pid, environment, capacity, started_at, beat_at, lease_until,
       state <> 'gone' AND lease_until > clock_timestamp(),
       state = 'draining' OR lease_until < beat_at + interval '{LEASE_S - 1} s',
       extract(epoch FROM clock_timestamp() - beat_at)
  FROM processes
 WHERE state <> 'gone' OR beat_at > clock_timestamp() - interval '2 minutes' OR process_id = ANY (%(known)s)
"""
IDLE = """
SELECT coalesce((SELECT sum(capacity) FROM processes WHERE role = 'worker' AND environment = %(environment)s
                    AND state = 'live' AND lease_until > clock_timestamp()), 0)
       - (SELECT count(*) FROM jobs WHERE environment_id = %(environment)s AND status = 'running'),
       (SELECT count(*) FROM jobs WHERE environment_id = %(environment)s AND status = 'running'
           AND started_at > %(since)s)
"""
# Whoever waits or runs there: bounded, for it is asked while something is wrong.
IMPACT = """
SELECT tenant_id, count(*) FROM (
    SELECT tenant_id FROM jobs WHERE environment_id = %(environment)s
       AND status IN ('queued', 'deferred', 'dispatched', 'running', 'retrying') LIMIT 50000) AS unfinished
 GROUP BY tenant_id
"""
HELD_BY_GONE = """
SELECT (SELECT count(DISTINCT a.job_id) FROM attempts a JOIN processes p ON p.process_id = a.worker_id
         WHERE p.environment IS NOT DISTINCT FROM %(environment)s AND p.role = 'worker' AND a.finished_at > %(since)s
           AND a.ending IN ('worker_lost', 'handed_back')),
       (SELECT count(*) FROM jobs j JOIN processes p ON p.process_id = j.worker_id
         WHERE p.environment IS NOT DISTINCT FROM %(environment)s AND j.status = 'running'
           AND (p.state = 'gone' OR p.lease_until < clock_timestamp()))
"""
VERSIONS = """
SELECT name, versions ->> %(module)s FROM processes
 WHERE role = 'worker' AND state <> 'gone' AND lease_until > clock_timestamp() AND versions ->> %(module)s IS NOT NULL
 ORDER BY name
"""


class Beat(NamedTuple):
    """A process as its row has it. `lives`: under its lease; `in_order`: one that does not had said so before."""

    process_id: UUID
    role: str
    name: str
    host: str
    pid: int
    environment: str | None
    capacity: int
    started_at: datetime
    beat_at: datetime
    lease_until: datetime
    lives: bool
    in_order: bool
    age_s: float

    @property
    def part(self) -> str:
        """What it is a part of: `worker-<pool>`, or its role."""
        return f"worker-{self.environment or self.name.partition('@')[0]}" if self.role == "worker" else self.role


def beats(*, known: Collection[UUID] = ()) -> list[Beat]:
    """Return the processes that live or lived a moment ago, and those `known` whatever became of them."""
    found = rows(BEATS, {"known": list(known)})
    return [Beat(*row)._replace(age_s=float(row[12])) for row in found]


def activity(*, environment: str, since: datetime) -> tuple[int, int]:
    """Return how many worker processes of a pool have nothing to do, and how many jobs it began since."""
    ((idle, began),) = rows(IDLE, {"environment": environment, "since": since})
    return int(idle), int(began)


def unfinished(*, environment: str) -> dict[str, int]:
    """Return tenant → its unfinished jobs in a pool, of the first 50,000."""
    return {tenant: int(count) for tenant, count in rows(IMPACT, {"environment": environment})}


def brought_back(*, environment: str | None, since: datetime) -> tuple[int, int]:
    """Return how many jobs came back from a pool's dead workers since, and how many such workers still hold."""
    ((back, held),) = rows(HELD_BY_GONE, {"environment": environment, "since": since})
    return int(back), int(held)


def running(module: str) -> list[tuple[str, str]]:
    """Return the workers under their lease that run a module's job types, and the version of them that each runs."""
    return [(name, version) for name, version in rows(VERSIONS, {"module": module})]

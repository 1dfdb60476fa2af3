"""What the operators' first page asks about jobs: each question answered from a small index or a bounded stretch.

Asked under the operator's role, across tenants. No answer costs more on a table of a hundred million jobs.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection

from apps.core.database import loaded

# Beyond this a count reads "10000+": whoever sees it does not need the number, and the table need not be read for it.
MOST = 10_000
# The newest jobs that are looked at for how jobs end lately.
STRETCH = 5_000
MOST_PROCESSES = 50

LIVE = ("scheduled", "queued", "deferred", "retrying", "dispatched", "running")
# Each status here has a partial index that holds nothing but jobs in it.
COUNTS = " UNION ALL ".join(
    f"SELECT '{status}', count(*) FROM (SELECT 1 FROM jobs WHERE status = '{status}' LIMIT %(most)s) AS f"
    for status in LIVE
)

LATELY = """
SELECT status, count(*) FROM (SELECT status FROM jobs ORDER BY job_id DESC LIMIT %(stretch)s) AS newest
 GROUP BY status ORDER BY count(*) DESC
"""

FAILURES = """
SELECT job_id, tenant_id, type, outcome, attempt, error, finished_at
  FROM (SELECT job_id, tenant_id, type, outcome, attempt, error, finished_at FROM jobs
         ORDER BY job_id DESC LIMIT %(stretch)s) AS newest
 WHERE outcome IN ('failed', 'timed_out') ORDER BY finished_at DESC LIMIT %(limit)s
"""

POOLS = """
SELECT e.name, e.slots, coalesce(e.paused_until > clock_timestamp(), false), e.pause_reason,
       (SELECT count(*) FROM jobs WHERE environment_id = e.name AND status IN ('dispatched', 'running')),
       (SELECT count(*) FROM (SELECT 1 FROM jobs WHERE environment_id = e.name AND status = 'queued'
                               LIMIT %(most)s) AS found),
       (SELECT coalesce(sum(capacity), 0) FROM processes
         WHERE environment = e.name AND role = 'worker' AND state = 'live' AND lease_until > clock_timestamp())
  FROM environments e ORDER BY e.name
"""

PROCESSES = """
SELECT process_id, role, name, host, pid, state, extract(epoch FROM clock_timestamp() - beat_at),
       extract(epoch FROM lease_until - clock_timestamp())
  FROM processes WHERE state <> 'gone' ORDER BY role, name, started_at LIMIT %(limit)s
"""


class Failure(NamedTuple):
    """A job that failed or timed out for good."""

    job_id: UUID
    tenant_id: str
    type: str
    outcome: str
    attempt: int
    error: dict[str, Any] | None
    finished_at: datetime


class PoolNow(NamedTuple):
    """An environment at this moment; `capacity` is what its live workers can run at once."""

    name: str
    slots: int
    paused: bool
    pause_reason: str | None
    held: int
    waiting: int
    capacity: int


class ProcessNow(NamedTuple):
    """A process that has not said goodbye; `left_s` of its lease is negative when it ran out."""

    process_id: UUID
    role: str
    name: str
    host: str
    pid: int
    state: str
    beat_age_s: float
    left_s: float


def counts_now() -> dict[str, int]:
    """Return how many jobs wait, hold a slot, or come later, by status; at most `MOST` + 1 each."""
    return dict(_rows(COUNTS, most=MOST + 1))


def statuses_lately() -> dict[str, int]:
    """Return where the newest `STRETCH` jobs stand, the most frequent status first."""
    return dict(_rows(LATELY, stretch=STRETCH))


def failures_lately(*, limit: int) -> list[Failure]:
    """Return the last failures among the newest `STRETCH` jobs, newest first."""
    found = (Failure(*row) for row in _rows(FAILURES, stretch=STRETCH, limit=limit))
    return [failure._replace(error=loaded(failure.error)) for failure in found]


def pools_now() -> list[PoolNow]:
    """Return every environment with what it holds; its queue is counted up to `MOST` + 1."""
    return [PoolNow(*row) for row in _rows(POOLS, most=MOST + 1)]


def processes_now() -> list[ProcessNow]:
    """Return the processes that have not said goodbye, at most `MOST_PROCESSES`."""
    found = (ProcessNow(*row) for row in _rows(PROCESSES, limit=MOST_PROCESSES))
    return [each._replace(beat_age_s=float(each.beat_age_s), left_s=float(each.left_s)) for each in found]


def _rows(statement: str, **values: int) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return list(cursor.fetchall())

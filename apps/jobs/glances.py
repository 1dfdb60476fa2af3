"""What a tenant's own page asks about jobs, for the current context; each question bounded, however much there is.

Every one names the tenant, since an operator asks across tenants: the row-level security of a tenant's own people is
then the second wall and not the only one.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from apps.core.database import rows
from apps.jobs import events
from apps.jobs.models import Attempt, Job

# The newest jobs that are looked at for where a tenant's work stands.
STRETCH = 1000

STANDING = """
SELECT status, count(*) FROM (SELECT status FROM jobs WHERE tenant_id = %(tenant)s
                               ORDER BY job_id DESC LIMIT %(stretch)s) AS newest
 GROUP BY status
"""
# The index of subjects holds what has its number; of the rest there is little.
BY_HAND = """
SELECT type, occurred_at, data->>'by', data->>'priority' FROM events
 WHERE subject = %(job)s AND type = ANY (%(types)s) AND tenant_id = %(tenant)s AND sequence IS NOT NULL
UNION ALL
SELECT type, occurred_at, data->>'by', data->>'priority' FROM events
 WHERE subject = %(job)s AND type = ANY (%(types)s) AND tenant_id = %(tenant)s AND sequence IS NULL
 ORDER BY occurred_at LIMIT %(most)s
"""
CHUNKS = """
SELECT fence, first_line, jsonb_array_length(lines) FROM log_chunks WHERE job_id = %(job)s
 ORDER BY fence DESC, first_line DESC LIMIT %(most)s
"""


class ByHand(NamedTuple):
    """Somebody had a job run again, or wait in another band: the event's type, when, who, and which band."""

    type: str
    at: datetime
    by: str | None
    priority: str | None


def one(*, tenant_id: str, job_id: UUID) -> Job | None:
    """Return the tenant's job; None where there is none of this id, or it is another's."""
    return Job.objects.filter(job_id=job_id, tenant_id=tenant_id).first()


def standing(*, tenant_id: str) -> dict[str, int]:
    """Return how many of the tenant's newest `STRETCH` jobs are in each status."""
    return dict(rows(STANDING, {"tenant": tenant_id, "stretch": STRETCH}))


def last_attempts(*, job_id: UUID, limit: int) -> list[Attempt]:
    """Return the last `limit` dispatches of a job, oldest first: a job that nobody claims gathers many."""
    return list(Attempt.objects.filter(job_id=job_id).order_by("-fence")[:limit])[::-1]


def done_by_hand(*, tenant_id: str, job_id: UUID, limit: int = 50) -> list[ByHand]:
    """Return what people and modules did to a job after they had submitted it, but for cancels, oldest first."""
    types = [events.RESUBMITTED, events.REPRIORITIZED]
    asked = {"job": str(job_id), "types": types, "tenant": tenant_id, "most": limit}
    return [ByHand(*row) for row in rows(BY_HAND, asked)]


def ran(job: Job) -> timedelta | None:
    """Return how long a job's last attempt ran, once the job is over; None if it never did."""
    if job.started_at is None or job.finished_at is None:
        return None
    return max(job.finished_at - job.started_at, timedelta(0))


def position_before_last(*, job_id: UUID, lines: int, most_chunks: int = 20) -> tuple[int, int]:
    """Return the position (fence, line) after which about the last `lines` lines of a job's log stand."""
    found = rows(CHUNKS, {"job": job_id, "most": most_chunks})
    after, counted = (0, 0), 0
    for fence, first_line, count in found:
        after, counted = (fence, first_line - 1), counted + count
        if counted >= lines:
            return after
    return after if len(found) == most_chunks else (0, 0)

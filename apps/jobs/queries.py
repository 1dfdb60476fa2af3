"""Every read of jobs that others may use."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from apps.core.database import loaded, preparing
from apps.jobs.lifecycle import OUTCOMES, Priority
from apps.jobs.models import Attempt, Breaker, Decision, Dependency, Job
from apps.jobs.pausing import OPEN_ENVIRONMENT
from apps.jobs.scheduling import Holding, Pool

HOLDING = """
SELECT environment_id, tenant_id, type, concurrency_key, job_id, fence,
       CASE WHEN status = 'running' THEN extract(epoch FROM clock_timestamp() - started_at)::float8 ELSE 0 END,
       coalesce(bundle_id, job_id)
  FROM jobs WHERE status IN ('dispatched', 'running')
"""

# How much a pool may hold: its slots, while anybody serves it.
POOLS = f"""
SELECT e.name, CASE WHEN w.capacity IS NULL THEN 0 ELSE e.slots END, e.reserved_slots, e.queue,
       coalesce(w.capacity, 0)::int
  FROM environments e
  LEFT JOIN (SELECT environment, sum(capacity) AS capacity FROM processes
              WHERE role = 'worker' AND state = 'live' AND lease_until > clock_timestamp() GROUP BY environment) w
    ON w.environment = e.name
 WHERE (e.paused_until IS NULL OR e.paused_until < clock_timestamp()) AND {OPEN_ENVIRONMENT}
 ORDER BY e.name
"""


def holding() -> list[Holding]:
    """Return every held slot, in whatever environment; for the scheduler."""
    with preparing() as cursor:
        cursor.execute(HOLDING)
        return [Holding(*row) for row in cursor.fetchall()]


def pools() -> list[Pool]:
    """Return the environments that take work now, each with how many jobs it may hold; for the scheduler."""
    with preparing() as cursor:
        cursor.execute(POOLS)
        return [
            Pool(name=name, capacity=capacity, reserved_slots=reserved, queue=queue, children=children)
            for name, capacity, reserved, queue, children in cursor.fetchall()
        ]


PRESSING = """
SELECT (SELECT extract(epoch FROM due_at - clock_timestamp())::float8 FROM jobs
         WHERE status IN ('scheduled', 'retrying') AND due_at IS NOT NULL ORDER BY due_at LIMIT 1),
       EXISTS (SELECT 1 FROM jobs WHERE watched AND outcome IS NOT NULL),
       EXISTS (SELECT 1 FROM jobs WHERE status = 'queued')
"""


class Pressing(NamedTuple):
    """In how many seconds a job's time comes to be queued; whether an end has yet to be told; whether any is queued."""

    due_in_s: float | None
    news: bool
    queued: bool


def pressing() -> Pressing:
    """Return what there is to do for the scheduler, for the cost of one question."""
    with preparing() as cursor:
        cursor.execute(PRESSING)
        return Pressing(*(cursor.fetchone() or (None, False, False)))


def attempts_of(job_id: UUID) -> Sequence[Attempt]:
    """Return what each dispatch of a job came to, oldest first, in the current tenant context."""
    return list(Attempt.objects.filter(job_id=job_id).order_by("fence"))


def decisions_of(job_ids: Collection[UUID]) -> dict[UUID, dict[str, Decision]]:
    """Return each job's latest decision by decision point."""
    found: dict[UUID, dict[str, Decision]] = {}
    for decision in Decision.objects.filter(job_id__in=job_ids).order_by("decision_id"):
        found.setdefault(decision.job_id, {})[decision.point] = decision
    return found


def every_decision_of(job_id: UUID) -> Sequence[Decision]:
    """Return all that was decided about a job, oldest first, in the current tenant context."""
    return list(Decision.objects.filter(job_id=job_id).order_by("decided_at", "decision_id"))


def upstreams_of(job_ids: Collection[UUID]) -> dict[UUID, list[UUID]]:
    """Return what each of the jobs depends on, as it was submitted, in the current tenant context."""
    found: dict[UUID, list[UUID]] = {}
    edges = Dependency.objects.filter(job_id__in=job_ids).order_by("place")
    for job_id, upstream in edges.values_list("job_id", "upstream_id"):
        found.setdefault(job_id, []).append(upstream)
    return found


def broker_is_away() -> bool:
    """Say whether the broker is taken to be away: the breaker that the scheduler keeps."""
    return Breaker.objects.filter(name="broker", opened_at__isnull=False).exists()


def point_away() -> str | None:
    """Return the decision point that the scheduler takes to be away: `governance`, `subscription` or None."""
    names = Breaker.objects.filter(name__in=["governance", "subscription"], opened_at__isnull=False)
    return names.order_by("name").values_list("name", flat=True).first()


class Ended(NamedTuple):
    """How a job ended, as far as others react to it; `record_id` is its outcome's evidence."""

    job_id: UUID
    tenant_id: str
    type: str
    status: str
    error: dict[str, Any] | None
    reason_code: str | None
    parent_id: UUID | None
    record_id: UUID | None
    ended_at: datetime | None


# How it ended, whatever the evidence sink makes of it.
ENDED = """
SELECT job_id, tenant_id, type, coalesce(outcome, status), error, reason_code, parent_id, evidence_id, finished_at
  FROM jobs WHERE job_id = %s
"""


def ended(job_id: UUID) -> Ended | None:
    """Return how a job ended, in the current context; None where there is no such job. One look by the key."""
    with preparing() as cursor:
        cursor.execute(ENDED, [job_id])
        row = cursor.fetchone()
    return None if row is None else Ended(*row)._replace(error=loaded(row[4]))


# A bound on how far back is looked: a type that has not succeeded for so many jobs of its tenant has no good run.
LAST_GOOD = """
SELECT job_id FROM (
    SELECT job_id, type, outcome FROM jobs
     WHERE tenant_id = %(tenant)s AND job_id < %(before)s ORDER BY job_id DESC LIMIT 20000) AS recent
 WHERE type = %(type)s AND outcome = 'succeeded' LIMIT 1
"""


def last_good(job: Job) -> Job | None:
    """Return the newest job of the same tenant and type that was submitted before `job`, and succeeded."""
    with preparing() as cursor:
        cursor.execute(LAST_GOOD, {"tenant": job.tenant_id, "before": job.job_id, "type": job.type})
        row = cursor.fetchone()
    return None if row is None else Job.objects.filter(job_id=row[0]).first()


def inputs_of(job: Job) -> dict[str, str | None]:
    """Return the digests of what a job was given by those it waited for: `type.artifact` → digest."""
    upstream = Dependency.objects.filter(job_id=job.job_id).order_by("place").values_list("upstream_id", flat=True)
    found: dict[str, str | None] = {}
    for each in Job.objects.filter(job_id__in=list(upstream)).order_by("job_id"):
        for artifact in (each.result or {}).get("artifacts", []):
            found[f"{each.type}.{artifact.get('name')}"] = artifact.get("digest")
    return found


class LogLine(NamedTuple):
    """A line of a dispatch's log, `line` counted from 1."""

    fence: int
    line: int
    at: str
    level: str
    message: str
    fields: dict[str, Any]


class Mark(NamedTuple):
    """How far a job and its log are: it moves whenever either does."""

    outcome: str | None
    fence: int
    last_fence: int | None
    last_chunk: int | None


MARKS = """
SELECT j.job_id, j.outcome, j.fence, c.fence, c.first_line
  FROM jobs j
  LEFT JOIN LATERAL (SELECT fence, first_line FROM log_chunks WHERE log_chunks.job_id = j.job_id
                      ORDER BY fence DESC, first_line DESC LIMIT 1) c ON true
 WHERE j.job_id = ANY (%(jobs)s)
"""


def marks_of(job_ids: Collection[UUID]) -> dict[UUID, Mark]:
    """Return how far each of the jobs is, in the current context."""
    with preparing() as cursor:
        cursor.execute(MARKS, {"jobs": list(job_ids)})
        return {job_id: Mark(*rest) for job_id, *rest in cursor.fetchall()}


LINES = """
SELECT c.fence, c.first_line + l.place - 1, l.value
  FROM log_chunks c CROSS JOIN LATERAL jsonb_array_elements(c.lines) WITH ORDINALITY AS l(value, place)
 WHERE c.job_id = %(job)s AND (c.fence, c.first_line + l.place - 1) > (%(fence)s, %(line)s)
 ORDER BY 1, 2 LIMIT %(limit)s
"""


def log_lines(*, job_id: UUID, after: tuple[int, int], limit: int) -> list[LogLine]:
    """Return the lines of a job's log after position (fence, line), oldest first, in the current tenant context."""
    with preparing() as cursor:
        cursor.execute(LINES, {"job": job_id, "fence": after[0], "line": after[1], "limit": limit})
        return [LogLine(fence, int(line), *loaded(value)) for fence, line, value in cursor.fetchall()]


@dataclass(frozen=True, kw_only=True)
class Filters:
    """Which jobs of the history: those before job `before`, of a type, in a state, submitted in a span of time, …

    `tenant_id` is for whoever reads across tenants. `since` goes by the id, which begins with its time of birth: the
    page's own index ends there, and nothing older is looked at.
    """

    tenant_id: str | None = None
    before: UUID | None = None
    since: UUID | None = None
    job_type: str | None = None
    status: str | None = None
    outcome: str | None = None
    contract: str | None = None
    environment: str | None = None
    priority: Priority | None = None
    trigger: str | None = None
    submitted_by: str | None = None
    concurrency_key: str | None = None
    parent_id: UUID | None = None
    submitted_after: datetime | None = None
    submitted_before: datetime | None = None

    def conditions(self) -> dict[str, Any]:
        """Return the filters that are set, as lookups."""
        lookups = {
            "tenant_id": self.tenant_id,
            "job_id__lt": self.before,
            "job_id__gte": self.since,
            "type": self.job_type,
            "status": self.status,
            "outcome": self.outcome,
            "contract": self.contract,
            "environment_id": self.environment,
            "priority": self.priority,
            "trigger": self.trigger,
            "submitted_by": self.submitted_by,
            "concurrency_key": self.concurrency_key,
            "parent_id": self.parent_id,
            "submitted_at__gte": self.submitted_after,
            "submitted_at__lt": self.submitted_before,
        }
        if self.outcome is None and self.status in OUTCOMES:
            lookups["outcome"] = self.status  # true by the table's constraint, and the index is by outcome
        return {name: value for name, value in lookups.items() if value is not None}


def page(filters: Filters, *, limit: int, without: Sequence[str] = ()) -> list[Job]:
    """Return the newest jobs of the current tenant context that pass `filters`, `without` some columns unread."""
    return list(Job.objects.filter(**filters.conditions()).defer(*without).order_by("-job_id")[:limit])

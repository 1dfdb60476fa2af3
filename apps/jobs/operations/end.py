"""The end of a fence: outcome, attempt, event and evidence in one guarded statement, whoever reports it.

A worker that finished, the sweeper that found a worker lost, the scheduler whose message was not taken: each makes an
`End` by one of the constructors below, so that no wrong combination of fields can be built, and `write` guards them
all alike by state and fence.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import orjson

from apps.core.database import preparing
from apps.core.ids import uuid7
from apps.events import operations as event_log
from apps.evidence import operations as evidence_log
from apps.evidence.models import Predicate
from apps.evidence.statements import statement
from apps.jobs import events
from apps.jobs.lifecycle import COSTS_ATTEMPT, OUTCOMES, TRANSITIONS, Ending, Move, State, after_ending
from apps.jobs.operations.wake import wake_scheduler
from apps.jobs.retry import Retry


@dataclass(frozen=True, kw_only=True)
class Held:
    """A job that holds a slot, as its reporter knows it: what the end is judged from and what the evidence states."""

    job_id: UUID
    fence: int
    tenant_id: str
    type: str
    status: State
    attempt: int
    max_attempts: int
    params_digest: str
    contract: str | None
    contract_digest: str | None
    environment: str
    region: str
    started_at: datetime | None
    unclaimed: int = 0


@dataclass(frozen=True, kw_only=True)
class Report:
    """What an attempt leaves behind: its error, its artifacts and metrics, its log's length and digest."""

    error: Mapping[str, Any] | None = None
    result: Mapping[str, Any] | None = None
    log_lines: int = 0
    log_digest: str | None = None
    permanent: bool = False
    retry_after_s: float | None = None
    reason_code: str | None = None


NOTHING_REPORTED = Report()


@dataclass(frozen=True, kw_only=True)
class End:
    """A fence's end, decided: where the job goes, and all that is written with it."""

    held: Held
    ending: Ending
    move: Move
    at: datetime
    due_at: datetime | None
    report: Report = field(default_factory=Report)

    @property
    def target(self) -> State:
        """Return the state the job enters."""
        return TRANSITIONS[self.move].target


def decide(held: Held, *, ending: Ending, at: datetime, retry: Retry, report: Report = NOTHING_REPORTED) -> End:
    """Return what follows from `ending` at `at` (the database's time), by the type's retry policy.

    A worker's death counts as a failed attempt, so that a job which kills its workers stops after its attempts.
    """
    move = after_ending(ending, attempt=held.attempt, max_attempts=held.max_attempts, permanent=report.permanent)
    due_at = None
    if move is Move.RETRY:
        dice = random.random()  # noqa: S311 - jitter, no secret
        pause_s = retry.delay_s(attempt=held.attempt, random=dice, retry_after_s=report.retry_after_s)
        due_at = at + timedelta(seconds=pause_s)
    return End(held=held, ending=ending, move=move, at=at, due_at=due_at, report=report)


END = f"""
WITH e AS (
    SELECT * FROM jsonb_to_recordset(%(ends)s) AS e(
        job_id uuid, fence bigint, source text, status text, outcome text, reason_code text, ending text,
        claimed_at timestamptz, number smallint, attempt_back smallint, at timestamptz, due_at timestamptz,
        error jsonb, result jsonb,
        log_lines int, log_digest text, unclaimed smallint, event_id uuid, event_type text,
        event_subject text, event_data jsonb,
        {evidence_log.COLUMNS})
), ended AS (
    UPDATE jobs j SET status = e.status, outcome = e.outcome,
           reason_code = CASE WHEN e.status = 'queued' THEN j.reason_code ELSE e.reason_code END,
           attempt = j.attempt - e.attempt_back,
           retries = CASE WHEN e.status = 'retrying' THEN j.retries + 1 ELSE j.retries END,
           unclaimed = e.unclaimed, due_at = e.due_at,
           error = CASE WHEN e.status = 'queued' THEN j.error ELSE e.error END, result = coalesce(e.result, j.result),
           finished_at = CASE WHEN e.outcome IS NOT NULL THEN e.at END, evidence_id = e.record_id
      FROM e
     WHERE j.job_id = e.job_id AND j.fence = e.fence AND j.status = e.source
       AND j.started_at IS NOT DISTINCT FROM e.claimed_at
    RETURNING j.tenant_id, j.region, j.worker_id, j.worker_pid, j.dispatched_at, j.started_at, e.*
), attempted AS (
    INSERT INTO attempts (job_id, fence, tenant_id, number, ending, worker_id, worker_pid, dispatched_at, started_at,
           finished_at, retry_at, error, result, log_lines, log_digest)
    SELECT job_id, fence, tenant_id, number, ending, worker_id, worker_pid, dispatched_at, started_at, at,
           CASE WHEN status = 'retrying' THEN due_at END, error, result, log_lines, log_digest
      FROM ended
), told AS ({event_log.APPEND.format(source="ended")}
), proven AS ({evidence_log.APPEND.format(source="ended")})
SELECT job_id, fence FROM ended
"""

LATE = """
UPDATE attempts SET late_ending = l.ending, late_at = clock_timestamp()
  FROM jsonb_to_recordset(%(ends)s) AS l(job_id uuid, fence bigint, ending text)
 WHERE attempts.job_id = l.job_id AND attempts.fence = l.fence AND attempts.late_at IS NULL
   AND attempts.ending <> l.ending
"""


def write(ends: Sequence[End]) -> set[tuple[UUID, int]]:
    """Write the ends whose fences still hold; return their (job_id, fence).

    An end that is not among them came late: somebody else had ended that fence. It changes nothing, and is recorded
    beside the attempt as such. Safe to repeat: a second writing of the same end is a late one.
    """
    if not ends:
        return set()
    rows = [_row(end) for end in ends]
    with preparing() as cursor:
        cursor.execute(END, {"ends": orjson.dumps(rows).decode()})
        written = {(job_id, fence) for job_id, fence in cursor.fetchall()}
        late = [row for row in rows if (UUID(row["job_id"]), row["fence"]) not in written]
        # Only who ran it can finish late. (Its own end written twice, the first answer lost, reads the same.)
        late = [row for row in late if row["ending"] not in {Ending.UNCLAIMED, Ending.UNPUBLISHED, Ending.WORKER_LOST}]
        if late:
            cursor.execute(LATE, {"ends": orjson.dumps(late).decode()})
    wake_scheduler()
    return written


def _row(end: End) -> dict[str, Any]:
    """Return the end as a row of `END`'s recordset, with its event, and its evidence when the job is over."""
    held, target, report = end.held, end.target, end.report
    is_outcome = target in OUTCOMES
    reason = report.reason_code or (end.ending.value if end.ending is not Ending.SUCCEEDED else None)
    row: dict[str, Any] = {
        "job_id": str(held.job_id),
        "fence": held.fence,
        "source": held.status,
        "status": target,
        "outcome": target if is_outcome else None,
        "reason_code": reason,
        "ending": end.ending,
        "claimed_at": held.started_at,
        "number": held.attempt,
        "attempt_back": 0 if end.ending in COSTS_ATTEMPT or held.status is not State.RUNNING else 1,
        "at": end.at,
        "due_at": end.due_at,
        "error": report.error,
        "result": report.result,
        "log_lines": report.log_lines,
        "log_digest": report.log_digest,
        "unclaimed": held.unclaimed + 1 if end.ending is Ending.UNCLAIMED else 0,
    }
    if target in events.OF_STATE:
        row |= {
            "event_id": str(uuid7()),
            "event_type": events.OF_STATE[target],
            "event_subject": str(held.job_id),
            "event_data": events.payload(
                job_id=held.job_id,
                job_type=held.type,
                status=target,
                attempt=held.attempt,
                reason_code=reason,
                error_class=(report.error or {}).get("class"),
            ),
        }
    if is_outcome:
        row |= evidence_log.row(_evidence(end, reason_code=reason), subject_id=str(held.job_id))
    return row


def _evidence(end: End, *, reason_code: str | None) -> Any:
    """Return the statement of how the job ended: what ran, under what, what came out, by digests and counts."""
    held, report = end.held, end.report
    return statement(
        predicate=Predicate.OUTCOME,
        kind="job",
        subject_id=str(held.job_id),
        subject_digest=held.params_digest,
        body={
            "tenant": held.tenant_id,
            "type": held.type,
            "contract": held.contract,
            "contract_digest": held.contract_digest,
            "params_digest": held.params_digest,
            "environment": held.environment,
            "region": held.region,
            "outcome": end.target,
            "reason_code": reason_code,
            "attempt": held.attempt,
            "fence": held.fence,
            "started_at": held.started_at.isoformat() if held.started_at else None,
            "finished_at": end.at.isoformat(),
            "error": report.error,
            "artifacts": (report.result or {}).get("artifacts", []),
            "log": {"lines": report.log_lines, "digest": report.log_digest},
        },
    )

"""The end of a fence: outcome, attempt, event and evidence in one guarded statement, whoever reports it.

A worker that finished, the sweeper that found a worker lost, the scheduler whose message was not taken: each makes an
`End` by one of the constructors below, so that no wrong combination of fields can be built, and `write` guards them
all alike by state and fence.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
from django.db import connection

from apps.core.database import preparing
from apps.core.ids import uuid7
from apps.events import operations as event_log
from apps.evidence import operations as evidence_log
from apps.evidence.models import Predicate
from apps.evidence.statements import statement
from apps.jobs import events
from apps.jobs.lifecycle import COSTS_ATTEMPT, OUTCOMES, TRANSITIONS, Ending, Move, State, after_ending
from apps.jobs.operations import callback
from apps.jobs.operations.held import Held
from apps.jobs.operations.wake import wake_scheduler
from apps.jobs.retry import Retry


@dataclass(frozen=True, kw_only=True)
class Report:
    """What an attempt leaves behind: its error, its artifacts and metrics, its log's length and digest.

    `forced`: the plane ended it over the head of the process that runs it. `by` and `why`: who cancelled it before it
    ran, in whose words. `how` tells cancels apart: cooperative, killed, before_start. `bundle_lost`: the job was one of
    several in a bundle that was lost; it, or one of the others, may be why, and so it travels alone from now on.
    """

    error: Mapping[str, Any] | None = None
    result: Mapping[str, Any] | None = None
    log_lines: int = 0
    log_digest: str | None = None
    permanent: bool = False
    retry_after_s: float | None = None
    reason_code: str | None = None
    forced: bool = False
    by: str | None = None
    why: str | None = None
    how: str | None = None
    bundle_lost: bool = False


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
    noticed_by: str = "worker"
    began_at: datetime | None = None
    withdrawn_by: str | None = None

    @property
    def target(self) -> State:
        """Return the state the job enters."""
        return TRANSITIONS[self.move].target


def decide(
    held: Held,
    *,
    ending: Ending,
    at: datetime,
    retry: Retry,
    report: Report = NOTHING_REPORTED,
    noticed_by: str = "worker",
    began_at: datetime | None = None,
) -> End:
    """Return what follows from `ending` at `at` (the database's time), by the type's retry policy.

    A worker's death counts as a failed attempt, so that a job which kills its workers stops after its attempts. The
    job's own policy goes before its type's. Of a job submitted again by hand the attempts before are not counted into
    its pauses. `began_at`: when the handler began, where that was later than its bundle's claim.
    """
    policy = Retry(**held.retry) if held.retry is not None else retry
    dice = random.random()  # noqa: S311 - jitter, no secret
    attempt = max(1, held.attempt - max(0, held.max_attempts - policy.max_attempts))
    next_at = at + timedelta(seconds=policy.delay_s(attempt=attempt, random=dice, retry_after_s=report.retry_after_s))
    in_time = held.deadline_at is None or next_at < held.deadline_at
    move = after_ending(
        ending,
        attempt=held.attempt,
        max_attempts=held.max_attempts,
        permanent=report.permanent or not policy.grants_another_after((report.error or {}).get("code")),
        cancelling=held.cancelling,
        in_time=in_time,
    )
    if move is Move.TIME_OUT and not in_time and ending is not Ending.EXPIRED:
        report = replace(report, reason_code="deadline")
    return End(
        held=held,
        ending=ending,
        move=move,
        at=at,
        due_at=next_at if move is Move.RETRY else None,
        report=report,
        noticed_by=noticed_by,
        began_at=began_at,
    )


END = f"""
WITH e AS (
    SELECT * FROM jsonb_to_recordset(%(ends)s) AS e(
        job_id uuid, fence bigint, source text, status text, outcome text, reason_code text, ending text,
        number smallint, attempt_back smallint, at timestamptz, due_at timestamptz, error jsonb, result jsonb,
        log_lines int, log_digest text, noticed_by text, unclaimed smallint, forced boolean, by text, why text,
        bundle uuid, began_at timestamptz, alone boolean,
        event_id uuid, event_type text,
        event_subject text, event_data jsonb,
        {evidence_log.COLUMNS})
), ended AS (
    UPDATE jobs j SET status = e.status, outcome = e.outcome,
           reason_code = CASE WHEN e.status = 'queued' THEN j.reason_code ELSE e.reason_code END,
           attempt = j.attempt - e.attempt_back,
           retries = CASE WHEN e.status = 'retrying' THEN j.retries + 1 ELSE j.retries END,
           unclaimed = e.unclaimed, due_at = {callback.DUE},
           error = CASE WHEN e.status = 'queued' THEN j.error ELSE e.error END, result = coalesce(e.result, j.result),
           finished_at = CASE WHEN e.outcome IS NOT NULL THEN e.at END, evidence_id = e.record_id,
           cancel_requested_at = CASE WHEN e.by IS NULL THEN j.cancel_requested_at
                                      ELSE coalesce(j.cancel_requested_at, e.at) END,
           cancel_requested_by = coalesce(j.cancel_requested_by, e.by),
           cancel_reason = coalesce(j.cancel_reason, e.why),
           started_at = coalesce(e.began_at, j.started_at), alone = j.alone OR e.alone
      FROM e
     WHERE j.job_id = e.job_id AND j.fence = e.fence AND j.status = e.source
       AND j.bundle_id IS NOT DISTINCT FROM e.bundle
       AND (j.cancel_requested_at IS NULL OR e.status IN ('succeeded', 'cancelled'))
    RETURNING j.tenant_id, j.region, j.worker_id, j.worker_pid, j.dispatched_at, j.started_at, j.parent_id, e.*,
              j.due_at AS retry_at
), attempted AS (
    INSERT INTO attempts (job_id, fence, tenant_id, number, ending, worker_id, worker_pid, dispatched_at, started_at,
           finished_at, retry_at, error, result, noticed_by, log_digest, forced, log_lines)
    SELECT job_id, fence, tenant_id, number, ending, worker_id, worker_pid, dispatched_at, started_at, at,
           CASE WHEN status = 'retrying' THEN retry_at END, error, result, noticed_by, log_digest, forced,
           -- Of an attempt that could not report its end, as many as had arrived by then; nobody is left to sign them.
           CASE WHEN noticed_by = 'worker' THEN log_lines ELSE coalesce((
             SELECT c.first_line - 1 + jsonb_array_length(c.lines) FROM log_chunks c
              WHERE c.job_id = ended.job_id AND c.fence = ended.fence ORDER BY c.first_line DESC LIMIT 1), 0) END
      FROM ended WHERE source IN ('dispatched', 'running')
), news AS (
    SELECT event_id, tenant_id, event_type, event_subject, event_data || {events.PARENT} AS event_data FROM ended
), told AS ({event_log.APPEND.format(source="news")}
), proven AS ({evidence_log.APPEND.format(source="ended")})
SELECT job_id, fence FROM ended
"""

# Asked about ends that were not written: those whose fence holds, but which a cancel forbids, since it came first.
CANCELLING = """
SELECT j.job_id, j.fence FROM jobs j
  JOIN jsonb_to_recordset(%(ends)s) AS e(job_id uuid, fence bigint, source text, status text, bundle uuid)
    ON j.job_id = e.job_id AND j.fence = e.fence AND j.status = e.source AND j.bundle_id IS NOT DISTINCT FROM e.bundle
 WHERE j.cancel_requested_at IS NOT NULL AND e.status NOT IN ('succeeded', 'cancelled')
"""

# The reason of a job that a decision point had stopped: the entitlement it began under is gone.
WITHDRAWN = "entitlement_withdrawn"
WITHDRAWALS = """
SELECT job_id, cancel_requested_by FROM jobs
 WHERE job_id = ANY (%s) AND cancel_requested_by IN ('governance', 'subscription') AND cancel_reason LIKE %s
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
    ends = _told_why(ends)
    written = _written(END, [_row(end) for end in ends])
    missed = [end for end in ends if (end.held.job_id, end.held.fence) not in written]
    if missed:
        # Whoever decided did not know of the cancel yet. It stays while the fence holds, so that one more round is all.
        forbidden = _written(CANCELLING, [_row(end) for end in missed])
        again = _told_why([_cancelled(end) for end in missed if (end.held.job_id, end.held.fence) in forbidden])
        written |= _written(END, [_row(end) for end in again]) if again else set()
        _note_late([end for end in missed if (end.held.job_id, end.held.fence) not in written])
    wake_scheduler()
    return written


def _written(statement_: str, rows: Sequence[Mapping[str, Any]]) -> set[tuple[UUID, int]]:
    with preparing() as cursor:
        cursor.execute(statement_, {"ends": orjson.dumps(rows).decode()})
        return {(job_id, fence) for job_id, fence in cursor.fetchall()}


def _told_why(ends: Sequence[End]) -> list[End]:
    """Return the ends with the reason of those cancels that a decision point asked for, not a caller."""
    cancels = [end.held.job_id for end in ends if end.move is Move.CANCEL]
    if not cancels:
        return list(ends)
    with connection.cursor() as cursor:
        cursor.execute(WITHDRAWALS, [cancels, f"{WITHDRAWN}:%"])
        by = dict(cursor.fetchall())
    return [
        replace(end, withdrawn_by=by[end.held.job_id]) if end.move is Move.CANCEL and end.held.job_id in by else end
        for end in ends
    ]


def _cancelled(end: End) -> End:
    """Return the end as it is decided once the cancel is known."""
    return replace(end, held=replace(end.held, cancelling=True), move=Move.CANCEL, due_at=None)


def _note_late(ends: Sequence[End]) -> None:
    """Note beside the attempts what came too late. Only who ran it can finish late, not who ended it for another.

    (Its own end written twice, the first answer lost, reads the same.)
    """
    told = [
        end
        for end in ends
        if end.held.status is State.RUNNING and end.ending is not Ending.WORKER_LOST and not end.report.forced
    ]
    if told:
        with connection.cursor() as cursor:
            cursor.execute(LATE, {"ends": orjson.dumps([_row(end) for end in told]).decode()})


def _row(end: End) -> dict[str, Any]:
    """Return the end as a row of `END`'s recordset, with its event, and its evidence when the job is over."""
    held, target, report = end.held, end.target, end.report
    is_outcome = target in OUTCOMES
    reason, error = _why(end)
    row: dict[str, Any] = {
        "job_id": str(held.job_id),
        "fence": held.fence,
        "source": held.status,
        "status": target,
        "outcome": target if is_outcome else None,
        "reason_code": reason,
        "ending": end.ending,
        "number": held.attempt,
        "attempt_back": 0 if end.ending in COSTS_ATTEMPT or held.status is not State.RUNNING else 1,
        "at": end.at,
        "due_at": end.due_at,
        "error": error,
        "result": report.result,
        "forced": report.forced,
        "by": report.by,
        "why": report.why,
        "log_lines": report.log_lines,
        "log_digest": report.log_digest,
        "noticed_by": end.noticed_by,
        "bundle": str(held.bundle_id) if held.bundle_id else None,
        "began_at": end.began_at,
        "alone": report.bundle_lost,
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
                error_class=(error or {}).get("class"),
                by=report.by,
            ),
        }
    if is_outcome:
        row |= evidence_log.row(_evidence(end, reason_code=reason, error=error), subject_id=str(held.job_id))
    return row


def _why(end: End) -> tuple[str | None, Mapping[str, Any] | None]:
    """Return the end's reason code and error. Of a cancelled job they tell how: by itself, killed, before it began.

    An attempt that failed, or lost its worker, while a cancel was waiting for it: the job is cancelled, and how the
    attempt ended stays in its own row.
    """
    report = end.report
    if end.move is not Move.CANCEL:
        return report.reason_code or (end.ending.value if end.ending is not Ending.SUCCEEDED else None), report.error
    asked = {"class": "Cancelled", "code": "cancelled", "message": "cancelled as asked"}
    if end.ending is Ending.CANCELLED:
        how = report.how or "cooperative"
        return WITHDRAWN if end.withdrawn_by else report.reason_code or "cancelled", {
            **asked,
            **(report.error or {}),
            "how": how,
        }
    return WITHDRAWN if end.withdrawn_by else "cancelled", {**asked, **(report.error or {}), "how": end.ending.value}


def _evidence(end: End, *, reason_code: str | None, error: Mapping[str, Any] | None) -> Any:
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
            "error": error,
            "cancelled_by": report.by or end.withdrawn_by,
            "artifacts": (report.result or {}).get("artifacts", []),
            "log": {"lines": report.log_lines, "digest": report.log_digest},
        },
    )

"""What somebody asks about a job that is there: cancel it, run it again, serve it earlier or later.

Each locks the job's row, so that of two who ask the second sees what the first did; each writes guarded by state and
fence like everybody else, with its event and who asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from django.db import connection

from apps.core.authzen import Question
from apps.core.clock import after
from apps.core.ids import uuid7
from apps.events import operations as event_log
from apps.evidence import operations as evidence_log
from apps.evidence.models import Predicate
from apps.evidence.statements import Statement, statement
from apps.jobs import events
from apps.jobs.lifecycle import TERMINAL, TRANSITIONS, WAITING, Ending, Move, Priority, State, ended_as
from apps.jobs.models import Job
from apps.jobs.operations import end
from apps.jobs.operations.decisions import DECIDE, decision_rows
from apps.jobs.operations.end import Report
from apps.jobs.operations.held import HELD, held
from apps.jobs.operations.ruling import DecisionPoints, Refusal, Ruling, Rulings
from apps.jobs.operations.submit import Submission, UnknownEnvironmentError, question_of
from apps.jobs.operations.surroundings import surroundings_of
from apps.jobs.operations.wake import wake_scheduler
from apps.jobs.retry import Retry
from apps.jobs.types import JobType


class ControlRefusedError(Exception):
    """The job's state forbids what was asked; `state` says which it is."""

    def __init__(self, *, state: State, asked: str) -> None:
        super().__init__(f"a job that is {state} cannot be {asked}")
        self.state = state


class StepOfPlanError(ControlRefusedError):
    """A step of a plan was to be tried again by itself; `parent_id` is the plan to ask for."""

    def __init__(self, *, state: State, parent_id: UUID) -> None:
        Exception.__init__(self, f"a step is tried again with its plan: retry job {parent_id}")
        self.state = state


REQUEST_CANCEL = f"""
WITH asked AS (
    UPDATE jobs SET cancel_requested_at = clock_timestamp(), cancel_requested_by = %(by)s, cancel_reason = %(why)s
     WHERE job_id = %(job)s AND fence = %(fence)s AND status = 'running' AND cancel_requested_at IS NULL
    RETURNING tenant_id, %(event)s::uuid AS event_id, %(event_type)s AS event_type, job_id::text AS event_subject,
              %(data)s::jsonb || {events.PARENT} AS event_data
)
{event_log.APPEND.format(source="asked")}
"""


def cancel(*, job_id: UUID, by: str, why: str | None = None) -> None:
    """Cancel a job of the current tenant context, or ask the attempt that runs it to stop.

    What does not run is cancelled at once; the message of one that is dispatched becomes stale. What runs hears of it
    within a second, has its type's grace to stop, and is killed then. Asked twice, nothing more happens. Raises
    `ControlRefusedError` for a job that is over.
    """
    with connection.cursor() as cursor:
        cursor.execute(HELD + " WHERE j.job_id = %s FOR UPDATE", [job_id])
        found, now = held(cursor.fetchone())
        if found.status in TERMINAL:
            raise ControlRefusedError(state=found.status, asked="cancelled")
        if found.status is State.RUNNING:
            data = events.payload(job_id=job_id, job_type=found.type, status=found.status, attempt=found.attempt, by=by)
            cursor.execute(
                REQUEST_CANCEL,
                {
                    "job": job_id,
                    "fence": found.fence,
                    "by": by,
                    "why": why,
                    "event": uuid7(),
                    "event_type": events.CANCEL_REQUESTED,
                    "data": orjson.dumps(data).decode(),
                },
            )
            return
    report = Report(reason_code="cancelled", by=by, why=why, how="before_start")
    # No policy is asked: a cancelled end is never followed by another attempt.
    end.write([end.decide(found, ending=Ending.CANCELLED, at=now, retry=Retry(), report=report)])


RESUBMIT = f"""
WITH asked AS (
    SELECT * FROM jsonb_to_recordset(%(jobs)s) AS asked(
        job_id uuid, old_fence bigint, source text, target text, allowance smallint, obligations jsonb,
        contract_digest text, start_by timestamptz, deadline_at timestamptz, event_id uuid, event_type text,
        event_subject text, event_data jsonb, {evidence_log.COLUMNS})
), again AS (
    UPDATE jobs j SET status = asked.target, outcome = NULL, reason_code = NULL, error = NULL, progress = NULL,
           result = NULL, finished_at = NULL, evidence_id = NULL, fence = j.fence + 1, unclaimed = 0,
           max_attempts = j.attempt + asked.allowance, retries = j.retries + (j.attempt > 0)::int, due_at = NULL,
           queued_at = CASE WHEN asked.target = 'queued' THEN clock_timestamp() END, dispatched_at = NULL,
           started_at = NULL, worker_id = NULL, worker_pid = NULL,
           obligations = asked.obligations, start_by = asked.start_by, deadline_at = asked.deadline_at,
           cancel_requested_at = NULL, cancel_requested_by = NULL, cancel_reason = NULL
      FROM asked WHERE j.job_id = asked.job_id AND j.fence = asked.old_fence AND j.status = asked.source
    RETURNING j.tenant_id, j.region, j.fence, asked.event_id, asked.event_type, asked.event_subject, asked.event_data,
           asked.record_id, asked.evidence_subject, asked.predicate, asked.payload, asked.salt, asked.leaf
), told AS ({event_log.APPEND.format(source="again")})
{evidence_log.APPEND.format(source="again")}
"""


def resubmit(*, job_id: UUID, by: str, job_type: JobType, points: DecisionPoints) -> Refusal | None:
    """Queue a job that failed, timed out or was cancelled once more, with as many attempts as at first.

    It is the same job, under the next fence; what it depended on is not asked again. The decision points are asked
    anew: return what they refuse, and the job stays as it was. Raises `ControlRefusedError` for a job in any other
    state and for a step, which is tried again with its plan, and what `submit` raises.
    """
    job = Job.objects.select_for_update().get(job_id=job_id)
    standing = ended_as(status=State(job.status), outcome=State(job.outcome) if job.outcome else None)
    if standing not in TRANSITIONS[Move.REDO].sources:
        raise ControlRefusedError(state=standing, asked="tried again")
    if job.parent_id is not None:
        raise StepOfPlanError(state=standing, parent_id=job.parent_id)
    around = surroundings_of(environments=[job.environment_id], tenant_id=job.tenant_id)
    if job.environment_id not in around.regions:
        raise UnknownEnvironmentError(job.environment_id)
    question = question_again(job, by=by, job_type=job_type, region=around.regions[job.environment_id])
    ruling = Rulings(points=points).rule(question, job_type=job_type)
    decisions = decision_rows(ruling.answers, job_id=job_id, tenant_id=job.tenant_id, decided_at=around.now)
    with connection.cursor() as cursor:
        if ruling.refusal is None:
            row = row_again(job, target=State.QUEUED, by=by, job_type=job_type, ruling=ruling, now=around.now)
            cursor.execute(RESUBMIT, {"jobs": orjson.dumps([row]).decode()})
        cursor.execute(DECIDE, [orjson.dumps(decisions).decode()])
    wake_scheduler()
    return ruling.refusal


def question_again(job: Job, *, by: str, job_type: JobType, region: str) -> Question:
    """Return what the decision points are asked about a job that is to be tried again."""
    return question_of(asked_again(job, by=by, job_type=job_type), region=region)


def row_again(
    job: Job, *, target: State, by: str, job_type: JobType, ruling: Ruling, now: datetime
) -> Mapping[str, Any]:
    """Return a job that is over as a row of `RESUBMIT`: where it begins again, its event and its evidence."""
    policy = Retry(**job.retry) if job.retry else job_type.retry
    row: dict[str, Any] = {
        "job_id": str(job.job_id),
        "old_fence": job.fence,
        "source": job.status,
        "target": target,
        "allowance": policy.max_attempts,
        "obligations": ruling.obligations,
        "start_by": after(instant=now, seconds=job.start_by_s),
        "deadline_at": after(instant=now, seconds=job.deadline_s),
        "event_id": str(uuid7()),
        "event_type": events.RESUBMITTED,
        "event_subject": str(job.job_id),
        "event_data": events.payload(
            job_id=job.job_id, job_type=job.type, status=target, attempt=job.attempt, by=by, parent_id=job.parent_id
        ),
    }
    return row | evidence_log.row(_admitted_again(job, by=by, ruling=ruling), subject_id=str(job.job_id))


def asked_again(job: Job, *, by: str, job_type: JobType) -> Submission:
    """Return what the decision points are asked about when `by` wants the job to run once more."""
    return Submission(
        tenant_id=job.tenant_id,
        job_type=job_type,
        params=job.params,
        submitted_by=by,
        contract=job.contract,
        priority=Priority(job.priority),
        environment=job.environment_id,
        trigger=job.trigger,
    )


def _admitted_again(job: Job, *, by: str, ruling: Ruling) -> Statement:
    """Return the statement that the job was admitted to run once more, by whom and by which decisions."""
    answers: Mapping[str, Any] = {point: answer.proof() for point, answer in ruling.answers.items()}
    return statement(
        predicate=Predicate.ADMISSION,
        kind="job",
        subject_id=str(job.job_id),
        subject_digest=job.params_digest,
        body={
            "tenant": job.tenant_id,
            "type": job.type,
            "contract": job.contract,
            "contract_digest": job.contract_digest,
            "params_digest": job.params_digest,
            "environment": job.environment_id,
            "region": job.region,
            "priority": job.priority,
            "submitted_by": job.submitted_by,
            "resubmitted_by": by,
            "after": {"outcome": job.outcome, "fence": job.fence, "evidence": str(job.evidence_id)},
            "fence": job.fence + 1,
            "decisions": answers,
        },
    )


REPRIORITIZE = f"""
WITH asked AS (
    UPDATE jobs SET priority = %(priority)s
     WHERE job_id = %(job)s AND status = ANY (%(waiting)s)
    RETURNING tenant_id, %(event)s::uuid AS event_id, %(event_type)s AS event_type, job_id::text AS event_subject,
              jsonb_build_object('job_id', job_id, 'type', type, 'status', status, 'attempt', attempt,
                                 'reason_code', NULL, 'error_class', NULL, 'by', %(by)s::text,
                                 'priority', %(word)s::text) || {events.PARENT} AS event_data
)
{event_log.APPEND.format(source="asked")} RETURNING subject
"""


def reprioritize(*, job_id: UUID, priority: Priority, by: str) -> None:
    """Move a waiting job to another band of its tenant; raises `ControlRefusedError` for one that does not wait."""
    values: dict[str, Any] = {
        "job": job_id,
        "priority": int(priority),
        "word": priority.word,
        "waiting": [state.value for state in WAITING],
        "event": uuid7(),
        "event_type": events.REPRIORITIZED,
        "by": by,
    }
    with connection.cursor() as cursor:
        cursor.execute(REPRIORITIZE, values)
        if cursor.fetchone() is None:
            state = Job.objects.values_list("status", flat=True).get(job_id=job_id)
            raise ControlRefusedError(state=State(state), asked="given another priority")
    wake_scheduler()

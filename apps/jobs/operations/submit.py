"""Submission: a job is admitted or refused, and either way it is written with its decisions, event and evidence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from apps.core.authzen import Question
from apps.core.clock import after
from apps.core.database import preparing
from apps.core.digests import digest_of
from apps.core.ids import uuid7
from apps.events import operations as event_log
from apps.evidence import operations as evidence_log
from apps.evidence.models import Predicate
from apps.evidence.statements import Statement, statement
from apps.governance.queries import contract_digest
from apps.jobs import events
from apps.jobs.dependencies import Rule
from apps.jobs.lifecycle import Priority, State
from apps.jobs.operations import dependencies
from apps.jobs.operations.decisions import decision_rows
from apps.jobs.operations.dependencies import DependsOn
from apps.jobs.operations.family import expand, rule_together
from apps.jobs.operations.not_taken import (
    NotTakenError,
    UnknownDependencyError,
    UnknownEnvironmentError,
    UnknownTenantError,
    UnusablePlanError,
)
from apps.jobs.operations.refused import coalesce
from apps.jobs.operations.ruling import DecisionPoints, Refusal, Ruling, Rulings
from apps.jobs.operations.surroundings import Surroundings, surroundings_of
from apps.jobs.operations.wake import wake_scheduler
from apps.jobs.plans import BadPlanError
from apps.jobs.retry import Retry
from apps.jobs.types import JobType

__all__ = [
    "DecisionPoints",
    "DependsOn",
    "NotTakenError",
    "Refusal",
    "Submission",
    "Submitted",
    "UnknownDependencyError",
    "UnknownEnvironmentError",
    "UnknownTenantError",
    "UnusablePlanError",
    "submit",
    "submit_all",
]


@dataclass(frozen=True, kw_only=True)
class Submission:
    """A job as asked for; `params` were checked against the type's schema, `tenant_id` against the token."""

    tenant_id: str
    job_type: JobType
    params: Mapping[str, Any]
    submitted_by: str
    contract: str | None = None
    priority: Priority = Priority.NORMAL
    environment: str = "default"
    trigger: str = "user"
    run_at: datetime | None = None
    timeout_s: int | None = None
    concurrency_key: str | None = None
    retry: Retry | None = None
    start_by_s: int | None = None
    deadline_s: int | None = None
    job_id: UUID | None = None
    depends_on: DependsOn | None = None
    parent_id: UUID | None = None
    step: str | None = None
    plan: Mapping[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class Submitted:
    """The job that was written; `refusal` says why when it may not run.

    `row` and `decisions` are what was written, by column, so that nobody has to read it back.
    """

    job_id: UUID
    status: State
    refusal: Refusal | None
    row: Mapping[str, Any] = field(default_factory=dict, repr=False)
    decisions: Sequence[Mapping[str, Any]] = field(default=(), repr=False)
    upstreams: Sequence[UUID] = ()


def submit(submission: Submission, *, points: DecisionPoints) -> Submitted:
    """Admit or refuse `submission` and write it down; call inside its tenant's context.

    The refused job is kept, `rejected`, with its evidence, which may be another's (`refused`). Raises
    `UnknownTenantError` and `UnknownEnvironmentError` before anything is written and lets `DecisionPointAwayError`
    through, with no row left behind.
    """
    (made,) = submit_all([submission], points=points)
    if isinstance(made, NotTakenError):
        raise made
    return made


def submit_all(submissions: Sequence[Submission], *, points: DecisionPoints) -> list[Submitted | NotTakenError]:
    """Admit or refuse each of one tenant's submissions and write all in one statement; return what came of each.

    As `submit`, but an environment or dependency that is not there is told in its submission's place, and the others
    are written. A submission may depend on one before it in the same call, by the `job_id` it was given.
    """
    tenant_id = submissions[0].tenant_id
    around = surroundings_of(environments={each.environment for each in submissions}, tenant_id=tenant_id)
    rulings = Rulings(points=points)
    pinned: dict[str | None, str | None] = {}
    results: list[Submitted | NotTakenError] = []
    rows: list[dict[str, Any]] = []
    decisions: list[dict[str, Any]] = []
    upstreams = dependencies.Upstreams(submissions)
    entered: list[Submitted] = []
    for each in submissions:
        if each.environment not in around.regions:
            results.append(UnknownEnvironmentError(each.environment))
            continue
        if (missing := upstreams.missing(each.depends_on)) is not None:
            results.append(UnknownDependencyError(missing))
            continue
        try:
            whole, steps = expand(each)
        except BadPlanError as error:
            results.append(UnusablePlanError(str(error)))
            continue
        region = around.regions[each.environment]
        ruled = rule_together([(one, question_of(one, region=region)) for one in (whole, *steps)], rulings=rulings)
        for one, ruling in zip([whole, *steps], ruled, strict=False):
            made = Submitted(
                job_id=one.job_id or uuid7(),
                status=_first_status(one, ruling=ruling, around=around),
                refusal=ruling.refusal,
            )
            rulings.count(made.status)
            if one.contract not in pinned:
                pinned[one.contract] = contract_digest(reference=one.contract, tenant_id=tenant_id)
            row = _row(one, made=made, around=around, ruling=ruling, pinned=pinned[one.contract])
            decided = decision_rows(ruling.answers, job_id=made.job_id, tenant_id=one.tenant_id, decided_at=around.now)
            made = replace(made, row=row, decisions=decided, upstreams=one.depends_on.jobs if one.depends_on else ())
            rows.append(row)
            upstreams.wrote(made.job_id, depends_on=one.depends_on)
            decisions += decided
            entered.append(made)
            if one is whole:
                results.append(made)
    if refused := [row for row in rows if row["outcome"] is not None]:
        coalesce(refused)
    if rows:
        with preparing() as cursor:
            cursor.execute(WRITE, {"jobs": orjson.dumps(rows).decode(), "decisions": orjson.dumps(decisions).decode()})
        upstreams.link(tenant_id=tenant_id)
    if any(made.status in {State.QUEUED, State.BLOCKED} for made in entered):
        wake_scheduler(tenant_id=tenant_id)
    return results


def question_of(submission: Submission, *, region: str) -> Question:
    """Return what the decision points are asked."""
    return Question(
        subject=submission.submitted_by,
        action="operations.submit",
        job_type=submission.job_type.name,
        contract=submission.contract,
        tenant_id=submission.tenant_id,
        environment=submission.environment,
        region=region,
        priority=submission.priority.word,
    )


def _first_status(submission: Submission, *, ruling: Ruling, around: Surroundings) -> State:
    """Return where the job begins: refused, dependent, due later, due while the broker is away, or eligible.

    A dependent's upstreams may all be over: the scheduler, which alone decides rules, finds it among their news.
    """
    if ruling.refusal is not None:
        return State.REJECTED
    if submission.plan is not None:
        return State.WAITING_CHILDREN
    if submission.depends_on is not None and submission.depends_on.rule is not Rule.ALWAYS:
        return State.BLOCKED
    if submission.run_at is not None and submission.run_at > around.now:
        return State.SCHEDULED
    return State.DEFERRED if around.broker_away else State.QUEUED


WRITE = f"""
WITH asked AS (
    SELECT * FROM jsonb_to_recordset(%(jobs)s) AS asked(
        job_id uuid, tenant_id text, type text, status text, outcome text, reason_code text, priority smallint,
        environment_id text, region text, contract text, contract_digest text, params jsonb, params_digest text,
        trigger text, submitted_by text, concurrency_key text, timeout_s int, max_attempts smallint, obligations jsonb,
        retry jsonb, start_by_s int, start_by timestamptz, deadline_s int, deadline_at timestamptz,
        heartbeat_s float8, cancel_grace_s float8, parent_id uuid, step text, plan jsonb, depends_rule text,
        watched boolean, run_at timestamptz, submitted_at timestamptz, queued_at timestamptz, fence bigint, error jsonb,
        event_id uuid, event_type text, event_subject text, event_data jsonb, stood_for_by uuid, {evidence_log.COLUMNS})
), written AS (
    INSERT INTO jobs (job_id, tenant_id, type, status, outcome, reason_code, priority, environment_id, region, contract,
        contract_digest, params, params_digest, trigger, submitted_by, concurrency_key, timeout_s, max_attempts,
        obligations, run_at, due_at, submitted_at, queued_at, finished_at, error, evidence_id,
        attempt, retries, fence, unclaimed, retry, start_by_s, start_by, deadline_s, deadline_at, heartbeat_s,
        cancel_grace_s, parent_id, step, plan, depends_rule, watched)
    SELECT job_id, tenant_id, type, status, outcome, reason_code, priority, environment_id, region, contract,
        contract_digest, params, params_digest, trigger, submitted_by, concurrency_key, timeout_s, max_attempts,
        obligations, run_at, CASE WHEN status = 'scheduled' THEN run_at END, submitted_at,
        queued_at,
        CASE WHEN outcome IS NOT NULL THEN clock_timestamp() END, error,
        CASE WHEN outcome IS NOT NULL THEN coalesce(record_id, stood_for_by) END, 0, 0, 0, 0,
        retry, start_by_s, start_by, deadline_s, deadline_at, heartbeat_s, cancel_grace_s, parent_id, step, plan,
        depends_rule, watched
      FROM asked
), decided AS (
    INSERT INTO decisions (decision_id, tenant_id, job_id, point, action, allowed, reason_code, reason, policy_revision,
        context, decided_at)
    SELECT decision_id, tenant_id, job_id, point, action, allowed, reason_code, reason, policy_revision, context,
        decided_at
      FROM jsonb_to_recordset(%(decisions)s) AS decided(
        decision_id uuid, tenant_id text, job_id uuid, point text, action text, allowed boolean, reason_code text,
        reason text, policy_revision text, context jsonb, decided_at timestamptz)
), told AS ({event_log.APPEND.format(source="asked")})
{evidence_log.APPEND.format(source="asked")}
"""


def _row(
    submission: Submission, *, made: Submitted, around: Surroundings, ruling: Ruling, pinned: str | None
) -> dict[str, Any]:
    """Return the job as a row of `WRITE`: with its event and its evidence. `pinned` is its contract's digest."""
    refusal, status = ruling.refusal, made.status
    row: dict[str, Any] = {
        "job_id": str(made.job_id),
        "tenant_id": submission.tenant_id,
        "type": submission.job_type.name,
        "status": status,
        "outcome": status if refusal else None,
        "reason_code": refusal.code if refusal else None,
        "priority": int(submission.priority),
        "environment_id": submission.environment,
        "region": around.regions[submission.environment],
        "contract": submission.contract,
        "contract_digest": pinned,
        "params": submission.params,
        "params_digest": digest_of(submission.params),
        "trigger": submission.trigger,
        "submitted_by": submission.submitted_by,
        "concurrency_key": submission.concurrency_key,
        "timeout_s": submission.timeout_s or math.ceil(submission.job_type.timeout_s),
        "max_attempts": (submission.retry or submission.job_type.retry).max_attempts,
        "retry": submission.retry.kept() if submission.retry else None,
        "heartbeat_s": submission.job_type.heartbeat_s,
        "cancel_grace_s": submission.job_type.cancel_grace_s,
        "start_by_s": submission.start_by_s,
        "start_by": after(instant=around.now, seconds=submission.start_by_s),
        "deadline_s": submission.deadline_s,
        "deadline_at": after(instant=around.now, seconds=submission.deadline_s),
        "obligations": ruling.obligations,
        "run_at": submission.run_at,
        "parent_id": submission.parent_id and str(submission.parent_id),
        "step": submission.step,
        "plan": submission.plan,
        "depends_rule": submission.depends_on and submission.depends_on.rule,
        "watched": submission.parent_id is not None or submission.plan is not None,
        "submitted_at": around.now,
        "queued_at": around.now if status is State.QUEUED else None,
        "attempt": 0,
        "retries": 0,
        "fence": 0,
        "error": {"code": refusal.code, "message": refusal.reason, "class": "Refused"} if refusal else None,
        "event_id": str(uuid7()),
        "event_type": events.REJECTED if refusal else events.SUBMITTED,
        "event_subject": str(made.job_id),
        "event_data": events.payload(
            job_id=made.job_id,
            job_type=submission.job_type.name,
            status=status,
            attempt=0,
            reason_code=refusal.code if refusal else None,
            parent_id=submission.parent_id,
        ),
    }
    return row | evidence_log.row(_evidence(row, ruling=ruling), subject_id=row["job_id"])


def _evidence(row: Mapping[str, Any], *, ruling: Ruling) -> Statement:
    """Return the statement that the job was admitted, or refused and why."""
    return statement(
        predicate=Predicate.REFUSAL if ruling.refusal else Predicate.ADMISSION,
        kind="job",
        subject_id=row["job_id"],
        subject_digest=row["params_digest"],
        body={
            "tenant": row["tenant_id"],
            "type": row["type"],
            "contract": row["contract"],
            "contract_digest": row["contract_digest"],
            "params_digest": row["params_digest"],
            "environment": row["environment_id"],
            "region": row["region"],
            "priority": row["priority"],
            "submitted_by": row["submitted_by"],
            "submitted_at": row["submitted_at"].isoformat(),
            "trigger": row["trigger"],
            **({"parent": row["parent_id"], "step": row["step"]} if row["parent_id"] else {}),
            "reason_code": row["reason_code"],
            "decisions": {point: answer.proof() for point, answer in ruling.answers.items()},
        },
    )

"""Submission: a job is admitted or refused, and either way it is written with its decisions, event and evidence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from apps.core.authzen import Answer, DecisionPoint, Question
from apps.core.database import preparing
from apps.core.digests import digest_of
from apps.core.ids import uuid7
from apps.events import operations as event_log
from apps.evidence import operations as evidence_log
from apps.evidence.models import Predicate
from apps.evidence.statements import Statement, statement
from apps.governance.queries import contract_digest
from apps.jobs import events
from apps.jobs.lifecycle import Priority, State
from apps.jobs.operations.wake import wake_scheduler
from apps.jobs.types import JobType


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


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Why a job was refused, in the caller's words. `retry_after_s` is set for a limit that clears by itself."""

    code: str
    reason: str
    decision_id: UUID | None
    point: str
    retry_after_s: int | None = None


@dataclass(frozen=True, kw_only=True)
class Submitted:
    """The job that was written; `refusal` says why when it may not run."""

    job_id: UUID
    status: State
    refusal: Refusal | None


@dataclass(frozen=True, kw_only=True)
class DecisionPoints:
    """Whom a submission asks."""

    governance: DecisionPoint
    subscription: DecisionPoint


class UnknownEnvironmentError(LookupError):
    """There is no such environment, or it is not for this tenant: nothing could ever serve the request."""


class UnknownTenantError(LookupError):
    """There is no such tenant: a token for all of them may name any."""


@dataclass(frozen=True, kw_only=True)
class _Surroundings:
    region: str
    now: datetime


@dataclass(frozen=True, kw_only=True)
class _Ruling:
    answers: dict[str, Answer]
    refusal: Refusal | None
    obligations: dict[str, Any] = field(default_factory=dict)


def submit(submission: Submission, *, points: DecisionPoints) -> Submitted:
    """Admit or refuse `submission` and write it down; call inside its tenant's context.

    The refused job is kept, `rejected`, with its evidence. Raises `UnknownTenantError` and `UnknownEnvironmentError`
    before anything is written and lets `DecisionPointAwayError` through, with no row left behind.
    """
    surroundings = _surroundings(environment=submission.environment, tenant_id=submission.tenant_id)
    ruling = _rule(submission, region=surroundings.region, points=points)
    job_id = uuid7()
    if ruling.refusal is not None:
        status = State.REJECTED
    elif submission.run_at is not None and submission.run_at > surroundings.now:
        status = State.SCHEDULED
    else:
        status = State.QUEUED
    _write(submission, job_id=job_id, status=status, surroundings=surroundings, ruling=ruling)
    if status is State.QUEUED:
        wake_scheduler()
    return Submitted(job_id=job_id, status=status, refusal=ruling.refusal)


def _surroundings(*, environment: str, tenant_id: str) -> _Surroundings:
    """Return the environment's region and the database's time; raise for a tenant or environment that is not there."""
    with preparing() as cursor:
        cursor.execute(
            "SELECT clock_timestamp(), e.region FROM tenants t LEFT JOIN environments e ON e.name = %s"
            " AND (e.allowed_tenants IS NULL OR t.tenant_id = ANY (e.allowed_tenants)) WHERE t.tenant_id = %s",
            [environment, tenant_id],
        )
        row = cursor.fetchone()
    if row is None:
        raise UnknownTenantError(tenant_id)
    now, region = row
    if region is None:
        raise UnknownEnvironmentError(environment)
    return _Surroundings(region=region, now=now)


def _rule(submission: Submission, *, region: str, points: DecisionPoints) -> _Ruling:
    """Ask Governance, then Subscription, then count against the limits: the first no is the reason."""
    if submission.job_type.contract == "required" and submission.contract is None:
        # The type's own word, kept as a decision like any other: there is nothing to ask Governance about.
        reason = (
            f"'{submission.job_type.name}' runs only under a contract: name one as 'contract', like 'kpi.revenue@3'"
        )
        missing = Answer(
            allowed=False,
            decision_id=uuid7(),
            policy_revision="job-type",
            reason_code="contract_required",
            reason=reason,
        )
        return _Ruling(answers={"governance": missing}, refusal=_refusal(missing, point="governance"))
    question = Question(
        subject=submission.submitted_by,
        action="operations.submit",
        job_type=submission.job_type.name,
        contract=submission.contract,
        tenant_id=submission.tenant_id,
        environment=submission.environment,
        region=region,
        priority=submission.priority.word,
    )
    answers: dict[str, Answer] = {}
    for name, point in (("governance", points.governance), ("subscription", points.subscription)):
        answer = answers[name] = point.evaluate(question)
        if not answer.allowed:
            return _Ruling(answers=answers, refusal=_refusal(answer, point=name))
    obligations = {**answers["subscription"].obligations, **answers["governance"].obligations}
    refusal = _over_limit(tenant_id=submission.tenant_id, answer=answers["subscription"])
    return _Ruling(answers=answers, refusal=refusal, obligations=obligations)


def _refusal(answer: Answer, *, point: str) -> Refusal:
    return Refusal(code=answer.reason_code, reason=answer.reason, decision_id=answer.decision_id, point=point)


def _over_limit(*, tenant_id: str, answer: Answer) -> Refusal | None:
    """Return why the tenant may not add another job now, or None. Counting stops at the limit."""
    backlog_cap, per_day = answer.limits.get("backlog_cap"), answer.limits.get("jobs_per_day")
    with preparing() as cursor:
        cursor.execute(
            "SELECT (SELECT count(*) FROM (SELECT 1 FROM jobs WHERE tenant_id = %(tenant)s AND status = 'queued'"
            " LIMIT %(cap)s) AS waiting), CASE WHEN %(per_day)s::int IS NOT NULL THEN (SELECT count(*) FROM (SELECT 1"
            " FROM jobs WHERE tenant_id = %(tenant)s AND submitted_at >= date_trunc('day', clock_timestamp())"
            " AND status <> 'rejected' LIMIT %(per_day)s) AS today) END,"
            " ceil(extract(epoch FROM date_trunc('day', clock_timestamp()) + interval '1 day'"
            " - clock_timestamp()))::int",
            {"tenant": tenant_id, "cap": backlog_cap, "per_day": per_day},
        )
        waiting, today, day_left_s = cursor.fetchone() or (0, None, 0)
    if backlog_cap is not None and waiting >= backlog_cap:
        reason = f"{waiting} jobs are waiting, and the plan's backlog cap is {backlog_cap}"
        return _limit_reached(answer, code="backlog_full", reason=reason, retry_after_s=30)
    if per_day is not None and today >= per_day:
        reason = f"{today} jobs were submitted today, and the plan allows {per_day} a day (UTC)"
        return _limit_reached(answer, code="jobs_per_day", reason=reason, retry_after_s=day_left_s)
    return None


def _limit_reached(answer: Answer, *, code: str, reason: str, retry_after_s: int) -> Refusal:
    return Refusal(
        code=code,
        reason=reason,
        decision_id=answer.decision_id,
        point="subscription",
        retry_after_s=retry_after_s,
    )


WRITE = f"""
WITH asked AS (
    SELECT * FROM jsonb_to_recordset(%(jobs)s) AS asked(
        job_id uuid, tenant_id text, type text, status text, outcome text, reason_code text, priority smallint,
        environment_id text, region text, contract text, contract_digest text, params jsonb, params_digest text,
        trigger text, submitted_by text, concurrency_key text, timeout_s int, max_attempts smallint, obligations jsonb,
        run_at timestamptz, submitted_at timestamptz, fence bigint, error jsonb,
        event_id uuid, event_type text, event_subject text, event_data jsonb, {evidence_log.COLUMNS})
), written AS (
    INSERT INTO jobs (job_id, tenant_id, type, status, outcome, reason_code, priority, environment_id, region, contract,
        contract_digest, params, params_digest, trigger, submitted_by, concurrency_key, timeout_s, max_attempts,
        obligations, run_at, due_at, submitted_at, queued_at, finished_at, error, evidence_id,
        attempt, retries, fence, unclaimed)
    SELECT job_id, tenant_id, type, status, outcome, reason_code, priority, environment_id, region, contract,
        contract_digest, params, params_digest, trigger, submitted_by, concurrency_key, timeout_s, max_attempts,
        obligations, run_at, CASE WHEN status = 'scheduled' THEN run_at END, submitted_at,
        CASE WHEN status = 'queued' THEN clock_timestamp() END,
        CASE WHEN outcome IS NOT NULL THEN clock_timestamp() END, error,
        CASE WHEN outcome IS NOT NULL THEN record_id END, 0, 0, 0, 0
      FROM asked
), decided AS (
    INSERT INTO decisions (decision_id, tenant_id, job_id, point, action, allowed, reason_code, reason, policy_revision,
        context, decided_at)
    SELECT decision_id, tenant_id, job_id, point, action, allowed, reason_code, reason, policy_revision, context,
        clock_timestamp()
      FROM jsonb_to_recordset(%(decisions)s) AS decided(
        decision_id uuid, tenant_id text, job_id uuid, point text, action text, allowed boolean, reason_code text,
        reason text, policy_revision text, context jsonb)
), told AS ({event_log.APPEND.format(source="asked")})
{evidence_log.APPEND.format(source="asked")}
"""


def _write(
    submission: Submission, *, job_id: UUID, status: State, surroundings: _Surroundings, ruling: _Ruling
) -> None:
    """Insert the job, its decisions, its event and its evidence in one statement."""
    refusal = ruling.refusal
    params_digest = digest_of(submission.params)
    pinned = contract_digest(reference=submission.contract, tenant_id=submission.tenant_id)
    row = {
        "job_id": str(job_id),
        "tenant_id": submission.tenant_id,
        "type": submission.job_type.name,
        "status": status,
        "outcome": status if refusal else None,
        "reason_code": refusal.code if refusal else None,
        "priority": int(submission.priority),
        "environment_id": submission.environment,
        "region": surroundings.region,
        "contract": submission.contract,
        "contract_digest": pinned,
        "params": submission.params,
        "params_digest": params_digest,
        "trigger": submission.trigger,
        "submitted_by": submission.submitted_by,
        "concurrency_key": submission.concurrency_key,
        "timeout_s": submission.timeout_s or math.ceil(submission.job_type.timeout_s),
        "max_attempts": submission.job_type.retry.max_attempts,
        "obligations": ruling.obligations,
        "run_at": submission.run_at,
        "submitted_at": surroundings.now,
        "fence": 0,
        "error": {"code": refusal.code, "message": refusal.reason, "class": "Refused"} if refusal else None,
        "event_id": str(uuid7()),
        "event_type": events.REJECTED if refusal else events.SUBMITTED,
        "event_subject": str(job_id),
        "event_data": events.payload(
            job_id=job_id,
            job_type=submission.job_type.name,
            status=status,
            attempt=0,
            reason_code=refusal.code if refusal else None,
        ),
    }
    proof = _evidence(row, ruling=ruling)
    row |= evidence_log.row(proof, subject_id=str(job_id))
    decisions = _decisions(ruling.answers, job_id=job_id, tenant_id=submission.tenant_id)
    with preparing() as cursor:
        cursor.execute(WRITE, {"jobs": orjson.dumps([row]).decode(), "decisions": orjson.dumps(decisions).decode()})


def _evidence(row: Mapping[str, Any], *, ruling: _Ruling) -> Statement:
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
            "reason_code": row["reason_code"],
            "decisions": {
                point: {
                    "decision_id": str(answer.decision_id),
                    "allowed": answer.allowed,
                    "reason_code": answer.reason_code,
                    "policy_revision": answer.policy_revision,
                }
                for point, answer in ruling.answers.items()
            },
        },
    )


def _decisions(answers: Mapping[str, Answer], *, job_id: UUID, tenant_id: str) -> Sequence[dict[str, Any]]:
    """Return the answers as rows of `decisions`."""
    return [
        {
            "decision_id": str(answer.decision_id),
            "tenant_id": tenant_id,
            "job_id": str(job_id),
            "point": point,
            "action": "operations.submit",
            "allowed": answer.allowed,
            "reason_code": answer.reason_code,
            "reason": answer.reason,
            "policy_revision": answer.policy_revision,
            "context": answer.context(),
        }
        for point, answer in answers.items()
    ]

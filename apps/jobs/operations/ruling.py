"""Whether a submission may be: Governance, then Subscription, then the limits. The first no is the reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from apps.core.authzen import Answer, DecisionPoint, Question
from apps.core.database import preparing
from apps.core.ids import uuid7
from apps.evidence import queries as evidence
from apps.jobs.lifecycle import State
from apps.jobs.types import JobType

# An outage's jobs count as backlog like any other, and dependents: neither is a way around the cap.
COUNT = f"""
SELECT (SELECT count(*) FROM (SELECT 1 FROM jobs WHERE tenant_id = %(tenant)s
         AND status IN ('queued', 'deferred', 'blocked') LIMIT %(cap)s) AS waiting),
       CASE WHEN %(per_day)s::int IS NOT NULL THEN (SELECT count(*) FROM (SELECT 1 FROM jobs
         WHERE tenant_id = %(tenant)s AND submitted_at >= date_trunc('day', clock_timestamp())
           AND outcome IS DISTINCT FROM 'rejected' LIMIT %(per_day)s) AS today) END,
       ceil(extract(epoch FROM date_trunc('day', clock_timestamp()) + interval '1 day' - clock_timestamp()))::int,
       {evidence.DEBT.format(tenant="%(tenant)s")}
"""
AUDIT_DEBT_AGAIN_S = 30  # as long as the emitter leaves a sink alone that is away


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Why a job was refused, in the caller's words. `retry_after_s` is set for a limit that clears by itself."""

    code: str
    reason: str
    decision_id: UUID | None
    point: str
    retry_after_s: int | None = None


@dataclass(frozen=True, kw_only=True)
class DecisionPoints:
    """Whom a submission asks."""

    governance: DecisionPoint
    subscription: DecisionPoint


@dataclass(frozen=True, kw_only=True)
class Ruling:
    """What was answered about a job, by decision point, and why it may not be, if it may not."""

    answers: Mapping[str, Answer]
    refusal: Refusal | None
    obligations: Mapping[str, Any] = field(default_factory=dict)


class Rulings:
    """The rulings on one tenant's submissions of one transaction: each distinct question is asked once.

    `count` tells of each job that was admitted, so that a batch's own jobs count against the limits as well.
    """

    def __init__(self, *, points: DecisionPoints) -> None:
        self._points = (("governance", points.governance), ("subscription", points.subscription))
        self._asked: dict[Question, Ruling] = {}
        self._counted: dict[tuple[int | None, int | None], tuple[int, int | None, int, int]] = {}
        self._waiting = 0
        self._today = 0

    def rule(self, question: Question, *, job_type: JobType) -> Ruling:
        """Return the ruling; lets `DecisionPointAwayError` through."""
        if job_type.contract == "required" and question.contract is None:
            return _contract_missing(job_type.name)
        ruling = self._asked.get(question)
        if ruling is None:
            ruling = self._asked[question] = self._ask(question)
        if ruling.refusal is not None:
            return ruling
        over = self._over_limit(tenant_id=question.tenant_id, answer=ruling.answers["subscription"])
        return ruling if over is None else Ruling(answers=ruling.answers, refusal=over)

    def count(self, status: State) -> None:
        """Count a job of this transaction that was written with `status`."""
        self._waiting += status in {State.QUEUED, State.DEFERRED, State.BLOCKED}
        self._today += status is not State.REJECTED

    def _ask(self, question: Question) -> Ruling:
        answers: dict[str, Answer] = {}
        for name, point in self._points:
            answer = answers[name] = point.evaluate(question)
            if not answer.allowed:
                return Ruling(answers=answers, refusal=_refusal(answer, point=name))
        obligations = {**answers["subscription"].obligations, **answers["governance"].obligations}
        return Ruling(answers=answers, refusal=None, obligations=obligations)

    def _over_limit(self, *, tenant_id: str, answer: Answer) -> Refusal | None:
        """Return why the tenant may not add another job now, or None. Counting stops at the limit."""
        backlog_cap, per_day = answer.limits.get("backlog_cap"), answer.limits.get("jobs_per_day")
        found = self._counted.get((backlog_cap, per_day))
        if found is None:
            # Jobs of this transaction are written when all are ruled on: what is counted here never holds them.
            with preparing() as cursor:
                cursor.execute(COUNT, {"tenant": tenant_id, "cap": backlog_cap, "per_day": per_day})
                found = self._counted[backlog_cap, per_day] = cursor.fetchone() or (0, None, 0, 0)
        waiting, today, day_left_s = found[0] + self._waiting, (found[1] or 0) + self._today, found[2]
        if backlog_cap is not None and waiting >= backlog_cap:
            reason = f"{waiting} jobs are waiting, and the plan's backlog cap is {backlog_cap}"
            return _limit_reached(answer, code="backlog_full", reason=reason, retry_after_s=30)
        budget, debt = answer.limits.get("audit_debt"), found[3]
        if budget is not None and debt > budget:
            reason = f"{debt} evidence records wait for the sink to accept them, and the plan lets {budget} wait"
            return _limit_reached(answer, code="audit_debt", reason=reason, retry_after_s=AUDIT_DEBT_AGAIN_S)
        if per_day is not None and today >= per_day:
            reason = f"{today} jobs were submitted today, and the plan allows {per_day} a day (UTC)"
            return _limit_reached(answer, code="jobs_per_day", reason=reason, retry_after_s=day_left_s)
        return None


def _contract_missing(job_type: str) -> Ruling:
    """Return the type's own word, kept as a decision like any other: there is nothing to ask Governance about."""
    missing = Answer(
        allowed=False,
        decision_id=uuid7(),
        policy_revision="job-type",
        reason_code="contract_required",
        reason=f"'{job_type}' runs only under a contract: name one as 'contract', like 'kpi.revenue@3'",
    )
    return Ruling(answers={"governance": missing}, refusal=_refusal(missing, point="governance"))


def _refusal(answer: Answer, *, point: str) -> Refusal:
    return Refusal(code=answer.reason_code, reason=answer.reason, decision_id=answer.decision_id, point=point)


def _limit_reached(answer: Answer, *, code: str, reason: str, retry_after_s: int) -> Refusal:
    return Refusal(
        code=code,
        reason=reason,
        decision_id=answer.decision_id,
        point="subscription",
        retry_after_s=retry_after_s,
    )

"""Asking the decision points again what they once decided about a job, and what they say otherwise. Writes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from apps.core.authzen import Answer, DecisionPoint, Question
from apps.core.authzen_client import RemotePoint
from apps.jobs import queries
from apps.jobs.lifecycle import Priority
from apps.jobs.models import Decision, Job
from apps.jobs.operations.ruling import DecisionPoints
from apps.tenancy.context import in_tenant


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A decision as it was kept, and the question that it answered."""

    point: str
    decision_id: UUID
    decided_at: datetime
    tenant_id: str
    question: Question
    said: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """A decision then and now. `differs` names what is said otherwise; a revision may differ and nothing else."""

    kept: Kept
    now: dict[str, Any]

    @property
    def differs(self) -> list[str]:
        """Return the names of what is another now."""
        return [name for name, value in self.kept.said.items() if self.now[name] != value]

    def document(self) -> dict[str, Any]:
        """Return it for programs."""
        return {
            "point": self.kept.point,
            "action": self.kept.question.action,
            "decision_id": str(self.kept.decision_id),
            "decided_at": self.kept.decided_at.isoformat(),
            "then": self.kept.said,
            "now": self.now,
            "differs": self.differs,
        }


def kept_decisions(job_id: UUID) -> list[Kept]:
    """Return what was decided about a job, the newest of each point and action, in the current context.

    Empty for a job that is not there. The question is asked in the name of who submitted the job first.
    """
    job = Job.objects.filter(job_id=job_id).first()
    if job is None:
        return []
    newest: dict[tuple[str, str], Decision] = {}
    for decision in queries.every_decision_of(job_id):
        newest[decision.point, decision.action] = decision
    return [
        Kept(
            point=each.point,
            decision_id=each.decision_id,
            decided_at=each.decided_at,
            tenant_id=job.tenant_id,
            question=_question(job, action=each.action),
            said=_said(each.allowed, each.reason_code, each.policy_revision, each.context),
        )
        for each in newest.values()
    ]


def replayed(kept: Sequence[Kept], *, points: DecisionPoints) -> list[Replayed]:
    """Ask again; call outside transactions, since a point may be far away. Lets `DecisionPointAwayError` through."""
    by_name = {"governance": points.governance, "subscription": points.subscription}
    found = []
    for each in kept:
        answer = _ask(by_name[each.point], each)
        now = _said(answer.allowed, answer.reason_code, answer.policy_revision, answer.context())
        found.append(Replayed(kept=each, now=now))
    return found


def _ask(point: DecisionPoint, kept: Kept) -> Answer:
    if isinstance(point, RemotePoint):
        return point.evaluate(kept.question)
    with in_tenant(kept.tenant_id):
        return point.evaluate(kept.question)


def _question(job: Job, *, action: str) -> Question:
    return Question(
        subject=job.submitted_by,
        action=action,
        job_type=job.type,
        contract=job.contract,
        tenant_id=job.tenant_id,
        environment=job.environment_id,
        region=job.region,
        priority=Priority(job.priority).word,
    )


def _said(allowed: bool, reason_code: str, policy_revision: str, context: dict[str, Any]) -> dict[str, Any]:
    return {
        "allowed": allowed,
        "reason_code": reason_code,
        "policy_revision": policy_revision,
        "limits": context.get("limits", {}),
        "obligations": context.get("obligations", {}),
    }

"""Questions to a decision point and its answers, in the shape of the AuthZEN Authorization API 1.0.

Governance and Subscription are both asked this way, whether they are the built-in catalogues or a remote service: the
callers know only `DecisionPoint`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import UUID


@dataclass(frozen=True, kw_only=True)
class Question:
    """May `subject` do `action` with this job?

    `action` is operations.submit, operations.dispatch or operations.continue.
    """

    subject: str
    action: str
    job_type: str
    contract: str | None
    tenant_id: str
    environment: str
    region: str
    priority: str

    def body(self) -> dict[str, Any]:
        """Return the question as an AuthZEN evaluation request."""
        return {
            "subject": {"type": "module", "id": self.subject},
            "action": {"name": self.action},
            "resource": {
                "type": self.job_type,
                "id": self.contract or "-",
                "properties": {
                    "tenant": self.tenant_id,
                    "environment": self.environment,
                    "region": self.region,
                    "priority": self.priority,
                },
            },
        }


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A decision, who made it from which revision, and what it brings: limits to keep, obligations to obey."""

    allowed: bool
    decision_id: UUID
    policy_revision: str
    reason_code: str
    reason: str = ""
    limits: Mapping[str, Any] = field(default_factory=dict)
    obligations: Mapping[str, Any] = field(default_factory=dict)
    max_age_s: int = 60
    stale_if_error_s: int = 0
    stale_s: int | None = None  # how old the answer was when it stood in for a decision point that was away

    def context(self) -> dict[str, Any]:
        """Return what is kept beside the decision."""
        stale = {} if self.stale_s is None else {"stale": True, "age_s": self.stale_s}
        return stale | {
            "limits": dict(self.limits),
            "obligations": dict(self.obligations),
            "max_age_s": self.max_age_s,
            "stale_if_error_s": self.stale_if_error_s,
        }

    def proof(self) -> dict[str, Any]:
        """Return the decision as evidence names it: who may be asked for it again, and whether it was a stale one."""
        stale = {} if self.stale_s is None else {"stale": True, "age_s": self.stale_s}
        return stale | {
            "decision_id": str(self.decision_id),
            "allowed": self.allowed,
            "reason_code": self.reason_code,
            "policy_revision": self.policy_revision,
        }


class DecisionPointAwayError(Exception):
    """The decision point did not answer; nothing may be admitted on its behalf."""

    def __init__(self, *, point: str, retry_after_s: int) -> None:
        super().__init__(f"{point} does not answer")
        self.point = point
        self.retry_after_s = retry_after_s


class DecisionPoint(Protocol):
    """Something that answers questions."""

    def evaluate(self, question: Question) -> Answer:
        """Answer `question`; raise `DecisionPointAwayError` when no answer can be had."""
        ...


class BatchDecisionPoint(DecisionPoint, Protocol):
    """A decision point that answers many questions at once."""

    def evaluate_all(self, questions: Sequence[Question]) -> list[Answer]:
        """Answer each of `questions`, in order, as `evaluate` would, in as few round trips as can be."""
        ...

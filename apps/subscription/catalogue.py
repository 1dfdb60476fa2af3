"""The built-in decision point of Subscription: entitlements and limits out of the plans in this database.

It answers what a tenant is entitled to and within which limits; keeping the limits (counting, waiting, refusing) is
the work of Operations, which holds the counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from apps.core.authzen import Answer, Question
from apps.core.database import preparing
from apps.core.digests import digest_of
from apps.core.ids import uuid7


class PlanFacts(NamedTuple):
    """What a decision needs of a tenant's subscription and plan."""

    subscription_state: str
    expired: bool
    plan_id: str
    job_types: Sequence[str]
    weight: int
    max_running: int
    jobs_per_day: int | None
    backlog_cap: int
    audit_debt: int
    rate: str | None = None

    def limits(self) -> dict[str, Any]:
        """Return the plan's limits by the names Operations keeps them under."""
        return {
            "weight": self.weight,
            "max_running": self.max_running,
            "jobs_per_day": self.jobs_per_day,
            "backlog_cap": self.backlog_cap,
            "audit_debt": self.audit_debt,
            "rate": self.rate,
        }


class Verdict(NamedTuple):
    """A decision without its identity."""

    allowed: bool
    reason_code: str
    reason: str


def decide(question: Question, *, plan: PlanFacts | None) -> Verdict:
    """Return the verdict: a live subscription whose plan covers the job type."""
    tenant = question.tenant_id
    if plan is None:
        return Verdict(False, "no_subscription", f"tenant '{tenant}' has no subscription")
    if plan.subscription_state != "active" or plan.expired:
        return Verdict(False, "subscription_ended", f"the subscription of tenant '{tenant}' has ended")
    if not any(fnmatchcase(question.job_type, pattern) for pattern in plan.job_types):
        return Verdict(False, "not_entitled", f"plan '{plan.plan_id}' does not include '{question.job_type}'")
    return Verdict(True, "entitled", "")


FACTS = """
SELECT s.state, coalesce(s.valid_until < clock_timestamp(), false), p.plan_id, p.job_types, p.weight, p.max_running,
       p.jobs_per_day, p.backlog_cap, p.audit_debt, p.rate
  FROM subscriptions s JOIN plans p USING (plan_id) WHERE s.tenant_id = %s
"""


EVERY_FACT = """
SELECT s.tenant_id, s.state, coalesce(s.valid_until < clock_timestamp(), false), p.plan_id, p.job_types, p.weight,
       p.max_running, p.jobs_per_day, p.backlog_cap, p.audit_debt, p.rate
  FROM subscriptions s JOIN plans p USING (plan_id) WHERE s.tenant_id = ANY (%s)
"""

# Whatever a decision depends on, as one word; a subscription's end comes by the clock.
REVISION = """
SELECT md5(concat(
  (SELECT string_agg(concat_ws(' ', tenant_id, state, plan_id, coalesce(valid_until < clock_timestamp(), false)), ','
                     ORDER BY tenant_id) FROM subscriptions),
  (SELECT string_agg(md5(p::text), ',' ORDER BY plan_id) FROM plans p)))
"""


class Catalogue:
    """Subscription out of this database, in one round trip."""

    def evaluate(self, question: Question) -> Answer:
        """Answer `question` from the catalogue."""
        with preparing() as cursor:
            cursor.execute(FACTS, [question.tenant_id])
            row = cursor.fetchone()
        return _answer(question, plan=PlanFacts(*row) if row else None)

    def evaluate_all(self, questions: Sequence[Question]) -> list[Answer]:
        """Answer `questions`, of whatever tenants the session may see, in one round trip."""
        with preparing() as cursor:
            cursor.execute(EVERY_FACT, [sorted({each.tenant_id for each in questions})])
            plans = {tenant_id: PlanFacts(*rest) for tenant_id, *rest in cursor.fetchall()}
        return [_answer(each, plan=plans.get(each.tenant_id)) for each in questions]

    def revision(self) -> str:
        """Return the word for all that answers depend on; for the loops, whose role sees every tenant."""
        with preparing() as cursor:
            cursor.execute(REVISION)
            (word,) = cursor.fetchone() or ("",)
        return str(word)


def _answer(question: Question, *, plan: PlanFacts | None) -> Answer:
    """Return the verdict with its identity."""
    verdict = decide(question, plan=plan)
    return Answer(
        allowed=verdict.allowed,
        decision_id=uuid7(),
        policy_revision=f"catalogue:{digest_of(list(plan) if plan else None)[7:19]}",
        reason_code=verdict.reason_code,
        reason=verdict.reason,
        limits=plan.limits() if plan else {},
    )

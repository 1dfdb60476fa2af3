"""Subscription's decision, values in, values out: a live subscription whose plan covers the job type."""

from __future__ import annotations

import pytest

from apps.core.authzen import Question
from apps.subscription.catalogue import PlanFacts, decide

BASIC = PlanFacts(
    subscription_state="active",
    expired=False,
    plan_id="basic",
    job_types=["ops.*", "sql.transform"],
    weight=100,
    max_running=2,
    jobs_per_day=1000,
    backlog_cap=10_000,
    audit_debt=500,
)


def question(job_type: str = "ops.noop") -> Question:
    return Question(
        subject="data-acquisition",
        action="operations.submit",
        job_type=job_type,
        contract=None,
        tenant_id="acme",
        environment="default",
        region="local",
        priority="normal",
    )


@pytest.mark.parametrize(
    ("job_type", "plan", "allowed", "code"),
    [
        ("ops.noop", BASIC, True, "entitled"),
        ("sql.transform", BASIC, True, "entitled"),
        ("kpi.refresh", BASIC, False, "not_entitled"),
        ("sql.transformer", BASIC, False, "not_entitled"),
        ("OPS.noop", BASIC, False, "not_entitled"),
        ("kpi.refresh", BASIC._replace(job_types=["*"]), True, "entitled"),
        ("ops.noop", BASIC._replace(job_types=[]), False, "not_entitled"),
        ("ops.noop", None, False, "no_subscription"),
        ("ops.noop", BASIC._replace(subscription_state="ended"), False, "subscription_ended"),
        ("ops.noop", BASIC._replace(expired=True), False, "subscription_ended"),
        ("kpi.refresh", BASIC._replace(expired=True), False, "subscription_ended"),
    ],
)
def test_a_live_subscription_whose_plan_covers_the_type_entitles(
    job_type: str, plan: PlanFacts | None, allowed: bool, code: str
) -> None:
    verdict = decide(question(job_type), plan=plan)
    assert (verdict.allowed, verdict.reason_code) == (allowed, code)
    assert bool(verdict.reason) is not allowed


def test_a_refusal_names_the_tenant_or_the_plan_and_the_type() -> None:
    assert decide(question("kpi.refresh"), plan=BASIC).reason == "plan 'basic' does not include 'kpi.refresh'"
    assert "'acme'" in decide(question(), plan=None).reason


def test_a_plans_limits_go_by_the_names_that_operations_keeps_them_under() -> None:
    assert BASIC.limits() == {
        "weight": 100,
        "max_running": 2,
        "jobs_per_day": 1000,
        "backlog_cap": 10_000,
        "audit_debt": 500,
        "rate": None,
    }

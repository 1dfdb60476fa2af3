"""What a remote Subscription's limits make of the tenants' shares."""

from __future__ import annotations

from typing import Any

from apps.core.rate import Rate
from apps.jobs.scheduling import TenantShare
from workers.admission import DEFAULT_SHARE, under_limits

PLAN = TenantShare(weight=1, max_running=1, rate=Rate(1.0, 1))


def test_what_is_said_goes_before_the_plan_and_what_is_not_said_is_the_plans() -> None:
    known = dict.fromkeys(("acme", "globex", "sandbox"), PLAN)
    limits: dict[str, dict[str, Any]] = {"acme": {"rate": "5/s burst 9", "max_running": 0}, "globex": {"weight": 7}}
    assert under_limits(known, limits=limits) == {
        "acme": TenantShare(weight=1, max_running=0, rate=Rate(5.0, 9)),
        "globex": TenantShare(weight=7, max_running=1, rate=PLAN.rate),
        "sandbox": PLAN,
    }


def test_words_that_are_no_rate_leave_the_plans() -> None:
    assert under_limits({"acme": PLAN}, limits={"acme": {"rate": "fast"}}) == {"acme": PLAN}


def test_a_tenant_without_a_plan_here_begins_from_the_default() -> None:
    assert under_limits({}, limits={"acme": {}}) == {"acme": DEFAULT_SHARE}

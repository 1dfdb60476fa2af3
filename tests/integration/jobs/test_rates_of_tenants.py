"""Rates of tenants: kept by the scheduler's own looks, at the same cost whoever has one, and cleared by the clock."""

from __future__ import annotations

from collections import Counter
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from apps.jobs.operations import rates
from apps.jobs.scheduling import rates_of
from tests.integration.conftest import Change, Control, Look
from tests.support.queue import Driver, end, queue, tenants
from tests.support.work import only, worker
from workers import selector
from workers.scheduler import Scheduler

PLAN = "UPDATE plans SET rate = %s WHERE plan_id = 'gold'"
LATER = "UPDATE rate_buckets SET refilled_at = refilled_at - make_interval(secs => %s)"
DISPATCHED = "SELECT count(*) AS n FROM jobs WHERE status = 'dispatched' AND tenant_id = %s"


def look_all(scheduler: Scheduler) -> None:
    """Look until nothing more is found at once."""
    for _ in range(50):
        if not scheduler.fill():
            return
    raise AssertionError("the scheduler would look for ever")


def dispatched(look: Look, tenant: str = "acme") -> int:
    return int(only(look(DISPATCHED, tenant))["n"])


def test_a_tenant_gets_its_burst_then_a_token_at_a_time_and_others_go_on(
    scheduler: Scheduler, look: Look, change: Change, superuser: psycopg.Connection
) -> None:
    change(PLAN, "60/m burst 5")
    queue(superuser, tenant="acme", count=20, waited_s=60)
    queue(superuser, tenant="globex", count=3)
    look_all(scheduler)
    assert (dispatched(look), dispatched(look, "globex")) == (5, 3)
    look_all(scheduler)
    assert dispatched(look) == 5
    change(LATER, 2.0)
    look_all(scheduler)
    assert dispatched(look) == 7, "it was parked, and no event brought it back"


def test_a_rate_holds_in_every_environment_together(
    scheduler: Scheduler, look: Look, change: Change, superuser: psycopg.Connection
) -> None:
    change(PLAN, "60/m burst 4")
    worker(environment="batch", capacity=8)
    queue(superuser, tenant="acme", count=9)
    queue(superuser, tenant="acme", count=9, environment="batch")
    look_all(scheduler)
    assert dispatched(look) == 4


def test_a_changed_plan_is_kept_from_the_next_look_on(
    scheduler: Scheduler, look: Look, change: Change, superuser: psycopg.Connection
) -> None:
    change(PLAN, "60/h burst 2")
    queue(superuser, tenant="acme", count=20)
    look_all(scheduler)
    assert dispatched(look) == 2
    change(PLAN, None)
    look_all(scheduler)
    assert dispatched(look) == 20


def test_what_was_taken_behind_its_back_ends_the_look_and_not_the_process(
    scheduler: Scheduler, look: Look, change: Change, superuser: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another took the tokens between the choice and the dispatch: nothing is written, the next look is right."""
    change(PLAN, "60/h burst 5")
    queue(superuser, tenant="acme", count=5)
    counted = rates.left
    monkeypatch.setattr(rates, "left", lambda asked: {bucket: left + 3 for bucket, left in counted(asked).items()})
    change("INSERT INTO rate_buckets (bucket, tokens, refilled_at) VALUES ('tenant:acme', 2, now())")
    with capture_logs() as lines:
        assert scheduler.fill() is False
    assert [(line["event"], line["bucket"]) for line in lines] == [("over_rate", "tenant:acme")]
    assert look("SELECT 1 FROM jobs WHERE status <> 'queued' OR fence <> 0") == []
    assert only(look("SELECT tokens FROM rate_buckets"))["tokens"] == 2
    monkeypatch.setattr(rates, "left", counted)
    look_all(scheduler)
    assert dispatched(look) == 2


def test_ten_thousand_tenants_with_a_rate_cost_a_look_nothing(
    control: Control, change: Change, superuser: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The buckets that are read are of the tenants whose turn it is, in one statement a chunk."""
    tenants(superuser, {f"t{n:05}": (100, 10) for n in range(10_000)})
    change("UPDATE plans SET rate = '60/h burst 1'")
    superuser.execute(
        "INSERT INTO rate_buckets (bucket, tokens, refilled_at)"
        " SELECT 'tenant:' || plan_id, 0, now() - interval '2 hours' FROM plans WHERE plan_id <> 't00002'"
    )
    superuser.execute("INSERT INTO rate_buckets (bucket, tokens, refilled_at) VALUES ('tenant:t00002', 0, now())")
    for n in range(3):
        queue(superuser, tenant=f"t{n:05}", count=2)
    asked_of: list[int] = []
    counted = rates.left

    def left(asked: Any) -> dict[str, int]:
        asked_of.append(len(asked))
        return counted(asked)

    monkeypatch.setattr(rates, "left", left)
    with control():
        driver = Driver(slots=50)
        assert Counter(job.tenant_id for job in driver.look()) == {"t00000": 1, "t00001": 1}
        assert asked_of == [3]
        assert sorted(rates.spent(selector.tenants_shares())) == ["t00000", "t00001", "t00002"]


@pytest.mark.timeout(300)
def test_in_any_time_no_more_than_burst_and_rate_whatever_comes(
    control: Control, change: Change, superuser: psycopg.Connection
) -> None:
    """On the real statements: time is the bucket's, moved by hand; leaders come and go; leases end or do not."""
    steps = st.lists(
        st.tuples(st.sampled_from(("one", "two")), st.integers(0, 12), st.floats(0, 30), st.booleans(), st.booleans()),
        min_size=1,
        max_size=8,
    )
    names = ("one", "two")
    tenants(superuser, dict.fromkeys(names, (100, 1000)))

    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.integers(1, 120), st.integers(1, 6), steps)
    def run(per_minute: int, burst: int, steps: list[tuple[str, int, float, bool, bool]]) -> None:
        superuser.execute("TRUNCATE jobs, attempts, rate_buckets CASCADE")
        superuser.execute("UPDATE plans SET rate = %s WHERE plan_id = 'one'", [f"{per_minute}/m burst {burst}"])
        driver, went, passed_s = Driver(slots=500), Counter[str](), 0.0
        for tenant, count, later_s, restart, over in steps:
            queue(superuser, tenant=tenant, count=count)
            change(LATER, later_s)
            passed_s += later_s
            if restart:
                driver = Driver(slots=500)
            found = driver.fill()
            went.update(job.tenant_id for job in found)
            if over:
                end(superuser, {job.job_id: 1.0 for job in found})
            # What the test itself takes is time as well.
            assert went["one"] <= burst + per_minute / 60 * (passed_s + 20)
            assert not superuser.execute("SELECT 1 FROM jobs WHERE status = 'queued' AND tenant_id = 'two'").fetchall()
            waiting = superuser.execute("SELECT 1 FROM jobs WHERE status = 'queued' AND tenant_id = 'one'").fetchall()
            share = selector.tenants_shares()
            assert not waiting or rates.left(rates_of(["one"], shares=share))["tenant:one"] <= per_minute / 60 * 5 + 1

    with control():
        run()

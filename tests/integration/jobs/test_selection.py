"""The choice over real rows: cheap whatever stands in the queue, fair, in order, within limits, never idle."""

from __future__ import annotations

from collections import Counter
from typing import Any
from uuid import UUID

import psycopg
import pytest
from django.db import connection, transaction

from apps.jobs import selection
from apps.jobs.operations import leadership
from apps.jobs.operations.dispatch import dispatch
from apps.jobs.scheduling import Lane, TypeLimits
from tests.integration.conftest import Change, Control
from tests.support.queue import Driver, end, queue, tenants

WIDE = (100, 1000)


@pytest.fixture
def rows(change: Change, superuser: psycopg.Connection) -> psycopg.Connection[Any]:
    """The session past every wall; configuration is as before when the test is over."""
    return superuser


def test_one_tenants_jobs_go_by_band_and_then_by_waiting(rows: psycopg.Connection[Any], control: Control) -> None:
    low = queue(rows, tenant="acme", priority=3)
    normal = queue(rows, tenant="acme", count=2)
    critical = queue(rows, tenant="acme", priority=0, type="ops.sleep")
    with control():
        assert [job.job_id for job in Driver(slots=10).fill()] == [*critical, *normal, *low]


def test_jobs_of_several_types_go_by_waiting_though_each_look_reads_only_the_first_of_each(
    rows: psycopg.Connection[Any], control: Control
) -> None:
    tenants(rows, {f"t{n}": WIDE for n in range(30)})
    ids = queue(rows, tenant="t0", count=20, waited_s=90)
    ids += queue(rows, tenant="t0", type="ops.sleep", count=20, waited_s=60)
    ids += queue(rows, tenant="t0", count=10, waited_s=30)
    for n in range(1, 30):
        queue(rows, tenant=f"t{n}")
    with control():
        driver = Driver(slots=1000)
        chosen = driver.look(free=75) + driver.fill()
    assert [job.job_id for job in chosen if job.tenant_id == "t0"] == ids


def test_in_one_look_a_weight_is_worth_what_it_says_among_many_tenants(
    rows: psycopg.Connection[Any], control: Control
) -> None:
    tenants(rows, {"heavy": (1000, 1000)} | {f"t{n}": (100, 1000) for n in range(20)})
    queue(rows, tenant="heavy", count=100)
    for n in range(20):
        queue(rows, tenant=f"t{n}", count=50)
    with control():
        served = Counter(job.tenant_id for job in Driver(slots=1000).look(free=60))
    assert served["heavy"] == 20
    assert {served[f"t{n}"] for n in range(20)} == {2}


def test_a_look_reads_no_more_than_it_has_room_for_however_many_tenants_run_short(
    rows: psycopg.Connection[Any], control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each tenant's oldest jobs are at their type's limit: of every one more has to be read, once or twice."""
    names = [f"t{n:02}" for n in range(40)]
    tenants(rows, dict.fromkeys(names, WIDE))
    for name in names:
        queue(rows, tenant=name, type="ops.sleep", count=60, waited_s=60)
        queue(rows, tenant=name, count=300)
    read: list[int] = []

    def heads(**words: Any) -> Any:
        found = real(**words)
        read.append(len(found))
        return found

    real = selection.heads
    monkeypatch.setattr(selection, "heads", heads)
    with control():
        driver = Driver(slots=120, limits={"ops.sleep": TypeLimits(running_per_tenant=1)})
        assert len(driver.fill()) == 120
    assert max(read) <= 2 * 120 + 40 * 5


def test_a_newcomer_does_not_stand_behind_what_was_charged_too_much(
    rows: psycopg.Connection[Any], control: Control
) -> None:
    """Jobs of a type nobody knows are charged a second each; it is given back, and the pool's own time with it."""
    tenants(rows, {"heavy": WIDE, "light": WIDE})
    queue(rows, tenant="heavy", count=1000)
    with control():
        driver = Driver(slots=20)
        end(rows, {job.job_id: 0.001 for job in driver.look()})
        (light,) = queue(rows, tenant="light")
        assert light in {job.job_id for job in driver.fill()}


def test_a_bulk_job_that_waited_long_enough_goes_before_a_critical_one(
    rows: psycopg.Connection[Any], control: Control
) -> None:
    critical = queue(rows, tenant="acme", priority=0)
    old = queue(rows, tenant="acme", priority=4, waited_s=4 * 900 + 5)
    young = queue(rows, tenant="acme", priority=4, waited_s=4 * 900 - 5)
    with control():
        assert [job.job_id for job in Driver(slots=10).fill()] == [*old, *critical, *young]


def test_a_key_with_a_long_queue_bars_nobody_behind_it(rows: psycopg.Connection[Any], control: Control) -> None:
    behind = queue(rows, tenant="acme", key="one", count=500, waited_s=60)
    other = queue(rows, tenant="acme", key=lambda n: f"other-{n}", count=3)
    free = queue(rows, tenant="acme", count=2)
    with control():
        driver = Driver(slots=64)
        assert {job.job_id for job in driver.fill()} == {behind[0], *other, *free}
        assert driver.fill() == []
        end(rows, {behind[0]: 1.0})
        assert [job.job_id for job in driver.fill()] == [behind[1]]


def test_a_type_at_its_limit_bars_nobody_behind_it(rows: psycopg.Connection[Any], control: Control) -> None:
    limited = queue(rows, tenant="acme", type="ops.sleep", count=300, waited_s=60)
    free = queue(rows, tenant="acme", count=2)
    with control():
        driver = Driver(slots=50, limits={"ops.sleep": TypeLimits(running=2)})
        assert {job.job_id for job in driver.fill()} == {*limited[:2], *free}


def test_a_gate_holds_lanes_back_until_it_opens(rows: psycopg.Connection[Any], control: Control) -> None:
    queue(rows, tenant="acme", type="ops.sleep", count=5, waited_s=60)
    free = queue(rows, tenant="acme")

    def paused(lane: Lane) -> str | None:
        return "paused" if lane.type == "ops.sleep" else None

    with control():
        driver = Driver(slots=50)
        driver.gates = (paused,)
        assert [job.job_id for job in driver.fill()] == free
        assert driver.fill() == []
        driver.gates = ()
        assert len(driver.fill()) == 5


def test_a_tenant_keeps_to_its_slots_and_goes_on_as_they_come_free(
    rows: psycopg.Connection[Any], control: Control
) -> None:
    tenants(rows, {"small": (100, 2)})
    ids = queue(rows, tenant="small", count=5)
    with control():
        driver = Driver(slots=50)
        assert [job.job_id for job in driver.fill()] == ids[:2]
        assert driver.fill() == []
        end(rows, {ids[0]: 1.0})
        assert [job.job_id for job in driver.fill()] == [ids[2]]


def test_the_reserved_slot_waits_for_a_tenant_that_holds_none(rows: psycopg.Connection[Any], control: Control) -> None:
    tenants(rows, {"one": WIDE, "two": WIDE})
    queue(rows, tenant="one", count=9)
    with control():
        driver = Driver(slots=4, reserved=1)
        assert len(driver.fill()) == 3
        (light,) = queue(rows, tenant="two")
        assert [job.job_id for job in driver.fill()] == [light]


def test_equal_tenants_get_equal_seconds_though_ones_jobs_are_ten_times_as_long(
    rows: psycopg.Connection[Any], control: Control
) -> None:
    tenants(rows, {"long": WIDE, "short": WIDE})
    used = shared(rows, control, takes={"long": 10.0, "short": 1.0}, slots=6)
    assert used["long"] / used["short"] == pytest.approx(1, rel=0.05)


def test_weights_are_shares_of_seconds(rows: psycopg.Connection[Any], control: Control) -> None:
    tenants(rows, {"three": (300, 1000), "one": (100, 1000)})
    used = shared(rows, control, takes={"three": 2.0, "one": 5.0}, slots=6)
    assert used["three"] / used["one"] == pytest.approx(3, rel=0.07)


def test_a_restarted_scheduler_goes_on_where_the_seconds_stand(rows: psycopg.Connection[Any], control: Control) -> None:
    tenants(rows, {"long": WIDE, "short": WIDE})
    used = shared(rows, control, takes={"long": 10.0, "short": 1.0}, slots=6, restart_each=40)
    assert used["long"] / used["short"] == pytest.approx(1, rel=0.1)


def test_who_was_away_has_saved_up_nothing(rows: psycopg.Connection[Any], control: Control) -> None:
    tenants(rows, {"steady": WIDE, "back": WIDE})
    queue(rows, tenant="steady", count=400)
    with control():
        driver = Driver(slots=4)
        for _ in range(30):
            end(rows, {job.job_id: 5.0 for job in driver.fill()})
        queue(rows, tenant="back", count=100)
        served: Counter[str] = Counter()
        for _ in range(10):
            found = driver.fill()
            served.update(job.tenant_id for job in found)
            end(rows, {job.job_id: 5.0 for job in found})
    assert abs(served["steady"] - served["back"]) <= 4


def shared(
    rows: psycopg.Connection[Any],
    control: Control,
    *,
    takes: dict[str, float],
    slots: int,
    restart_each: int | None = None,
) -> dict[str, float]:
    """Run a full pool on a clock of its own, where both tenants always wait; return the worker-seconds of each."""
    for tenant_id, seconds in takes.items():
        queue(rows, tenant=tenant_id, count=int(1500 / seconds) + 20)
    used = dict.fromkeys(takes, 0.0)
    running: list[tuple[float, UUID, str]] = []
    now = 0.0
    with control():
        driver, ends = Driver(slots=slots), 0
        while now < 300:
            for job in driver.fill():
                running.append((now + takes[job.tenant_id], job.job_id, job.tenant_id))
            running.sort()
            now = running[0][0]
            over = [each for each in running if each[0] <= now]
            running = running[len(over) :]
            end(rows, {job_id: takes[tenant_id] for _, job_id, tenant_id in over})
            for _, _, tenant_id in over:
                used[tenant_id] += takes[tenant_id]
            ends += len(over)
            if restart_each is not None and ends >= restart_each:
                driver, ends = Driver(slots=slots), 0
    return used


def test_a_thousand_barred_tenants_do_not_hide_one_that_may_run(
    rows: psycopg.Connection[Any], control: Control
) -> None:
    names = [f"t{n:04}" for n in range(1000)]
    tenants(rows, dict.fromkeys(names, WIDE))
    for name in names:
        queue(rows, tenant=name, type="ops.sleep")
    (light,) = queue(rows, tenant="globex")
    with control():
        driver = Driver(slots=10, limits={"ops.sleep": TypeLimits(running_per_tenant=0)})
        assert [job.job_id for job in driver.fill()] == [light]
        (second,) = queue(rows, tenant="sandbox")
        assert [job.job_id for job in driver.fill()] == [second]


class TestPlans:
    """Every read of the choice goes by an index, whatever the queue: no scan of the jobs, and no sort of a queue."""

    @pytest.fixture
    def full(self, rows: psycopg.Connection[Any]) -> psycopg.Connection[Any]:
        tenants(rows, {f"t{n}": WIDE for n in range(20)})
        for n in range(20):
            queue(rows, tenant=f"t{n}", count=400, type="ops.noop" if n % 2 else "ops.sleep")
            queue(rows, tenant=f"t{n}", count=100, key=lambda m: f"k{m % 3}")
        rows.execute("ANALYZE jobs")
        return rows

    @pytest.mark.parametrize(
        ("query", "values"),
        [
            (selection.TENANTS, {"envs": ["default", "batch"], "after": ["", "t3"], "most": 64}),
            (selection.NEWEST, {"most": 256}),
            (selection.LANES, {"env": "default", "tenants": ["t1", "t2", "t3"]}),
            (
                selection.HEADS,
                {
                    "env": "default",
                    "tenants": ["t1", "t2"],
                    "types": ["ops.noop", "ops.sleep"],
                    "priorities": [2, 2],
                    "keyed": [False, True],
                    "most": 10,
                    "keyed_most": 64,
                },
            ),
            (
                selection.KEYS,
                {
                    "env": "default",
                    "tenants": ["t1"],
                    "types": ["ops.noop"],
                    "key_tenants": ["t1"],
                    "keys": ["k1"],
                    "walk": 257,
                },
            ),
        ],
    )
    def test_no_scan_and_few_buffers(
        self, full: psycopg.Connection[Any], control: Control, query: str, values: dict[str, Any]
    ) -> None:
        with control(), connection.cursor() as cursor:
            cursor.execute("SET enable_seqscan = on")
            cursor.execute("EXPLAIN (ANALYZE, BUFFERS) " + query, values)
            plan = "\n".join(row[0] for row in cursor.fetchall())
        assert "Seq Scan on jobs" not in plan, plan
        assert "Bitmap Heap Scan on jobs" not in plan, plan
        assert "Sort Method: external" not in plan, plan
        if query in (selection.LANES, selection.HEADS):
            assert "Index Scan using jobs_lanes" not in plan, plan
            assert "Index Only Scan using jobs_lanes" in plan, plan


class TestLeadership:
    """Two who believe they lead: only the one in office dispatches."""

    def test_a_new_leader_voids_the_one_before(self, control: Control) -> None:
        with control():
            first = leadership.take_office(role="scheduler")
            leadership.confirm(role="scheduler", epoch=first)
            second = leadership.take_office(role="scheduler")
            assert second > first
            with pytest.raises(leadership.OutOfOfficeError):
                leadership.confirm(role="scheduler", epoch=first)
            leadership.confirm(role="scheduler", epoch=second)

    def test_the_one_before_dispatches_nothing_and_hears_why(
        self, rows: psycopg.Connection[Any], control: Control
    ) -> None:
        (job_id,) = queue(rows, tenant="acme")
        with control():
            first = leadership.take_office(role="scheduler")
            second = leadership.take_office(role="scheduler")
            with pytest.raises(leadership.OutOfOfficeError):
                dispatch([[job_id]], epoch=first)
            ((made,),) = dispatch([[job_id]], epoch=second)
        assert (made.job_id, made.fence) == (job_id, 1)

    def test_a_new_leader_waits_for_a_dispatch_that_is_under_way(
        self, rows: psycopg.Connection[Any], control: Control
    ) -> None:
        (job_id,) = queue(rows, tenant="acme")
        with control():
            epoch = leadership.take_office(role="scheduler")
            with transaction.atomic():
                assert dispatch([[job_id]], epoch=epoch)
                rows.execute("SET lock_timeout = '200ms'")
                with pytest.raises(psycopg.errors.LockNotAvailable):
                    rows.execute("UPDATE leaders SET epoch = epoch + 1 WHERE role = 'scheduler'")
                rows.execute("RESET lock_timeout")

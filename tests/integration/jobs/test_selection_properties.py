"""Whatever comes in whatever order: limits hold at every instant, no slot idles, nothing starves. On the real SQL."""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps.jobs.scheduling import AGEING_S, Lane, TypeLimits
from tests.integration.conftest import Change, Control
from tests.support.queue import Driver, end, queue, tenants

TENANTS = {"one": (100, 3), "two": (300, 6), "three": (50, 40)}
TYPES = ("ops.noop", "ops.sleep", "ops.fail")

LEASES = """
SELECT tenant_id, type, concurrency_key FROM jobs WHERE status IN ('dispatched', 'running')
"""
WAITING = """
SELECT job_id, tenant_id, type, concurrency_key FROM jobs WHERE status = 'queued'
"""


class Submit(NamedTuple):
    """Jobs alike that come in."""

    tenant: str
    type: str
    priority: int
    key: str | None
    jobs: int


class End(NamedTuple):
    """Some of the live leases end, each after so many seconds."""

    share: float
    took: float


class Pause(NamedTuple):
    """A type is paused, or none."""

    type: str | None


class Restart(NamedTuple):
    """The scheduler is killed and another takes over."""


SUBMITS = st.builds(
    Submit,
    st.sampled_from(sorted(TENANTS)),
    st.sampled_from(TYPES),
    st.integers(0, 4),
    st.sampled_from((None, None, "red", "blue")),
    st.integers(1, 90),
)
STEPS = st.lists(
    st.one_of(
        SUBMITS,
        SUBMITS,
        st.builds(End, st.floats(0.1, 1), st.floats(0, 20)),
        st.builds(Pause, st.sampled_from((None, *TYPES))),
        st.just(Restart()),
    ),
    min_size=3,
    max_size=14,
)
LIMITS = st.dictionaries(
    st.sampled_from(TYPES),
    st.builds(TypeLimits, running=st.none() | st.integers(1, 6), running_per_tenant=st.none() | st.integers(1, 3)),
)


class World:
    """The plane under test and what must hold of it after every step."""

    def __init__(
        self, session: psycopg.Connection[Any], *, slots: int, reserved: int, limits: dict[str, TypeLimits]
    ) -> None:
        self.session, self.slots, self.reserved, self.limits = session, slots, reserved, limits
        self.paused: str | None = None
        self.driver = self.new_driver()

    def new_driver(self) -> Driver:
        driver = Driver(slots=self.slots, reserved=self.reserved, limits=self.limits)
        driver.gates = (lambda lane: "paused" if lane.type == self.paused else None,)
        return driver

    def take(self, step: Submit | End | Pause | Restart) -> None:
        match step:
            case Submit():
                queue(
                    self.session,
                    tenant=step.tenant,
                    type=step.type,
                    priority=step.priority,
                    key=step.key,
                    count=step.jobs,
                )
            case End():
                live = [
                    job_id
                    for (job_id,) in self.session.execute(
                        "SELECT job_id FROM jobs WHERE status IN ('dispatched', 'running') ORDER BY job_id"
                    )
                ]
                end(self.session, dict.fromkeys(live[: max(1, round(len(live) * step.share))], step.took))
            case Pause():
                self.paused = step.type
            case Restart():
                self.driver = self.new_driver()

    def check(self) -> None:
        """Assert that every limit holds and that nothing waits which could run."""
        leases = self.session.execute(LEASES.encode()).fetchall()
        of_tenant = Counter(tenant for tenant, _, _ in leases)
        of_type = Counter(kind for _, kind, _ in leases)
        of_both = Counter((tenant, kind) for tenant, kind, _ in leases)
        keys = Counter((tenant, key) for tenant, _, key in leases if key is not None)
        assert len(leases) <= self.slots
        assert all(count <= TENANTS[tenant][1] for tenant, count in of_tenant.items())
        assert all(count == 1 for count in keys.values())
        for kind, limits in self.limits.items():
            assert limits.running is None or of_type[kind] <= limits.running
            for tenant in TENANTS:
                most = limits.running_per_tenant
                assert most is None or of_both[tenant, kind] <= most
        free = self.slots - len(leases)
        for job_id, tenant, kind, key in self.session.execute(WAITING.encode()).fetchall():
            limits = self.limits.get(kind, TypeLimits())
            held_back = (
                free <= 0
                or of_tenant[tenant] >= TENANTS[tenant][1]
                or (of_tenant[tenant] > 0 and free <= self.reserved)
                or kind == self.paused
                or (limits.running is not None and of_type[kind] >= limits.running)
                or (limits.running_per_tenant is not None and of_both[tenant, kind] >= limits.running_per_tenant)
                or (key is not None and keys[tenant, key] > 0)
            )
            assert held_back, f"{free} slots idle while {job_id} of {tenant} ({kind}, key {key}) could run"


@pytest.fixture
def session(change: Change, superuser: psycopg.Connection) -> psycopg.Connection[Any]:
    """The session past every wall, with the tenants of this page."""
    tenants(superuser, TENANTS)
    return superuser


@pytest.mark.timeout(300)
def test_limits_hold_and_no_slot_idles_whatever_comes(session: psycopg.Connection[Any], control: Control) -> None:
    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.integers(1, 30), st.integers(0, 1), LIMITS, STEPS)
    def run(slots: int, reserved: int, limits: dict[str, TypeLimits], steps: list[Any]) -> None:
        session.execute("TRUNCATE jobs, attempts CASCADE")
        world = World(session, slots=slots, reserved=min(reserved, slots - 1), limits=limits)
        for step in steps:
            world.take(step)
            world.driver.fill()
            world.check()

    with control():
        run()


@pytest.mark.timeout(300)
def test_a_bulk_job_is_passed_only_by_what_was_queued_within_its_bound(
    session: psycopg.Connection[Any], control: Control
) -> None:
    """Starvation: though better bands keep coming for ever, each is younger, and the bulk job's turn comes."""

    @settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.integers(1, 4), st.integers(0, 3), st.integers(1, 3), st.floats(60, 900))
    def run(priority: int, better: int, slots: int, every_s: float) -> None:
        session.execute("TRUNCATE jobs, attempts CASCADE")
        better = min(better, priority - 1)
        bound_s = (priority - better) * AGEING_S
        # The stream that would starve it: `slots` jobs of the better band each `every_s`, up to now; time is queued_at.
        waited = 2 * bound_s
        (bulk,) = queue(session, tenant="three", priority=priority, waited_s=waited)
        times = [waited - n * every_s for n in range(1, int(waited / every_s) + 1)]
        for each in times:
            queue(session, tenant="three", priority=better, count=slots, waited_s=each)
        ahead = slots * sum(each > waited - bound_s for each in times)
        driver, served = Driver(slots=slots), list[UUID]()
        while bulk not in served:
            found = [job.job_id for job in driver.fill()]
            assert found
            served += found
            end(session, dict.fromkeys(found, 1.0))
            assert len(served) <= ahead + 2 * slots + 1, "passed by what was queued beyond its bound"

    with control():
        run()


def test_a_paused_type_of_a_whole_backlog_costs_its_tenant_nothing_else(
    session: psycopg.Connection[Any], control: Control
) -> None:
    queue(session, tenant="three", type="ops.sleep", count=2000, waited_s=500)
    queue(session, tenant="three", type="ops.fail", count=2000, key="red", waited_s=400)
    free = queue(session, tenant="three", count=3)

    def paused(lane: Lane) -> str | None:
        return "paused" if lane.type == "ops.sleep" else None

    with control():
        driver = Driver(slots=9)
        driver.gates = (paused,)
        found = [job.job_id for job in driver.fill()]
    assert set(free) <= set(found)
    assert len(found) == 4, "and the one job that holds the key"

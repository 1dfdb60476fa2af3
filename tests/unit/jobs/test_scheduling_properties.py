"""Who runs next: shares, limits and order: properties that hold for every plane one can draw."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from apps.jobs.scheduling import (
    Held,
    Holding,
    Pool,
    TenantShare,
    TypeLimits,
    Waiting,
    choose,
)
from tests.support.choice import KEYS, TENANTS, TYPES, jobs, picked, share, shares_of, tenants


class Drawn(NamedTuple):
    """A plane at an instant, and what was chosen in it."""

    pool: Pool
    waiting: list[Waiting]
    holding: list[Holding]
    shares: dict[str, TenantShare]
    limits: dict[str, TypeLimits]
    chosen: list[Waiting]

    def after(self) -> list[Holding]:
        """Return every slot held once the chosen ones hold theirs."""
        return self.holding + [
            Holding(self.pool.name, job.tenant_id, job.type, job.concurrency_key) for job in self.chosen
        ]


@st.composite
def planes(draw: st.DrawFn) -> Drawn:
    some_tenant, some_type, some_key = st.sampled_from(TENANTS), st.sampled_from(TYPES), st.sampled_from(KEYS)
    facts = draw(st.lists(st.tuples(some_tenant, some_type, some_key), max_size=30))
    waiting = [Waiting(UUID(int=n), *each, 2, float(n)) for n, each in enumerate(facts, 1)]
    where = st.sampled_from(("default", "default", "batch"))
    holding = [
        Holding(*each) for each in draw(st.lists(st.tuples(where, some_tenant, some_type, some_key), max_size=8))
    ]
    a_share = st.builds(TenantShare, weight=st.integers(0, 5), max_running=st.integers(0, 6))
    shares = draw(st.dictionaries(some_tenant, a_share))
    a_limit = st.none() | st.integers(1, 4)
    limits = draw(st.dictionaries(some_type, st.builds(TypeLimits, running=a_limit, running_per_tenant=a_limit)))
    pool = Pool(name="default", capacity=draw(st.integers(0, 12)), reserved_slots=draw(st.integers(0, 3)))
    chosen = choose(pool=pool, free=1000, waiting=waiting, held=Held(holding), shares=shares_of(shares, limits)).jobs
    return Drawn(pool, waiting, holding, shares, limits, chosen)


def max_running(plane: Drawn, tenant: str) -> int:
    return plane.shares[tenant].max_running if tenant in plane.shares else 0


def no_room(job: Waiting, plane: Drawn) -> bool:
    """Say whether the job's own type or key leaves it no room, with every slot counted."""
    after, limits = plane.after(), plane.limits.get(job.type, TypeLimits())
    of_type = [each for each in after if each.type == job.type]
    of_tenant = [each for each in of_type if each.tenant_id == job.tenant_id]
    same_key = [
        each for each in after if (each.tenant_id, each.concurrency_key) == (job.tenant_id, job.concurrency_key)
    ]
    return (
        (limits.running is not None and len(of_type) >= limits.running)
        or (limits.running_per_tenant is not None and len(of_tenant) >= limits.running_per_tenant)
        or (job.concurrency_key is not None and bool(same_key))
    )


@given(planes())
def test_a_pool_never_holds_more_than_its_capacity(plane: Drawn) -> None:
    before = sum(each.environment == "default" for each in plane.holding)
    assert before + len(plane.chosen) <= max(plane.pool.capacity, before)


@given(planes())
def test_what_is_chosen_was_waiting_and_is_chosen_once(plane: Drawn) -> None:
    assert set(plane.chosen) <= set(plane.waiting)
    assert len(set(plane.chosen)) == len(plane.chosen)


@given(planes())
def test_no_tenant_gets_more_than_its_plan_allows(plane: Drawn) -> None:
    after = Counter(each.tenant_id for each in plane.after())
    assert all(after[job.tenant_id] <= max_running(plane, job.tenant_id) for job in plane.chosen)


@given(planes())
def test_no_limit_of_a_type_is_passed(plane: Drawn) -> None:
    of_type = Counter(each.type for each in plane.after())
    of_both = Counter((each.type, each.tenant_id) for each in plane.after())
    for job in plane.chosen:
        limits = plane.limits.get(job.type, TypeLimits())
        assert limits.running is None or of_type[job.type] <= limits.running
        assert limits.running_per_tenant is None or of_both[job.type, job.tenant_id] <= limits.running_per_tenant


@given(planes())
def test_no_concurrency_key_runs_twice(plane: Drawn) -> None:
    after = Counter((each.tenant_id, each.concurrency_key) for each in plane.after())
    keyed = [job for job in plane.chosen if job.concurrency_key is not None]
    assert all(after[job.tenant_id, job.concurrency_key] == 1 for job in keyed)


@given(planes())
def test_a_reserved_slot_never_goes_to_a_tenant_that_holds_one(plane: Drawn) -> None:
    in_pool = Counter(each.tenant_id for each in plane.holding if each.environment == "default")
    for job in plane.chosen:
        free = plane.pool.capacity - in_pool.total()
        assert free > plane.pool.reserved_slots or in_pool[job.tenant_id] == 0
        in_pool[job.tenant_id] += 1


@given(planes())
def test_a_job_is_passed_by_a_later_one_of_its_tenant_only_when_its_type_or_key_is_full(plane: Drawn) -> None:
    for tenant in TENANTS:
        own = [job for job in plane.waiting if job.tenant_id == tenant]
        chosen = [job for job in plane.chosen if job.tenant_id == tenant]
        assert chosen == [job for job in own if job in set(chosen)]
        passed = own[: own.index(chosen[-1])] if chosen else []
        assert all(no_room(job, plane) for job in passed if job not in chosen)


@settings(max_examples=300)
@given(planes())
def test_no_slot_stays_idle_while_a_job_waits_that_no_limit_holds_back(plane: Drawn) -> None:
    after = plane.after()
    in_pool = Counter(each.tenant_id for each in after if each.environment == "default")
    everywhere = Counter(each.tenant_id for each in after)
    free = plane.pool.capacity - in_pool.total()
    for job in set(plane.waiting) - set(plane.chosen):
        reserved = in_pool[job.tenant_id] > 0 and free <= plane.pool.reserved_slots
        full = everywhere[job.tenant_id] >= max_running(plane, job.tenant_id)
        assert free <= 0 or full or reserved or no_room(job, plane)


@given(st.dictionaries(st.sampled_from(TENANTS), st.integers(1, 300), min_size=2), st.integers(0, 60))
def test_no_tenant_is_a_whole_slot_ahead_of_its_share_beside_one_that_waits(
    weights: dict[str, int], capacity: int
) -> None:
    waiting = [job for name in weights for job in jobs(name, 100)]
    chosen = picked(waiting, capacity=capacity, shares={name: share(weight=weight) for name, weight in weights.items()})
    got = Counter(tenants(chosen))
    assert len(chosen) == capacity
    for one, weight in weights.items():
        for other, beside in weights.items():
            assert (got[one] - 1) * beside <= got[other] * weight

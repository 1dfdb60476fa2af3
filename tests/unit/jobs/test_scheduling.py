"""Who runs next: shares, limits and order: examples; `test_scheduling_properties.py` draws planes."""

from __future__ import annotations

from collections import Counter
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from apps.jobs.scheduling import (
    AGEING_S,
    Held,
    Lane,
    Pool,
    TypeLimits,
    Waiting,
    buckets,
    gate_of,
    in_turn,
    tenant_bucket,
    tenant_may,
    type_bucket,
)
from tests.support.choice import TENANTS, TYPES, held, jobs, picked, share, tenants


def test_a_tenants_jobs_run_in_its_own_order() -> None:
    waiting = jobs("acme", 5)
    assert picked(waiting, capacity=3) == waiting[:3]


def test_a_full_pool_takes_nothing_and_slots_of_another_pool_do_not_fill_it() -> None:
    waiting = jobs("acme", 2)
    assert picked(waiting, capacity=2, holding=held("globex", 2)) == []
    assert picked(waiting, capacity=2, holding=held("globex", 2, pool="batch")) == waiting


def test_equal_tenants_take_turns_however_long_one_queue_is() -> None:
    chosen = picked([*jobs("acme", 1000), *jobs("globex", 2)], capacity=6)
    assert tenants(chosen) == ["acme", "globex", "acme", "globex", "acme", "acme"]


def test_whose_virtual_time_is_lowest_comes_first_until_it_has_caught_up() -> None:
    chosen = picked([*jobs("acme", 5), *jobs("globex", 5)], capacity=4, tags={"acme": 0.025, "globex": 0.0})
    assert tenants(chosen) == ["globex", "globex", "globex", "acme"]


def test_a_choice_ends_where_another_tenants_turn_begins() -> None:
    chosen = picked(jobs("acme", 9), capacity=9, horizon=0.035)
    assert len(chosen) == 4, "at virtual times 0, 0.01, 0.02 and 0.03"


def test_no_more_is_handed_out_than_there_is_room_for() -> None:
    assert len(picked(jobs("acme", 9), capacity=9, free=3)) == 3


def test_a_token_is_taken_for_each_job_and_without_one_none_goes() -> None:
    waiting = [*jobs("acme", 3, type="kpi"), *jobs("acme", 1, first=4)]
    assert [job.type for job in picked(waiting, capacity=9, tokens={"type:kpi": 2})] == ["kpi", "kpi", "noop"]
    assert [job.type for job in picked(waiting, capacity=9, tokens={"type:kpi": 0})] == ["noop"]
    assert picked(waiting, capacity=9, tokens={"tenant:acme": 0}) == []


@given(
    st.dictionaries(st.sampled_from(TENANTS), st.integers(-2, 9)),
    st.dictionaries(st.sampled_from(TYPES), st.integers(-2, 9)),
    st.lists(st.tuples(st.sampled_from(TENANTS), st.sampled_from(TYPES)), max_size=40),
)
def test_no_rate_is_passed_and_none_leaves_a_token_that_a_job_could_use(
    of_tenants: dict[str, int], of_types: dict[str, int], facts: list[tuple[str, str]]
) -> None:
    waiting = [Waiting(UUID(int=n), *each, None) for n, each in enumerate(facts, 1)]
    tokens = {tenant_bucket(name): left for name, left in of_tenants.items()}
    tokens |= {type_bucket(name): left for name, left in of_types.items()}
    chosen = picked(waiting, capacity=100, tokens=tokens)
    taken = Counter(
        bucket for job in chosen for bucket in buckets(tenant_id=job.tenant_id, job_type=job.type) if bucket in tokens
    )
    assert all(count <= tokens[bucket] for bucket, count in taken.items())
    for job in set(waiting) - set(chosen):
        drawn = [each for each in buckets(tenant_id=job.tenant_id, job_type=job.type) if each in tokens]
        assert any(taken[bucket] >= tokens[bucket] for bucket in drawn)


def test_a_tenant_at_its_rate_is_barred_before_its_lanes_are_read() -> None:
    pool, nobody = Pool(name="default", capacity=9), Held([], tokens={"tenant:acme": 0})
    assert tenant_may("acme", pool=pool, held=nobody, share=share()) == "tenant_rate"
    assert tenant_may("globex", pool=pool, held=nobody, share=share()) is None


def test_a_band_is_worth_its_seconds_of_waiting() -> None:
    def job(n: int, priority: int, queued_at: float) -> Waiting:
        return Waiting(UUID(int=n), "acme", "noop", None, priority, queued_at)

    critical, bulk = job(1, 0, 4 * AGEING_S), job(2, 4, 1.0)
    assert picked([bulk, critical], capacity=9) == [critical, bulk]
    assert picked([bulk._replace(queued_at=-1.0), critical], capacity=9)[0].priority == 4


@given(st.lists(st.tuples(st.integers(0, 4), st.floats(0, 100_000)), min_size=1, max_size=40))
def test_a_job_is_passed_only_by_what_was_queued_within_its_bands_worth_after_it(
    facts: list[tuple[int, float]],
) -> None:
    """The bound on waiting: past `priority` times `AGEING_S` after it was queued, nothing newer goes before it."""
    waiting = [Waiting(UUID(int=n), "acme", "noop", None, *each) for n, each in enumerate(facts, 1)]
    order = list(in_turn(waiting)["acme"])
    for place, job in enumerate(order):
        for before in order[:place]:
            assert before.queued_at <= job.queued_at + job.priority * AGEING_S


def test_the_first_gate_that_is_shut_is_named() -> None:
    lane = Lane("default", "acme", "noop", 2)
    gates = [lambda _: None, lambda each: f"paused {each.type}", lambda _: "later"]
    assert gate_of(lane, gates=gates) == "paused noop"
    assert gate_of(lane, gates=[]) is None


def test_a_weight_three_times_as_large_gets_three_slots_for_one() -> None:
    shares = {"acme": share(weight=300), "globex": share(weight=100)}
    chosen = picked([*jobs("acme", 100), *jobs("globex", 100)], capacity=40, shares=shares)
    assert Counter(tenants(chosen)) == {"acme": 30, "globex": 10}


def test_a_weight_of_zero_is_served_all_the_same() -> None:
    assert len(picked(jobs("acme", 2), capacity=5, shares={"acme": share(weight=0)})) == 2


def test_a_tenant_never_holds_more_than_its_plan_allows_counting_every_pool() -> None:
    shares = {"acme": share(max_running=4)}
    assert len(picked(jobs("acme", 9), capacity=9, shares=shares, holding=held("acme", 1, pool="batch"))) == 3
    assert picked(jobs("acme", 9), capacity=9, shares=shares, holding=held("acme", 4, pool="batch")) == []


def test_a_tenant_without_a_share_holds_nothing() -> None:
    assert picked(jobs("acme", 3), capacity=9, shares={}) == []


def test_a_reserved_slot_is_kept_from_who_holds_one_and_given_to_who_holds_none() -> None:
    assert tenants(picked(jobs("acme", 9), capacity=4, reserved=1)) == ["acme"] * 3
    chosen = picked([*jobs("acme", 9), *jobs("globex", 1)], capacity=4, reserved=1, holding=held("acme", 3))
    assert tenants(chosen) == ["globex"]


def test_the_only_slot_of_a_pool_is_not_lost_to_its_reserve() -> None:
    assert tenants(picked(jobs("acme", 9), capacity=1, reserved=1)) == ["acme"]


def test_of_a_concurrency_key_one_runs_at_a_time_and_the_next_job_passes_it() -> None:
    keyed, free = jobs("acme", 2, key="table"), jobs("acme", 1, first=3)
    assert picked([*keyed, *free], capacity=9) == [keyed[0], free[0]]
    assert picked([*keyed, *free], capacity=9, holding=held("acme", 1, pool="batch", key="table")) == free


def test_the_same_key_of_another_tenant_is_another_key() -> None:
    assert len(picked(jobs("acme", 1, key="table"), capacity=9, holding=held("globex", 1, key="table"))) == 1


def test_a_types_limit_holds_across_tenants_and_pools_and_lets_other_types_pass() -> None:
    limits = {"kpi": TypeLimits(running=2)}
    waiting = [*jobs("acme", 2, type="kpi"), *jobs("acme", 1, first=3), *jobs("globex", 2, type="kpi")]
    chosen = picked(waiting, capacity=9, limits=limits, holding=held("sandbox", 1, pool="batch", job_type="kpi"))
    assert Counter(job.type for job in chosen) == {"kpi": 1, "noop": 1}


def test_a_types_limit_for_one_tenant_leaves_the_other_tenants_alone() -> None:
    limits = {"kpi": TypeLimits(running_per_tenant=1)}
    chosen = picked([*jobs("acme", 3, type="kpi"), *jobs("globex", 3, type="kpi")], capacity=9, limits=limits)
    assert Counter(tenants(chosen)) == {"acme": 1, "globex": 1}

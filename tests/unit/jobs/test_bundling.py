"""Which jobs travel together: short ones of a type, long ones alone, and nobody is waited for who takes long."""

from __future__ import annotations

from collections import Counter
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.jobs.bundling import MESSAGE_S, MOST_JOBS, WORK_S, Bundle, Candidate, Flying, jobs_to_choose, pack, size_for

PACES = {"short": WORK_S / 10, "tiny": WORK_S / 1000, "long": 5.0}


def jobs(kind: str, count: int, *, tenant: str = "acme", start: int = 0, alone: bool = False) -> list[Candidate]:
    return [Candidate(UUID(int=start + number), tenant, kind, alone) for number in range(count)]


def flying(kind: str, count: int, *, tenant: str = "acme") -> list[Flying]:
    return [Flying(kind, frozenset({tenant}))] * count


def sizes(bundles: list[Bundle]) -> list[int]:
    return [len(bundle.jobs) for bundle in bundles]


@pytest.mark.parametrize(
    ("pace_s", "size"),
    [
        (None, 1),
        (0.0, MOST_JOBS),
        (WORK_S / 1000, MOST_JOBS),
        (WORK_S / 10, 10),
        (WORK_S / 2, 2),
        (WORK_S, 1),
        (9.0, 1),
    ],
)
def test_as_many_travel_together_as_fill_the_work_of_a_bundle(pace_s: float | None, size: int) -> None:
    assert size_for(pace_s) == size


def test_while_all_children_are_busy_a_bundle_is_as_large_as_it_may_be() -> None:
    made = pack(jobs("short", 25), paces=PACES, flying=flying("short", 4), children=4)
    assert sizes(made) == [10], "one bundle more than there are children, and no other"


def test_idle_children_share_what_little_there_is() -> None:
    made = pack(jobs("short", 8), paces=PACES, flying=[], children=4)
    assert sizes(made) == [2, 2, 2, 2]


def test_work_that_is_not_worth_a_second_message_stays_in_one() -> None:
    assert sizes(pack(jobs("tiny", 8), paces=PACES, flying=[], children=4)) == [8]
    assert sizes(pack(jobs("tiny", 8), paces={"tiny": MESSAGE_S / 4}, flying=[], children=4)) == [4, 4]


def test_a_backlog_fills_all_bundles_that_may_be_under_way() -> None:
    made = pack(jobs("tiny", 10 * MOST_JOBS), paces=PACES, flying=[], children=4)
    assert sizes(made) == [MOST_JOBS] * 5


def test_long_and_unknown_jobs_travel_alone_and_only_to_a_child_of_their_own() -> None:
    for kind in ("long", "never seen"):
        assert sizes(pack(jobs(kind, 9), paces=PACES, flying=flying("long", 1), children=4)) == [1, 1, 1]
        assert pack(jobs(kind, 9), paces=PACES, flying=flying("short", 4), children=4) == []


def test_short_jobs_do_not_wait_behind_children_that_are_all_at_something_long() -> None:
    assert pack(jobs("short", 5), paces=PACES, flying=flying("long", 4), children=4) == []
    assert sizes(pack(jobs("short", 5), paces=PACES, flying=flying("long", 3), children=4)) == [5]


def test_types_are_not_mixed_and_each_keeps_its_order() -> None:
    mixed = [job for pair in zip(jobs("short", 4), jobs("tiny", 4, start=100), strict=True) for job in pair]
    made = pack(mixed, paces=PACES, flying=flying("short", 3), children=4)
    assert {bundle.type: bundle.jobs for bundle in made} == {
        "short": [job.job_id for job in jobs("short", 4)],
        "tiny": [job.job_id for job in jobs("tiny", 4, start=100)],
    }


def test_one_that_was_in_a_lost_bundle_travels_alone() -> None:
    asked = [*jobs("tiny", 1, alone=True), *jobs("tiny", 3, start=10)]
    made = pack(asked, paces=PACES, flying=flying("short", 3), children=4)
    assert sizes(made) == [1, 3]


def test_no_one_tenant_fills_the_reserved_child_with_long_jobs() -> None:
    asked = [*jobs("long", 4), *jobs("long", 1, tenant="globex", start=10)]
    made = pack(asked, paces=PACES, flying=[], children=4, reserved=1)
    assert [bundle.jobs for bundle in made] == [[job.job_id] for job in (*asked[:3], asked[4])]


def test_the_reserved_child_is_kept_from_a_tenant_that_is_being_served() -> None:
    one = pack(jobs("short", 200), paces=PACES, flying=[], children=4, reserved=1)
    assert sizes(one) == [10, 10, 10]
    more = jobs("short", 50, start=1000) + jobs("short", 50, tenant="globex", start=2000)
    assert pack(more[:50], paces=PACES, flying=flying("short", 3), children=4, reserved=1) == []
    (new,) = pack(more[50:51], paces=PACES, flying=flying("short", 3), children=4, reserved=1)
    assert new.jobs == [more[50].job_id]


def test_two_bundles_are_under_way_however_many_children_are_reserved() -> None:
    assert len(pack(jobs("short", 200), paces=PACES, flying=[], children=2, reserved=1)) == 2


def test_the_only_child_is_reserved_for_nobody() -> None:
    assert sizes(pack(jobs("long", 2), paces=PACES, flying=[], children=1, reserved=1)) == [1]


def test_a_newcomers_first_job_goes_ahead_of_what_is_under_way_and_the_rest_waits() -> None:
    made = pack(
        jobs("short", 5, tenant="globex"), paces=PACES, flying=flying("short", 5), children=4, newcomers={"globex"}
    )
    assert [(bundle.express, len(bundle.jobs)) for bundle in made] == [(True, 1)]


def test_a_newcomers_long_job_is_no_express() -> None:
    asked = jobs("long", 1, tenant="globex")
    assert pack(asked, paces=PACES, flying=flying("short", 5), children=4, newcomers={"globex"}) == []


def test_newcomers_without_number_cannot_overtake_without_bound() -> None:
    many = [job for number in range(50) for job in jobs("short", 1, tenant=f"t{number}", start=number)]
    made = pack(many, paces=PACES, flying=flying("short", 5), children=4, newcomers={job.tenant_id for job in many})
    assert sizes(made) == [1] * 4, "twice the children and one: then they wait like others"


def test_one_job_a_message_when_that_is_asked() -> None:
    made = pack(jobs("tiny", 9), paces=PACES, flying=[], children=4, most=1)
    assert sizes(made) == [1] * 4
    assert jobs_to_choose(flying=0, children=4, paces=PACES, most=1) == 5 + 4


def test_nobody_serves_so_nothing_is_chosen() -> None:
    assert jobs_to_choose(flying=0, children=0, paces=PACES) == 0


CANDIDATES = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c"]), st.sampled_from([*PACES, "never seen"]), st.booleans()), max_size=200
).map(lambda drawn: [Candidate(UUID(int=n), *each) for n, each in enumerate(drawn)])
UNDER_WAY = st.lists(
    st.tuples(st.sampled_from([*PACES, "never seen"]), st.frozensets(st.sampled_from(["a", "b"]), min_size=1)).map(
        lambda drawn: Flying(*drawn)
    ),
    max_size=8,
)


@given(CANDIDATES, UNDER_WAY, st.integers(1, 6), st.integers(0, 2), st.sets(st.sampled_from(["a", "b", "c"])))
def test_whatever_waits_the_bounds_hold(
    asked: list[Candidate], under_way: list[Flying], children: int, reserved: int, newcomers: set[str]
) -> None:
    made = pack(asked, paces=PACES, flying=under_way, children=children, reserved=reserved, newcomers=newcomers)
    kinds = {job.job_id: job for job in asked}
    sent = [job_id for bundle in made for job_id in bundle.jobs]
    assert len(sent) == len(set(sent)), "no job twice"
    for bundle in made:
        assert {kinds[job_id].type for job_id in bundle.jobs} == {bundle.type}
        assert 0 < len(bundle.jobs) <= size_for(PACES.get(bundle.type))
        assert bundle.jobs == sorted(bundle.jobs), "the order of their turns"
        assert len(bundle.jobs) == 1 or not any(kinds[job_id].alone for job_id in bundle.jobs)
    greeted = Counter(kinds[bundle.jobs[0]].tenant_id for bundle in made if bundle.express)
    assert set(greeted) <= newcomers
    assert max(greeted.values(), default=0) <= 1
    long = sum(
        size_for(PACES.get(each)) == 1 for each in [*(one.type for one in under_way), *(one.type for one in made)]
    )
    assert not any(size_for(PACES.get(bundle.type)) == 1 for bundle in made) or long <= children
    if made:
        assert len(under_way) + len(made) <= max(2 * children + 1, len(under_way) + 1)


@given(st.integers(1, 200), st.integers(1, 6))
def test_no_child_idles_while_a_job_waits(count: int, children: int) -> None:
    for kind in ("short", "long"):
        made = pack(jobs(kind, count), paces=PACES, flying=[], children=children)
        worth = 1 if kind == "long" else PACES[kind] / MESSAGE_S
        assert len(made) >= min(int(count * worth), children)

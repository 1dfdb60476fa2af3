"""Who may begin a request: few for everybody, fewer for the slow, and the one with the fewest under way first."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from apps.webhooks import pacing
from apps.webhooks.pacing import Owing, allowances

LONG_DUE = datetime(2026, 1, 1, tzinfo=UTC)


def owing(number: int, *, tenant: str = "acme", host: str | None = None, failures: int = 0, ms: int | None = 10,
          due: int = 0) -> Owing:  # fmt: skip
    return Owing(UUID(int=number), tenant, host or f"h{number}", failures, ms, LONG_DUE + timedelta(seconds=due))


def test_one_alone_has_four() -> None:
    assert allowances([owing(1)], under_way=[]) == {UUID(int=1): 4}


def test_one_that_was_slow_fails_or_is_not_known_has_one() -> None:
    webhooks = [owing(1, ms=2000), owing(2, failures=1), owing(3, ms=None)]
    assert allowances(webhooks, under_way=[]) == {UUID(int=1): 1, UUID(int=2): 1, UUID(int=3): 1}


def test_those_at_one_host_share_what_one_has() -> None:
    given_now = allowances([owing(number, host="same") for number in range(9)], under_way=[])
    assert sum(given_now.values()) == pacing.OF_A_HOST


def test_a_tenant_has_half_at_most_whatever_it_owns() -> None:
    given_now = allowances([owing(number) for number in range(50)], under_way=[])
    assert sum(given_now.values()) == pacing.OF_A_TENANT


def test_all_the_slow_together_leave_half_to_others() -> None:
    slow = [owing(number, tenant=f"t{number}", failures=3) for number in range(50)]
    quick = [owing(100 + number, tenant=f"q{number}", due=9) for number in range(50)]
    given_now = allowances([*slow, *quick], under_way=[])
    assert sum(count for webhook, count in given_now.items() if webhook.int < 50) <= pacing.OF_ALL_SLOW
    given_later = allowances(quick, under_way=slow[: pacing.OF_ALL_SLOW])
    assert sum(given_later.values()) == pacing.THREADS - pacing.OF_ALL_SLOW


def test_who_has_nothing_under_way_comes_before_who_waits_longest() -> None:
    old, new = owing(1, tenant="big", due=0), owing(2, tenant="small", due=99)
    busy = [old, old, *(owing(number, tenant=f"t{number}") for number in range(10, 23))]
    assert allowances([old, new], under_way=busy) == {new.webhook_id: 1}


def test_among_equals_the_longest_due_comes_first() -> None:
    late, early = owing(1, tenant="a", due=5), owing(2, tenant="b", due=1)
    assert allowances([late, early], under_way=[], threads=1) == {early.webhook_id: 1}


webhooks = st.builds(
    owing,
    st.integers(0, 40),
    tenant=st.sampled_from("abcd"),
    host=st.sampled_from(["x", "y", "z", "w", "v"]),
    failures=st.integers(0, 3),
    ms=st.sampled_from([None, 10, 5000]),
    due=st.integers(0, 9),
)


@given(st.lists(webhooks, max_size=40, unique_by=lambda each: each.webhook_id), st.integers(0, 16))
def test_no_bound_is_ever_passed(found: list[Owing], threads: int) -> None:
    by_id = {each.webhook_id: each for each in found}
    under_way: list[Owing] = []
    for _ in range(3):  # what was given is under way at the next look
        for webhook_id, count in allowances(found, under_way=under_way, threads=threads).items():
            under_way += [by_id[webhook_id]] * count
    assert len(under_way) <= threads
    assert all(count <= pacing.OF_A_HOST for count in Counter(each.host for each in under_way).values())
    assert all(count <= pacing.OF_A_TENANT for count in Counter(each.tenant_id for each in under_way).values())
    assert sum(each.slow for each in under_way) <= pacing.OF_ALL_SLOW
    assert all(count <= by_id[each].most for each, count in Counter(one.webhook_id for one in under_way).items())
    if not under_way and threads:
        assert not found, "somebody always may begin"

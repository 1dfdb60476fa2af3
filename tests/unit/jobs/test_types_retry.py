"""Retry policies: how long a failed attempt waits for the next."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.jobs.retry import LONGEST_ASKED_PAUSE_S, MAX_ATTEMPTS, Limits, Retry


def test_exponential_doubles_up_to_its_cap() -> None:
    retry = Retry(backoff="exponential", initial_s=2, cap_s=10, jitter=0)
    assert [retry.delay_s(attempt=n, random=0) for n in (1, 2, 3, 4, 5)] == [2, 4, 8, 10, 10]


def test_fixed_stays_and_none_is_at_once() -> None:
    assert [Retry(backoff="fixed", initial_s=3, jitter=0).delay_s(attempt=n, random=0.9) for n in (1, 9)] == [3, 3]
    assert Retry(backoff="none").delay_s(attempt=4, random=0.9) == 0


def test_jitter_moves_the_pause_both_ways() -> None:
    retry = Retry(backoff="fixed", initial_s=100, cap_s=300, jitter=0.1)
    assert retry.delay_s(attempt=1, random=0) == pytest.approx(90)
    assert retry.delay_s(attempt=1, random=0.5) == pytest.approx(100)
    assert retry.delay_s(attempt=1, random=1) == pytest.approx(110)


def test_what_the_other_side_asked_for_is_a_floor_and_bounded() -> None:
    retry = Retry(backoff="fixed", initial_s=5, cap_s=60, jitter=0)
    assert retry.delay_s(attempt=1, random=0, retry_after_s=90) == 90
    assert retry.delay_s(attempt=1, random=0, retry_after_s=1) == 5
    assert retry.delay_s(attempt=1, random=0, retry_after_s=1e12) == LONGEST_ASKED_PAUSE_S
    assert retry.delay_s(attempt=1, random=0, retry_after_s=math.nan) == 5


@given(
    backoff=st.sampled_from(["exponential", "fixed", "none"]),
    initial_s=st.floats(0, 1000),
    more_s=st.floats(0, 1000),
    jitter=st.floats(0, 1),
    attempt=st.integers(1, MAX_ATTEMPTS),
    random=st.floats(0, 1, exclude_max=True),
)
def test_a_pause_is_never_negative_and_never_past_its_cap(
    *, backoff: Any, initial_s: float, more_s: float, jitter: float, attempt: int, random: float
) -> None:
    retry = Retry(backoff=backoff, initial_s=initial_s, cap_s=initial_s + more_s, jitter=jitter)
    assert 0 <= retry.delay_s(attempt=attempt, random=random) <= retry.cap_s


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_attempts": 0},
        {"max_attempts": True},
        {"max_attempts": 2.5},
        {"max_attempts": MAX_ATTEMPTS + 1},
        {"backoff": "linear"},
        {"initial_s": -1},
        {"initial_s": math.nan},
        {"initial_s": 400},
        {"cap_s": math.inf},
        {"jitter": 1.1},
    ],
)
def test_a_policy_nobody_could_mean_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"Retry.{'cap_s' if wrong == {'initial_s': 400} else next(iter(wrong))}"):
        Retry(**wrong)


@pytest.mark.parametrize("wrong", [{"running": 0}, {"running_per_tenant": True}, {"running": "3"}])
def test_a_limit_under_which_nothing_runs_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"Limits.{next(iter(wrong))}"):
        Limits(**wrong)

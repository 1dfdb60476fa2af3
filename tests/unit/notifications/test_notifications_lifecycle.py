"""What follows an attempt: the schedule, what is for good, when a channel is left alone, when its fallback begins."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.notifications import lifecycle
from apps.notifications.lifecycle import Answer, Severity, State, after, hedge_s, of_status, open_s

FAILED = Answer(accepted=False, error="too_slow")


@pytest.mark.parametrize("tries", range(1, lifecycle.MOST_TRIES))
def test_what_may_pass_is_tried_again_on_the_schedule(tries: int) -> None:
    least, most = (after(FAILED, tries=tries, dice=dice) for dice in (0.0, 1.0))
    assert least == (State.QUEUED, lifecycle.PAUSES_S[tries - 1])
    assert most.pause_s == lifecycle.PAUSES_S[tries - 1] * (1 + lifecycle.JITTER)


def test_in_the_end_it_is_failed() -> None:
    assert after(FAILED, tries=lifecycle.MOST_TRIES, dice=0.0) == (State.FAILED, None)


@pytest.mark.parametrize(
    ("status", "permanent"),
    [(302, False), (400, True), (401, True), (404, True), (408, False), (410, True), (429, False), (500, False)],
)
def test_some_refusals_are_for_good(status: int, permanent: bool) -> None:
    answer = of_status(status)
    assert (answer.accepted, answer.permanent) == (False, permanent)
    assert after(answer, tries=1, dice=0.0).state is (State.FAILED if permanent else State.QUEUED)


@pytest.mark.parametrize("status", [200, 202, 204])
def test_any_success_is_one(status: int) -> None:
    assert after(of_status(status), tries=1, dice=0.0) == (State.SENT, None)


def test_whoever_asks_for_time_gets_it() -> None:
    busy = of_status(429, retry_after_s=90.0)
    assert after(busy, tries=1, dice=0.0).pause_s == 90.0
    assert open_s(busy, failures=1) == 90.0


def test_a_channel_is_left_alone_longer_and_longer_and_never_for_ever() -> None:
    spans = [open_s(FAILED, failures=failures) for failures in range(1, 20)]
    assert spans[:2] == [0.0, 0.0]
    assert spans[2:5] == [10.0, 20.0, 40.0]
    assert spans == sorted(spans)
    assert spans[-1] == lifecycle.OPEN_S[1]


@given(st.lists(st.integers(0, 100_000), max_size=60))
def test_a_fallback_begins_within_its_bounds_whatever_was_measured(recent_ms: list[int]) -> None:
    assert lifecycle.HEDGE_LEAST_S <= hedge_s(recent_ms) <= lifecycle.HEDGE_MOST_S


def test_it_begins_at_the_channels_own_p95() -> None:
    assert hedge_s([4000] * 50) == 4.0
    assert hedge_s([100] * 48 + [9000] * 2) == lifecycle.HEDGE_LEAST_S
    assert hedge_s([]) == lifecycle.HEDGE_UNKNOWN_S


def test_severities_rise() -> None:
    assert [each.rank for each in Severity] == [0, 1, 2, 3]

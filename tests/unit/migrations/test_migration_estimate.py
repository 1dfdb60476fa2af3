"""What a rehearsal's timings say of targets that are larger: a line, its bars, and the time of a whole campaign."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.migrations.estimate import (
    OF_A_JOB,
    Line,
    Range,
    Timing,
    campaign_duration,
    fit,
    makespan,
    predict,
    target_duration,
)

seconds = st.floats(0, 1000)
timings = st.lists(st.builds(Timing, st.integers(0, 10**6), seconds), min_size=1, max_size=8)


def test_a_line_is_found_again() -> None:
    found = fit([Timing(rows, 0.5 + 0.001 * rows) for rows in (0, 1000, 4000)])
    assert found == pytest.approx((0.5, 0.001))


def test_neither_part_of_a_line_is_negative() -> None:
    assert fit([Timing(1000, 2.0), Timing(4000, 1.0)]) == Line(1.5, 0.0)
    assert fit([Timing(1000, 0.0), Timing(4000, 6.0)]).at_once == 0.0


def test_one_size_is_taken_to_go_with_the_rows() -> None:
    assert fit([Timing(100, 1.0), Timing(100, 3.0)]) == Line(0.0, 0.02)
    assert predict([Timing(100, 2.0)], rows=100).likely == pytest.approx(2.0)
    assert fit([Timing(0, 0.1)]) == Line(0.1, 0.0)


def test_a_line_without_scatter_still_has_a_bar_that_grows_with_the_distance() -> None:
    exact = [Timing(rows, 0.001 * rows) for rows in (1000, 2000, 4000)]
    near, far = predict(exact, rows=4000), predict(exact, rows=400_000)
    assert near == pytest.approx((3.0, 4.0, 5.0))
    assert far == pytest.approx((100.0, 400.0, 700.0))


def test_scatter_makes_the_bar_wider() -> None:
    calm = predict([Timing(1000, 1.0), Timing(2000, 2.0), Timing(4000, 4.0)], rows=4000)
    wild = predict([Timing(1000, 1.0), Timing(2000, 4.0), Timing(4000, 4.0)], rows=4000)
    assert wild.high - wild.likely > 2 * (calm.high - calm.likely)


def test_two_timings_are_no_scatter_and_have_the_bar_of_nothing_known() -> None:
    assert predict([Timing(1000, 1.0), Timing(4000, 4.0)], rows=4000) == pytest.approx((3.0, 4.0, 5.0))


@given(timings, st.integers(0, 10**9))
def test_low_is_at_most_likely_is_at_most_high(several: list[Timing], rows: int) -> None:
    low, likely, high = predict(several, rows=rows)
    assert 0 <= low <= likely < high


@given(timings, st.integers(0, 10**7), st.integers(0, 10**7))
def test_more_rows_never_take_less(several: list[Timing], one: int, other: int) -> None:
    fewer, more = sorted((one, other))
    assert predict(several, rows=fewer).likely <= predict(several, rows=more).likely


def test_nothing_cannot_be_fitted() -> None:
    with pytest.raises(ValueError, match="nothing to fit"):
        fit([])


@pytest.mark.parametrize(
    ("each", "parallel", "whole"),
    [([], 3, 0.0), ([5.0], 3, 5.0), ([1.0] * 10, 5, 2.0), ([3.0, 1.0, 1.0, 1.0], 2, 3.0), ([1.0, 2.0], 1, 3.0)],
)
def test_so_many_at_once_take_so_long(each: list[float], parallel: int, whole: float) -> None:
    assert makespan(each, parallel=parallel) == whole


@given(st.lists(seconds, max_size=30), st.integers(1, 10))
def test_a_wave_takes_at_least_its_longest_and_its_share_and_at_most_its_sum(each: list[float], parallel: int) -> None:
    whole = makespan(each, parallel=parallel)
    assert max([0.0, *each, sum(each) / parallel]) <= whole * (1 + 1e-9)
    assert whole <= sum(each) * (1 + 1e-9)


def test_a_target_takes_its_steps_and_what_a_job_costs_for_each() -> None:
    assert target_duration([Range(1, 2, 3), Range(1, 2, 3)]) == pytest.approx(
        [2 * (n + OF_A_JOB[n - 1]) for n in (1, 2, 3)]
    )


def test_a_campaign_takes_its_waves_and_their_baking() -> None:
    step = Range(1, 2, 4)
    assert campaign_duration([[step], [step] * 4], parallel=2, bake_s=60) == (123, 126, 132)


def test_a_drill_goes_up_and_down_and_up_before_the_rest() -> None:
    up, down = Range(1, 2, 4), Range(1, 1, 1)
    assert campaign_duration([[up], [up]], parallel=2, bake_s=10, first_wave_back=[down]) == (24, 27, 33)

"""Rates: how they are written, and what a bucket holds after a time. Pure."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.core.authzen_wire import MalformedError, answer_of
from apps.core.rate import LONGEST, Rate, left, parse_rate, wait_s
from apps.jobs.retry import Limits

RATES = st.builds(Rate, st.floats(1 / 3600, 1000), st.integers(1, 1000))


@pytest.mark.parametrize(
    ("words", "rate"),
    [
        ("5/s", Rate(5, 5)),
        ("120/m", Rate(2, 2)),
        ("36/h", Rate(0.01, 1)),
        ("100/m burst 20", Rate(100 / 60, 20)),
    ],
)
def test_a_rate_is_read_as_it_is_written(words: str, rate: Rate) -> None:
    assert parse_rate(words) == rate
    assert Limits(rate=words).rate == words


@pytest.mark.parametrize("words", ["", "5", "0/s", "5/d", "-1/s", "5/s burst 0", "1.5/s", "5/s ", 5])
def test_what_is_no_rate_is_refused(words: object) -> None:
    with pytest.raises(ValueError, match="100/m burst 20"):
        parse_rate(words)


def test_the_longest_rate_fits_its_column() -> None:
    words = "999999999/m burst 999999999"
    assert parse_rate(words).burst == 999999999
    assert len(words) <= LONGEST


def test_what_is_no_rate_is_named_by_the_field_it_stood_in() -> None:
    with pytest.raises(ValueError, match=r"^Limits\.rate: '5/s'.* would be right$"):
        Limits(rate="fast")
    with pytest.raises(MalformedError) as caught:
        answer_of({"decision": True, "context": {"limits": {"rate": "fast"}}})
    assert caught.value.field == "context.limits.rate"
    for limits in ({"rate": None}, {"rate": "5/s"}):
        assert answer_of({"decision": True, "context": {"limits": limits}}).limits == limits


@given(RATES, st.floats(-10, 1000), st.floats(-1000, 100_000))
def test_a_bucket_never_holds_more_than_its_burst_and_time_takes_nothing(
    rate: Rate, tokens: float, age_s: float
) -> None:
    held = left(rate, tokens=tokens, age_s=age_s)
    assert min(tokens, rate.burst) <= held <= rate.burst


@given(RATES, st.floats(0, 1))
def test_a_token_is_there_when_it_was_said_to_come(rate: Rate, tokens: float) -> None:
    assert left(rate, tokens=tokens, age_s=wait_s(rate, held=tokens)) == pytest.approx(max(tokens, 1.0))

"""When a step has stalled: by how fast it comes on, never by its age."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from apps.migrations.definition import Stall
from apps.migrations.stall import Mark, moved, stalled

BEGIN = datetime(2030, 1, 1, tzinfo=UTC)
NONE_AT_ALL = Stall(within_s=60, min_rate=0)
TEN_A_SECOND = Stall(within_s=60, min_rate=10)


def at(seconds: float) -> datetime:
    return BEGIN + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("rule", "seconds", "done", "moves"),
    [
        (NONE_AT_ALL, 59, 0, False),
        (NONE_AT_ALL, 59, 1, True),
        (NONE_AT_ALL, 100_000, 1, True),
        (TEN_A_SECOND, 10, 99, False),
        (TEN_A_SECOND, 10, 100, True),  # exactly as fast as it has to be
        (TEN_A_SECOND, 10, 101, True),
        (TEN_A_SECOND, 0, 0, False),
        (TEN_A_SECOND, 0, 1, True),
        (Stall(within_s=60, min_rate=0.01), 10, 0, False),  # a tenth of a unit is asked: none is not one
        (Stall(within_s=60, min_rate=0.01), 10, 1, True),
    ],
)
def test_the_mark_moves_once_the_step_came_as_far_as_its_rate_asks(
    rule: Stall, seconds: float, done: int, moves: bool
) -> None:
    mark = Mark(BEGIN, 500)
    again = moved(mark, done=500 + done, now=at(seconds), stall=rule)
    assert again == (Mark(at(seconds), 500 + done) if moves else mark)


def test_a_step_that_begins_anew_does_not_come_on_by_that_and_comes_on_from_there() -> None:
    again = moved(Mark(BEGIN, 500), done=0, now=at(30), stall=TEN_A_SECOND)
    assert again == Mark(BEGIN, 0)
    assert moved(again, done=399, now=at(40), stall=TEN_A_SECOND) == again
    assert moved(again, done=400, now=at(40), stall=TEN_A_SECOND) == Mark(at(40), 400)


@pytest.mark.parametrize(("seconds", "expected"), [(0, False), (60, False), (60.001, True), (100_000, True)])
def test_a_mark_is_stalled_once_it_is_older_than_is_allowed_and_not_at_the_very_moment(
    seconds: float, expected: bool
) -> None:
    assert stalled(Mark(BEGIN, 0), now=at(seconds), stall=NONE_AT_ALL) is expected


def _looks(advance: list[int], *, rule: Stall, every_s: float) -> int | None:
    """Return at which look a step that does so much between looks is found stalled; None: never."""
    mark, done = Mark(BEGIN, 0), 0
    for number, more in enumerate(advance, start=1):
        done += more
        now = at(number * every_s)
        again = moved(mark, done=done, now=now, stall=rule)
        if again == mark and stalled(mark, now=now, stall=rule):
            return number
        mark = again
    return None


def test_a_backfill_of_a_week_is_no_stall_while_it_comes_on() -> None:
    assert _looks([1] * 10_080, rule=NONE_AT_ALL, every_s=60) is None
    assert _looks([600] * 10_080, rule=TEN_A_SECOND, every_s=60) is None


def test_one_that_stops_after_a_minute_is_found_at_the_first_look_after_its_deadline() -> None:
    assert _looks([10] * 12 + [0] * 100, rule=NONE_AT_ALL, every_s=5) == 12 + 13


def test_one_that_creeps_below_its_rate_is_found_though_it_moves() -> None:
    assert _looks([49] * 100, rule=TEN_A_SECOND, every_s=5) == 13
    assert _looks([50] * 100, rule=TEN_A_SECOND, every_s=5) is None


def test_one_that_pauses_for_breath_and_catches_up_in_time_is_none() -> None:
    assert _looks([0] * 11 + [600] + [0] * 11 + [600], rule=TEN_A_SECOND, every_s=5) is None

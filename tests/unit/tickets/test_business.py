"""Business hours: held against a clock that walks minute by minute, over the days on which the clocks change."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.tickets.business import DAYS, Always, BadCalendarError, Calendar

NINE_TO_FIVE = {day: [["09:00", "17:00"]] for day in DAYS[:5]}
BERLIN = Calendar.read(time_zone="Europe/Berlin", hours=NINE_TO_FIVE, holidays=["2026-12-25"])
ROUND_THE_CLOCK = Calendar.read(time_zone="America/New_York", hours={day: [["00:00", "24:00"]] for day in DAYS})

# Around both days of 2026 on which clocks change in each zone, and around the turn of the year.
INSTANTS = st.sampled_from(
    [datetime(2026, month, day, tzinfo=UTC) for month, day in ((3, 6), (3, 27), (4, 3), (10, 2), (10, 23), (12, 23))]
).flatmap(lambda day: st.integers(0, 6 * 24 * 60).map(lambda minutes: day + timedelta(minutes=minutes)))
ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"])


@st.composite
def calendars(draw: st.DrawFn) -> Calendar:
    """Any week: up to three spans a day, in any zone, with some days off."""
    hours: dict[str, Any] = {}
    for day in draw(st.sets(st.sampled_from(DAYS), min_size=1)):
        edges = sorted(draw(st.sets(st.integers(0, 96), min_size=2, max_size=6)))
        edges = edges[: len(edges) // 2 * 2]
        texts = [f"{edge * 15 // 60:02}:{edge * 15 % 60:02}" for edge in edges]
        hours[day] = [list(pair) for pair in zip(texts[::2], texts[1::2], strict=True)]
    holidays = draw(st.sets(st.sampled_from(["2026-03-29", "2026-10-25", "2026-12-25", "2026-03-09"])))
    return Calendar.read(time_zone=draw(ZONES), hours=hours, holidays=sorted(holidays))


def walked(calendar: Calendar, start: datetime, end: datetime) -> timedelta:
    """Return the working time by asking each minute what the clock on the wall says."""
    minutes, at = 0, start
    while at < end:
        wall = at.astimezone(calendar.zone)
        now = wall.hour * 60 + wall.minute
        spans = () if wall.date() in calendar.holidays else calendar.hours[wall.weekday()]
        minutes += any(opens <= now < closes for opens, closes in spans)
        at += timedelta(minutes=1)
    return timedelta(minutes=minutes)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["UTC", "Asia/Kathmandu"]), calendars(), INSTANTS, st.integers(0, 3 * 24 * 60))
def test_where_no_clock_changes_it_is_what_the_clock_on_the_wall_says(
    zone: str, calendar: Calendar, start: datetime, minutes: int
) -> None:
    plain = Calendar(zone=ZoneInfo(zone), hours=calendar.hours, holidays=calendar.holidays)
    end = start + timedelta(minutes=minutes)
    assert plain.elapsed(start, end) == walked(plain, start, end)


@settings(deadline=None)
@given(calendars(), INSTANTS, st.integers(0, 20_000), st.integers(0, 20_000))
def test_a_span_is_the_sum_of_its_parts(calendar: Calendar, start: datetime, one: int, other: int) -> None:
    middle = start + timedelta(minutes=one)
    end = middle + timedelta(minutes=other)
    assert calendar.elapsed(start, end) == calendar.elapsed(start, middle) + calendar.elapsed(middle, end)


@settings(deadline=None)
@given(calendars(), INSTANTS, st.integers(1, 5000))
def test_the_instant_after_an_amount_is_the_first_at_which_it_has_passed(
    calendar: Calendar, start: datetime, minutes: int
) -> None:
    amount = timedelta(minutes=minutes)
    reached = calendar.after(start, amount)
    assert reached is not None
    assert calendar.elapsed(start, reached) == amount
    assert calendar.elapsed(start, reached - timedelta(seconds=1)) < amount


@settings(deadline=None)
@given(calendars(), INSTANTS, st.integers(-20_000, 20_000))
def test_working_time_is_never_negative_and_never_more_than_time(
    calendar: Calendar, start: datetime, minutes: int
) -> None:
    end = start + timedelta(minutes=minutes)
    assert timedelta(0) <= calendar.elapsed(start, end) <= max(end - start, timedelta(0))


@settings(deadline=None)
@given(INSTANTS, st.integers(0, 20_000))
def test_a_week_without_nights_is_all_time_even_where_a_day_has_23_or_25_hours(start: datetime, minutes: int) -> None:
    end = start + timedelta(minutes=minutes)
    assert ROUND_THE_CLOCK.elapsed(start, end) == Always().elapsed(start, end) == end - start
    assert ROUND_THE_CLOCK.after(start, end - start) == Always().after(start, end - start) == end


def test_nine_to_five_stays_nine_to_five_when_the_clocks_change() -> None:
    friday = datetime(2026, 3, 27, 16, 0, tzinfo=ZoneInfo("Europe/Berlin"))
    monday = datetime(2026, 3, 30, 10, 0, tzinfo=ZoneInfo("Europe/Berlin"))
    assert BERLIN.elapsed(friday, monday) == timedelta(hours=2)
    assert BERLIN.after(friday, timedelta(hours=2)) == monday
    assert BERLIN.after(friday, timedelta(0)) == friday


def test_nobody_works_on_a_holiday() -> None:
    eve = datetime(2026, 12, 24, 16, 0, tzinfo=ZoneInfo("Europe/Berlin"))
    assert BERLIN.after(eve, timedelta(hours=2)) == datetime(2026, 12, 28, 10, 0, tzinfo=ZoneInfo("Europe/Berlin"))


def test_an_amount_that_no_working_day_comes_for_is_never_used_up() -> None:
    days = [date(2026, 1, 1) + timedelta(days=n) for n in range(366 * 6)]
    never = Calendar.read(
        time_zone="UTC", hours={"mon": [["09:00", "10:00"]]}, holidays=[each.isoformat() for each in days]
    )
    assert never.after(datetime(2026, 1, 1, tzinfo=UTC), timedelta(hours=1)) is None


@pytest.mark.parametrize(
    ("row", "names"),
    [
        ({"time_zone": "Mars/Olympus"}, "time_zone"),
        ({"time_zone": "../etc/passwd"}, "time_zone"),
        ({"hours": {"monday": [["09:00", "17:00"]]}}, "monday"),
        ({"hours": {}}, "hours"),
        ({"hours": {"mon": [["17:00", "09:00"]]}}, "mon"),
        ({"hours": {"mon": [["09:00", "12:00"], ["11:00", "17:00"]]}}, "mon"),
        ({"hours": {"mon": [["09:00"]]}}, "mon"),
        ({"hours": {"mon": [["9", "17"]]}}, "mon"),
        ({"hours": {"mon": [["09:60", "17:00"]]}}, "mon"),
        ({"hours": {"mon": [["09:00", "24:01"]]}}, "mon"),
        ({"hours": {"mon": 7}}, "mon"),
        ({"holidays": ["Christmas"]}, "holidays"),
    ],
)
def test_a_calendar_that_cannot_be_is_refused_by_its_part(row: dict[str, Any], names: str) -> None:
    with pytest.raises(BadCalendarError, match=names):
        Calendar.read(**{"time_zone": "UTC", "hours": NINE_TO_FIVE, **row})

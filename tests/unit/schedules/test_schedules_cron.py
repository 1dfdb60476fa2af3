"""Cron in time zones, also where clocks change; and what is due after an outage."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest

from apps.schedules import cron

DAY = timedelta(days=1)
VIENNA = "Europe/Vienna"  # 2026: clocks forward on March 29 at 01:00Z, back on October 25 at 01:00Z


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def next_of(expression: str, after: str, *, zone: str = "UTC", count: int = 3) -> list[str]:
    found = islice(cron.times(expression, zone=zone, after=at(after)), count)
    return [each.strftime("%m-%d %H:%M") for each in found]


def test_five_fields_and_macros() -> None:
    assert next_of("*/20 8 * * 1-5", "2026-01-02T08:30") == ["01-02 08:40", "01-05 08:00", "01-05 08:20"]
    assert next_of("@daily", "2026-01-01T00:00", count=1) == ["01-02 00:00"]


def test_a_time_that_the_spring_leaves_out_fires_once_right_after_the_gap() -> None:
    assert next_of("30 2 * * *", "2026-03-28T12:00", zone=VIENNA) == ["03-29 01:00", "03-30 00:30", "03-31 00:30"]


def test_a_time_that_the_autumn_repeats_fires_the_first_time_only() -> None:
    assert next_of("30 2 * * *", "2026-10-24T12:00", zone=VIENNA) == ["10-25 00:30", "10-26 01:30", "10-27 01:30"]


def test_a_wildcard_hour_follows_real_time_through_both() -> None:
    hours = ["03-29 00:30", "03-29 01:30", "03-29 02:30"]
    assert next_of("30 * * * *", "2026-03-28T23:45", zone=VIENNA) == hours
    back = ["10-25 00:30", "10-25 01:30", "10-25 02:30"]
    assert next_of("30 * * * *", "2026-10-24T23:45", zone=VIENNA) == back


def test_fire_times_ascend_and_never_repeat_through_a_year_of_zones() -> None:
    for zone in (VIENNA, "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca"):
        found = list(islice(cron.times("15,45 1-3 * * *", zone=zone, after=at("2026-01-01T00:00")), 2200))
        assert found == sorted(set(found))


@pytest.mark.parametrize("text", ["", "* * * *", "* * * * * *", "61 * * * *", "0 0 30 2 *", "@reboot", "a b c d e"])
def test_what_is_no_cron_is_refused(text: str) -> None:
    with pytest.raises(cron.BadCronError):
        cron.check(text, zone="UTC", now=at("2026-01-01T00:00"))


@pytest.mark.parametrize("zone", ["Moon/Base", "", "../etc/passwd", "CET\x00"])
def test_what_is_no_zone_is_refused(zone: str) -> None:
    with pytest.raises(cron.BadZoneError):
        cron.check("@daily", zone=zone, now=at("2026-01-01T00:00"))


def came(catch_up: str, *, first: str, now: str, window: timedelta = DAY) -> tuple[list[str], list[str]]:
    found, done = cron.due("0 * * * *", zone="UTC", first=at(first), now=at(now), catch_up=catch_up, window=window)
    assert done == at(now)
    runs = [each.fire_at.strftime("%H") for each in found if each.skipped is None]
    return runs, [each.fire_at.strftime("%H") for each in found if each.skipped == "missed"]


def test_what_is_on_time_fires_whatever_the_policy() -> None:
    for catch_up in ("none", "last", "all"):
        assert came(catch_up, first="2026-01-01T08:00", now="2026-01-01T08:00:02") == (["08"], [])


@pytest.mark.parametrize(
    ("catch_up", "runs", "missed"),
    [("none", [], ["08", "09", "10"]), ("last", ["10"], ["08", "09"]), ("all", ["08", "09", "10"], [])],
)
def test_after_an_outage_the_policy_decides(catch_up: str, runs: list[str], missed: list[str]) -> None:
    assert came(catch_up, first="2026-01-01T08:00", now="2026-01-01T10:30") == (runs, missed)


def test_nothing_older_than_the_window_is_caught_up() -> None:
    span = {"first": "2026-01-01T08:00", "now": "2026-01-01T10:30"}
    assert came("all", **span, window=timedelta(hours=1)) == (["10"], ["08", "09"])
    assert came("last", **span, window=timedelta(minutes=5)) == ([], ["08", "09", "10"])


@pytest.mark.parametrize("catch_up", ["last", "all"])
def test_a_long_outage_is_taken_a_thousand_times_a_pass_and_nothing_twice(catch_up: str) -> None:
    first, now = at("2026-01-01T00:00"), at("2026-01-03T00:00:30")
    runs, passes = [], 0
    while first <= now:
        found, done = cron.due("* * * * *", zone="UTC", first=first, now=now, catch_up=catch_up, window=7 * DAY)
        runs += [each.fire_at for each in found if each.skipped is None]
        first, passes = next(cron.times("* * * * *", zone="UTC", after=done)), passes + 1
    assert passes == 3
    assert len(runs) == len(set(runs)) == (2881 if catch_up == "all" else 1)
    assert max(runs) == at("2026-01-03T00:00")


def test_jitter_is_bounded_and_always_the_same() -> None:
    fire = at("2026-01-01T08:00")
    spread = {cron.jittered(fire, schedule_id=str(each), jitter_s=60) - fire for each in range(50)}
    assert len(spread) > 40
    assert timedelta(0) <= min(spread) <= max(spread) <= timedelta(seconds=60)
    assert cron.jittered(fire, schedule_id="a", jitter_s=60) == cron.jittered(fire, schedule_id="a", jitter_s=60)
    assert cron.jittered(fire, schedule_id="a", jitter_s=0) == fire

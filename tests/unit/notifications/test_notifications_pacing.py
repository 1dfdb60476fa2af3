"""When something is sent: quiet hours across midnight and changes of the clock, caps, fairness among channels."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.notifications import pacing
from apps.notifications.lifecycle import Reason, Severity
from apps.notifications.pacing import Owing, QuietHours, allowances, wait

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def owing(number: int, **more: object) -> Owing:
    values = {"provider": f"p{number}", "failures": 0, "measured": True, "due_at": NOW, **more}
    return Owing(channel_id=UUID(int=number), **values)  # type: ignore[arg-type]


class TestQuietHours:
    """By the clock of a place."""

    @pytest.mark.parametrize(("hour", "left_h"), [(21, 0.0), (22, 9.0), (23, 8.0), (2, 5.0), (7, 0.0), (12, 0.0)])
    def test_they_go_over_midnight(self, hour: int, left_h: float) -> None:
        quiet = QuietHours(time(22), time(7), "UTC")
        assert quiet.left_s(datetime(2026, 1, 5, hour, tzinfo=UTC)) == left_h * 3600

    def test_they_are_of_the_place(self) -> None:
        quiet = QuietHours(time(22), time(7), "Europe/Berlin")
        assert quiet.left_s(datetime(2026, 1, 5, 21, 30, tzinfo=UTC)) == 8.5 * 3600

    def test_the_night_of_the_change_is_an_hour_shorter(self) -> None:
        quiet = QuietHours(time(22), time(7), "Europe/Berlin")
        before = datetime(2026, 3, 28, 21, tzinfo=UTC)  # 22:00 there; at 2:00 it becomes 3:00
        assert quiet.left_s(before) == 8 * 3600

    @given(st.times(), st.times(), st.datetimes(timezones=st.just(UTC)).filter(lambda at: at.year > 1970))
    def test_they_end(self, begin: time, end: time, now: datetime) -> None:
        quiet = QuietHours(begin.replace(tzinfo=None), end.replace(tzinfo=None), "America/New_York")
        left = quiet.left_s(now)
        assert 0 <= left <= 26 * 3600
        if left and begin != end:
            assert quiet.left_s(now + timedelta(seconds=left + 1)) == 0 or begin < end or left > 0


class TestWait:
    """How long a group gathers."""

    def test_what_is_critical_waits_for_nobody(self) -> None:
        made = wait(severity=Severity.CRITICAL, wait_s=30, interval_s=300, told_ago_s=1, quiet_s=3600)
        assert made == (0.0, Reason.NEW_ALERTS)

    def test_quiet_hours_hold_the_rest(self) -> None:
        assert wait(severity=Severity.ERROR, wait_s=0, interval_s=1, told_ago_s=None, quiet_s=60).due_in_s == 60

    @given(
        st.sampled_from(Severity),
        st.floats(0, 600),
        st.floats(0, 600),
        st.none() | st.floats(-600, 6000),
        st.floats(0, 90_000),
    )
    def test_nothing_waits_longer_than_it_may(
        self, severity: Severity, wait_s: float, interval_s: float, ago: float | None, quiet_s: float
    ) -> None:
        due = wait(severity=severity, wait_s=wait_s, interval_s=interval_s, told_ago_s=ago, quiet_s=quiet_s).due_in_s
        assert 0 <= due <= max(wait_s, interval_s, quiet_s, -(ago or 0))


class TestAllowances:
    """How many messages may begin."""

    def test_a_channel_that_fails_or_was_never_measured_has_one(self) -> None:
        channels = [owing(1), owing(2, failures=1), owing(3, measured=False)]
        assert allowances(channels, under_way=[]) == {
            UUID(int=1): pacing.OF_A_CHANNEL,
            UUID(int=2): 1,
            UUID(int=3): 1,
        }

    def test_those_of_one_provider_share(self) -> None:
        channels = [owing(number, provider="same") for number in range(1, 5)]
        assert sum(allowances(channels, under_way=[]).values()) == pacing.OF_A_PROVIDER

    def test_a_cap_counts_what_was_sent_within_the_minute(self) -> None:
        assert allowances([owing(1, per_minute=10, sent_lately=9)], under_way=[]) == {UUID(int=1): 1}
        assert allowances([owing(1, per_minute=10, sent_lately=10)], under_way=[]) == {}

    def test_many_bad_channels_leave_room_for_a_good_one(self) -> None:
        bad = [owing(number, failures=3) for number in range(2, 12)]
        assert allowances([*bad, owing(1)], under_way=bad)[UUID(int=1)] == pacing.OF_A_CHANNEL

    @given(st.lists(st.integers(1, 8)), st.lists(st.integers(1, 8), max_size=16))
    def test_there_are_never_more_than_threads(self, channels: list[int], busy: list[int]) -> None:
        under_way = [owing(number) for number in busy]
        given_now = allowances([owing(number) for number in set(channels)], under_way=under_way)
        assert sum(given_now.values()) + len(under_way) <= pacing.THREADS

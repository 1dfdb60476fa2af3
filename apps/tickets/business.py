"""Business hours: how much of a span is working time, and when an amount of it is used up. Pure.

A week's hours in a time zone, and the days that are no working days. Hours are wall time there: on the day the clocks
change, nine to five is still nine to five. An hour that does not exist or comes twice is counted as the zone has it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final, Self
from zoneinfo import ZoneInfo

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
LONGEST_SEARCH_DAYS: Final = 366 * 5
_NOTHING: Final = timedelta(0)


class BadCalendarError(ValueError):
    """A calendar that cannot be: the message names the part and says what would be right."""


@dataclass(frozen=True, kw_only=True)
class Calendar:
    """Minutes of wall time from midnight, per day of the week (Monday first), in order and without overlap."""

    zone: ZoneInfo
    hours: tuple[tuple[tuple[int, int], ...], ...]
    holidays: frozenset[date] = frozenset()

    @classmethod
    def read(cls, *, time_zone: str, hours: Mapping[str, Any], holidays: Sequence[str] = ()) -> Self:
        """Return the calendar of a row: `{"mon": [["09:00", "17:00"]], …}`; raise `BadCalendarError`."""
        try:
            zone = ZoneInfo(time_zone)
        except (ValueError, OSError, LookupError):
            raise BadCalendarError("time_zone: a name like Europe/Berlin would be right") from None
        unknown = sorted(set(hours) - set(DAYS))
        if unknown:
            raise BadCalendarError(f"hours: {unknown[0]!r}: one of {', '.join(DAYS)} would be right")
        week = tuple(_spans(day, hours.get(day, [])) for day in DAYS)
        if not any(week):
            raise BadCalendarError("hours: a week without any would let every clock stand still for ever")
        try:
            free = frozenset(date.fromisoformat(each) for each in holidays)
        except (ValueError, TypeError):
            raise BadCalendarError("holidays: days like 2026-12-25 would be right") from None
        return cls(zone=zone, hours=week, holidays=free)

    def elapsed(self, start: datetime, end: datetime) -> timedelta:
        """Return the working time between two instants; nothing for a span that ends before it begins."""
        total = _NOTHING
        for opens, closes in self._windows(start):
            if opens >= end:
                break
            total += max(min(closes, end) - max(opens, start), _NOTHING)
        return total

    def after(self, start: datetime, amount: timedelta) -> datetime | None:
        """Return the first instant at which `amount` of working time has passed; None: not within five years."""
        if amount <= _NOTHING:
            return start
        left = amount
        for opens, closes in self._windows(start):
            begins = max(opens, start)
            if closes - begins >= left:
                return begins + left
            left -= max(closes - begins, _NOTHING)
        return None

    def _windows(self, start: datetime) -> Iterator[tuple[datetime, datetime]]:
        """Yield the working spans that end after `start`, in order, as instants."""
        day = start.astimezone(self.zone).date() - timedelta(days=1)
        before = datetime.min.replace(tzinfo=UTC)
        for _ in range(LONGEST_SEARCH_DAYS):
            for opens_at, closes_at in () if day in self.holidays else self.hours[day.weekday()]:
                # Where the clocks change, the end of one span may come after the next one's beginning.
                opens, closes = max(self._instant(day, opens_at), before), self._instant(day, closes_at)
                if closes > opens:
                    before = closes
                    if closes > start:
                        yield opens, closes
            day += timedelta(days=1)

    def _instant(self, day: date, minutes: int) -> datetime:
        whole_days, rest = divmod(minutes, 24 * 60)
        wall = datetime.combine(day + timedelta(days=whole_days), time(*divmod(rest, 60)), tzinfo=self.zone)
        return wall.astimezone(UTC)


@dataclass(frozen=True)
class Always:
    """The calendar without nights: all time is working time."""

    def elapsed(self, start: datetime, end: datetime) -> timedelta:
        """Return the time between two instants; nothing for a span that ends before it begins."""
        return max(end - start, _NOTHING)

    def after(self, start: datetime, amount: timedelta) -> datetime | None:
        """Return the instant `amount` later."""
        return start + max(amount, _NOTHING)


def _spans(day: str, said: Any) -> tuple[tuple[int, int], ...]:
    try:
        spans = tuple((_minutes(opens), _minutes(closes)) for opens, closes in said)
    except (ValueError, TypeError, AttributeError):
        raise BadCalendarError(f'hours: {day}: a list like [["09:00", "17:00"]] would be right') from None
    edges = [edge for span in spans for edge in span]
    if any(opens >= closes for opens, closes in spans) or edges != sorted(edges):
        raise BadCalendarError(f"hours: {day}: spans in order, each ending after it begins, would be right")
    return spans


def _minutes(text: str) -> int:
    """Return minutes from midnight; 24:00 is the day's end."""
    hour, _, minute = text.partition(":")
    found = int(hour) * 60 + int(minute)
    if not (len(hour) == len(minute) == len("00") and int(minute) < 60 and 0 <= found <= 24 * 60):  # noqa: PLR2004
        raise ValueError(text)
    return found

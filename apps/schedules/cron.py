"""When a schedule fires: cron in a time zone, and what is due after an outage. Values in, values out.

Where clocks change, as Debian's cron has it. A time that a spring forward leaves out fires once, at the first instant
after the gap; one that an autumn back repeats fires the first time only. An expression whose minute or hour is a
wildcard follows real time instead: nothing is left out, and nothing is doubled for being late or early.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import islice
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
FIELDS = 5
LATE_AFTER = timedelta(seconds=30)  # what is later than that was missed, and the catch-up policy is asked
MOST_A_PASS = 1_000
MOST_SKIPPED = 100


class BadCronError(ValueError):
    """A text is no cron expression that ever fires."""


class BadZoneError(ValueError):
    """A text is no IANA time zone."""


@dataclass(frozen=True, kw_only=True)
class Due:
    """A fire time that has come; `skipped` says why it makes no job."""

    fire_at: datetime
    skipped: str | None = None


def check(expression: str, *, zone: str, now: datetime) -> None:
    """Raise `BadCronError` or `BadZoneError` for what cannot be a schedule."""
    if next(times(expression, zone=zone, after=now), None) is None:
        raise BadCronError("it never fires")


def times(expression: str, *, zone: str, after: datetime) -> Iterator[datetime]:
    """Yield the fire times later than `after`, UTC, ascending."""
    text = MACROS.get(expression.strip(), expression.strip())
    if len(text.split()) != FIELDS:
        raise BadCronError(f"five fields would be right, or one of {', '.join(MACROS)}")
    try:
        found = CronSim(text, after.astimezone(_zone(zone)))
    except CronSimError as error:
        raise BadCronError(str(error)) from error
    last = after
    for each in found:
        instant = each.astimezone(UTC)
        if instant > last:
            last = instant
            yield instant


def due(
    expression: str, *, zone: str, first: datetime, now: datetime, catch_up: str, window: timedelta
) -> tuple[list[Due], datetime]:
    """Return what came due from `first` (a fire time) until `now`, and up to which instant that is all.

    `none` runs what is on time alone, `last` the newest as well, `all` everything within the window. What is missed is
    told, the newest 100; a pass takes 1,000 times at most, and the next goes on behind them.
    """
    come = list(islice(_until(expression, zone=zone, start=first, now=now), MOST_A_PASS))
    done = come[-1] if len(come) == MOST_A_PASS else now
    newest = come[-1:] if done == now else []
    inside = [each for each in come if now - each <= window]
    wanted = {"none": [], "last": [each for each in newest if each in inside], "all": inside}[catch_up]
    runs = {each for each in come if now - each <= LATE_AFTER} | set(wanted)
    missed = [each for each in come if each not in runs][-MOST_SKIPPED:]
    found = [Due(fire_at=each) for each in runs] + [Due(fire_at=each, skipped="missed") for each in missed]
    return sorted(found, key=lambda each: each.fire_at), done


def jittered(fire_at: datetime, *, schedule_id: str, jitter_s: int) -> datetime:
    """Return when the fire is submitted: later by up to `jitter_s`, always the same for the same fire."""
    if jitter_s == 0:
        return fire_at
    spread = int.from_bytes(sha256(f"{schedule_id} {fire_at.isoformat()}".encode()).digest()[:8], "big")
    return fire_at + timedelta(milliseconds=spread % (jitter_s * 1000 + 1))


def within(expression: str, *, zone: str, start: datetime, end: datetime, most: int) -> Sequence[datetime]:
    """Return the fire times from `start` to before `end`, `most` of them and one more at most."""
    found = (each for each in _until(expression, zone=zone, start=start, now=end) if each < end)
    return list(islice(found, most + 1))


def _until(expression: str, *, zone: str, start: datetime, now: datetime) -> Iterator[datetime]:
    for each in times(expression, zone=zone, after=start - timedelta(microseconds=1)):
        if each > now:
            return
        yield each


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise BadZoneError(f"there is no time zone '{name}': an IANA name like Europe/Vienna would be right") from error

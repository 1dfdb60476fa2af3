"""The life of a component: what it is taken to be, and how signals and the clock change that. Pure: values in and out.

A signal is what was heard of it (success, fail, the start of a run); the clock speaks when nothing was heard in time.
Thresholds give it hysteresis: so many failures in a row before it is `down`, so many successes in a row before it is
`up` again, and the more the oftener it went bad lately. What the clock alone would say is not said while the plane does
not trust its own ears: then it is `unknown`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple


class Status(StrEnum):
    """What a component is taken to be."""

    NEW = "new"  # registered, not heard of yet
    UP = "up"  # heard of in time, and well
    GRACE = "grace"  # late, but not yet too late
    DEGRADED = "degraded"  # it failed, but not often enough to be down; or its measures are bad; or a part is lost
    DOWN = "down"  # it failed too often in a row, was too late, or is expected and was never heard of
    PAUSED = "paused"  # somebody said that nobody shall worry; no signal changes that
    UNKNOWN = "unknown"  # too late by the clock, while the plane does not trust its own ears


class Signal(StrEnum):
    """What is heard of a component."""

    SUCCESS = "success"
    FAIL = "fail"
    START = "start"  # of a run: says nothing yet of how it ends


ALARMS = frozenset({Status.DEGRADED, Status.DOWN})
FLAP_WINDOW = timedelta(minutes=10)
FLAPS = 3  # alarms within the window from which on recovery has to be proven longer
MOST_DOUBLINGS = 5
KEPT_ALARMS = 16

LATE, TIMEOUT, NEVER_SEEN, DISTRUST = "late", "timeout", "never_seen", "distrust"
HEARD, FAILED, PAUSE, RESUME, STOPPED = "heard", "failed", "paused", "resumed", "stopped"


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What was agreed of a component. `interval_s` None: its signals alone judge it, once it was heard of.

    Until then, if it is expected, it has its grace.
    """

    interval_s: float | None
    grace_s: float
    failures: int = 1
    successes: int = 1
    expected: bool = False


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What is known of it. `failures` and `successes` are in a row; `alarms`: when it went bad lately.

    `awaited_from`: the clock counts from here, or from the last sign if that is later. `alarmed_since`: since when
    others have been told that it is not well, None: they have not, or were told that it is again.
    """

    status: Status
    since: datetime
    awaited_from: datetime
    reason: str = ""
    seen_at: datetime | None = None
    failures: int = 0
    successes: int = 0
    alarms: tuple[datetime, ...] = ()
    alarmed_since: datetime | None = None


class Flip(NamedTuple):
    """A change of status, dated to when it became true."""

    old: Status
    new: Status
    reason: str
    at: datetime


Step = tuple[Standing, tuple[Flip, ...]]


def heard(
    standing: Standing,
    *,
    terms: Terms,
    signal: Signal,
    at: datetime,
    reason: str = "",
    partial: bool = False,
    impaired: str | None = None,
) -> Step:
    """Return the standing after a signal of `at`, and the flips it made.

    `partial`: what failed is a part, and others serve on; it degrades and never brings down. `impaired`: its measures
    are bad, by this name, whatever it says of itself.
    """
    if standing.status is Status.PAUSED or signal is Signal.START:
        seen = standing if signal is Signal.START else replace(standing, seen_at=_later(standing.seen_at, at))
        return seen, ()
    if signal is Signal.FAIL:
        failures = standing.failures + 1
        known = replace(standing, seen_at=_later(standing.seen_at, at), failures=failures, successes=0)
        down = standing.status is Status.DOWN or (failures >= terms.failures and not partial)
        return _to(known, Status.DOWN if down else Status.DEGRADED, reason=reason or FAILED, at=at)
    known = replace(
        standing, seen_at=_later(standing.seen_at, at), failures=0, successes=min(standing.successes + 1, 1_000_000)
    )
    if standing.status in ALARMS and known.successes < needed(standing, terms=terms, at=at):
        return known, ()
    return _to(known, Status.DEGRADED if impaired else Status.UP, reason=impaired or reason or HEARD, at=at)


def looked(standing: Standing, *, terms: Terms, now: datetime, trusted: bool) -> Step:
    """Return the standing after a look at the clock, and the flips that it made, each dated to its own deadline."""
    late, over = _deadlines(standing, terms=terms)
    if late is None or over is None or now < min(late, over):
        return standing, ()
    if not trusted:
        return (standing, ()) if standing.status is Status.UNKNOWN else _to(standing, Status.UNKNOWN, DISTRUST, at=now)
    flips: tuple[Flip, ...] = ()
    if standing.status is Status.UP:
        standing, flips = _to(standing, Status.GRACE, LATE, at=late)
    if now >= over:
        never = standing.seen_at is None and standing.status is Status.NEW
        standing, more = _to(replace(standing, successes=0), Status.DOWN, NEVER_SEEN if never else TIMEOUT, at=over)
        flips += more
    return standing, flips


def due_at(standing: Standing, *, terms: Terms) -> datetime | None:
    """Return when a look will change something unless a sign comes first; None: never."""
    late, over = _deadlines(standing, terms=terms)
    return late if standing.status is Status.UP else over


def pause(standing: Standing, *, at: datetime) -> Step:
    """Return the standing in which nobody worries about it, whatever comes."""
    return _to(standing, Status.PAUSED, PAUSE, at=at)


def resume(standing: Standing, *, at: datetime) -> Step:
    """Return the standing in which it is awaited anew; what it did before is not held against it."""
    if standing.status is not Status.PAUSED:
        return standing, ()
    fresh = replace(standing, awaited_from=at, failures=0, successes=0, alarms=())
    return _to(fresh, Status.NEW, RESUME, at=at)


def stopped(standing: Standing, *, at: datetime) -> Step:
    """Return the standing of what ended in order: no alarm; if it is expected it has its grace to come back."""
    if standing.status in {Status.PAUSED, Status.NEW}:
        return standing, ()
    return _to(replace(standing, awaited_from=at, seen_at=None, failures=0, successes=0), Status.NEW, STOPPED, at=at)


def distrusted(standing: Standing, *, at: datetime) -> Step:
    """Return the standing of what seems lost while the plane does not trust its ears."""
    if standing.status in {Status.PAUSED, Status.DOWN, Status.NEW}:
        return standing, ()
    return _to(standing, Status.UNKNOWN, DISTRUST, at=at)


def awaited_anew(standing: Standing, *, at: datetime) -> Standing:
    """Return the standing once the plane trusts its ears again: whoever was not heard meanwhile has his time anew.

    The watcher says it of all rows at once, by a statement of the same words (`operations.watch.ANEW`).
    """
    return standing if standing.status in {Status.PAUSED, Status.DOWN} else replace(standing, awaited_from=at)


def flapping(alarms: Sequence[datetime], *, at: datetime) -> bool:
    """Say whether something goes bad so often, by its last alarms, that recovery has to be proven longer."""
    return _lately(alarms, at=at) > FLAPS


def needed(standing: Standing, *, terms: Terms, at: datetime) -> int:
    """Return how many successes in a row bring it up again: doubled for each alarm too many of the last minutes."""
    doublings: int = min(max(_lately(standing.alarms, at=at) - FLAPS, 0), MOST_DOUBLINGS)
    return terms.successes << doublings


def _lately(alarms: Sequence[datetime], *, at: datetime) -> int:
    return sum(1 for alarm in alarms if at - alarm <= FLAP_WINDOW)


def _deadlines(standing: Standing, *, terms: Terms) -> tuple[datetime | None, datetime | None]:
    """Return when it is late and when too late; None where the clock has no say."""
    never = standing.status is Status.NEW and standing.seen_at is None
    if standing.status in {Status.PAUSED, Status.DOWN} or (never and not terms.expected):
        return None, None
    if terms.interval_s is None and not never:
        return None, None
    late = _later(standing.seen_at, standing.awaited_from) + timedelta(seconds=terms.interval_s or 0)
    over = late + timedelta(seconds=terms.grace_s)
    return (late if standing.status is Status.UP else over), over


def _to(standing: Standing, status: Status, reason: str, *, at: datetime) -> Step:
    if standing.status is status:
        return standing, ()
    at = max(at, standing.since)  # history does not run backwards, whatever a signal's own time was
    alarms = standing.alarms
    if status in ALARMS and standing.status not in ALARMS:
        alarms = (*alarms, at)[-KEPT_ALARMS:]
    alarmed = standing.alarmed_since
    if status in ALARMS:
        alarmed = alarmed or at
    elif status in {Status.UP, Status.PAUSED, Status.NEW}:
        alarmed = None
    after = replace(
        standing, status=status, since=at, reason=reason, alarms=alarms, alarmed_since=alarmed,
        successes=0 if status in ALARMS else standing.successes,
    )  # fmt: skip
    return after, (Flip(standing.status, status, reason, at),)


def _later(one: datetime | None, other: datetime) -> datetime:
    return other if one is None else max(one, other)

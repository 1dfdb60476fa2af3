"""A ticket's clocks: how long until somebody must have answered, and until it must be resolved. Pure.

Computed from the log whenever they are asked for, under the policy as it was when the ticket was opened: there is no
counter that could drift, and no later change of a policy that rewrites the past. Reopening begins a new cycle; the old
one stays readable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from apps.tickets.business import Always, Calendar
from apps.tickets.entries import Entry, Kind

Hours = Calendar | Always
_NOTHING: Final = timedelta(0)


class Goal(StrEnum):
    """What a clock measures."""

    RESPONSE = "response"  # from opening until somebody answers for it
    RESOLUTION = "resolution"  # from opening until it is resolved, without the time it waits for others


BEGINS: Final = frozenset({Kind.OPENED, Kind.REOPENED})
ANSWERS: Final = frozenset({Kind.ACKNOWLEDGED, Kind.STARTED, Kind.WAITING})
ENDS: Final = frozenset({Kind.RESOLVED, Kind.AUTO_RESOLVED})
# A merged ticket's clocks stand still: another one's run for it.
PAUSES: Final = frozenset({Kind.WAITING, Kind.MERGED})
RESUMES: Final = frozenset({Kind.STARTED, Kind.ACKNOWLEDGED, Kind.ACK_EXPIRED, Kind.UNMERGED})


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What was promised when the ticket was opened; None: nothing about that. Seconds of working time."""

    name: str = "none"
    response_s: int | None = None
    resolution_s: int | None = None
    ack_timeout_s: int = 1800
    hours: Hours = field(default_factory=Always)

    @classmethod
    def read(cls, kept: Mapping[str, Any]) -> Policy:
        """Return the policy as a ticket keeps it."""
        calendar = kept.get("calendar")
        hours = Always() if calendar is None else Calendar.read(**calendar)
        names = ("name", "response_s", "resolution_s", "ack_timeout_s")
        return cls(hours=hours, **{name: kept[name] for name in names if kept.get(name) is not None})

    def goal_s(self, goal: Goal) -> int | None:
        """Return the seconds promised."""
        return self.response_s if goal is Goal.RESPONSE else self.resolution_s


@dataclass(frozen=True, kw_only=True)
class Clock:
    """One cycle of one clock, as it stands at the moment it was asked for."""

    goal: Goal
    cycle: int
    goal_s: int
    started_at: datetime
    stopped_at: datetime | None
    paused: bool
    elapsed_s: float
    breach_at: datetime | None

    @property
    def remaining_s(self) -> float:
        """Return what is left of the promise; negative once it is broken."""
        return self.goal_s - self.elapsed_s

    @property
    def breached(self) -> bool:
        """Return whether it took longer than was promised."""
        return self.elapsed_s > self.goal_s or (self.elapsed_s == self.goal_s and self.stopped_at is None)

    @property
    def running(self) -> bool:
        """Return whether it goes on."""
        return self.stopped_at is None and not self.paused


@dataclass(kw_only=True)
class _Running:
    """A clock while the log is read: what has passed, and since when it runs."""

    started_at: datetime
    passed: timedelta = _NOTHING
    since: datetime | None = None
    stopped_at: datetime | None = None


def clocks(entries: Sequence[Entry], *, policy: Policy, now: datetime) -> list[Clock]:
    """Return every cycle of the clocks that the policy has, oldest first, as they stand at `now`."""
    found = []
    for goal in Goal:
        goal_s = policy.goal_s(goal)
        if goal_s is None:
            continue
        for number, each in enumerate(_cycles(goal, entries, hours=policy.hours), start=1):
            found.append(_shown(goal, number, each, goal_s=goal_s, hours=policy.hours, now=now))
    return found


def _cycles(goal: Goal, entries: Sequence[Entry], *, hours: Hours) -> list[_Running]:
    stops = ENDS | ANSWERS if goal is Goal.RESPONSE else ENDS
    cycles: list[_Running] = []
    for entry in entries:
        if entry.kind in BEGINS:
            cycles.append(_Running(started_at=entry.at, since=entry.at))
            continue
        if not cycles or cycles[-1].stopped_at is not None:
            continue
        clock = cycles[-1]
        if entry.kind in stops:
            _pause(clock, at=entry.at, hours=hours)
            clock.stopped_at = entry.at
        elif entry.kind in PAUSES:
            _pause(clock, at=entry.at, hours=hours)
        elif entry.kind in RESUMES and clock.since is None and not _goes_on_waiting(entry):
            clock.since = entry.at
    return cycles


def _goes_on_waiting(entry: Entry) -> bool:
    """Return whether a ticket came back from a merge into the wait that it was in."""
    return entry.kind is Kind.UNMERGED and entry.data.get("state") == "waiting"


def _pause(clock: _Running, *, at: datetime, hours: Hours) -> None:
    if clock.since is not None:
        clock.passed += hours.elapsed(clock.since, at)
        clock.since = None


def _shown(goal: Goal, number: int, clock: _Running, *, goal_s: int, hours: Hours, now: datetime) -> Clock:
    passed = clock.passed
    breach_at = None
    if clock.since is not None:
        passed += hours.elapsed(clock.since, now)
        breach_at = hours.after(clock.since, timedelta(seconds=goal_s) - clock.passed)
    return Clock(
        goal=goal,
        cycle=number,
        goal_s=goal_s,
        started_at=clock.started_at,
        stopped_at=clock.stopped_at,
        paused=clock.since is None and clock.stopped_at is None,
        elapsed_s=passed.total_seconds(),
        breach_at=breach_at,
    )

"""When something is sent: groups gather, quiet hours hold, caps bound, and no channel delays another. Pure.

Threads are few, and an attempt may hold one for all of its time-out. So a channel has few together, one that fails or
was never measured a single one; and what is owed longest comes first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from datetime import datetime, time, timedelta
from typing import Final, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

from apps.notifications.lifecycle import Reason, Severity

THREADS: Final = 16
OF_A_CHANNEL: Final = 4
OF_A_PROVIDER: Final = 6
CAP_WINDOW_S: Final = 60.0


class QuietHours(NamedTuple):
    """A part of each day, by the clock of a place; it may go over midnight."""

    begin: time
    end: time
    zone: str = "UTC"

    def left_s(self, now: datetime) -> float:
        """Return the seconds until it is over; 0 outside of it. Right across changes of the clock."""
        place = ZoneInfo(self.zone)
        today = now.astimezone(place).date()
        for day in (today - timedelta(days=1), today):
            until = day if self.end > self.begin else day + timedelta(days=1)
            begins = datetime.combine(day, self.begin, tzinfo=place)
            ends = datetime.combine(until, self.end, tzinfo=place)
            if begins.timestamp() <= now.timestamp() < ends.timestamp():
                return ends.timestamp() - now.timestamp()
        return 0.0


class Wait(NamedTuple):
    """When something joins its group's message, and why it is said."""

    due_in_s: float
    reason: Reason


def wait(
    *, severity: Severity, wait_s: float, interval_s: float, told_ago_s: float | None, quiet_s: float = 0.0
) -> Wait:
    """Return when a new alert of a group is told: `told_ago_s` ago the group was told last, None for never.

    Below 0 the group will be told so many seconds from now, and the alert goes with it.

    What is critical waits for nobody: neither for its group, nor for the interval, nor for the morning.
    """
    known = told_ago_s is not None and told_ago_s < max(interval_s, CAP_WINDOW_S)
    reason = Reason.NEW_ALERTS if known else Reason.FIRST
    if severity is Severity.CRITICAL:
        return Wait(0.0, reason)
    if told_ago_s is None:
        gathering = wait_s
    else:
        gathering = -told_ago_s if told_ago_s < 0 else max(wait_s, interval_s - told_ago_s)
    return Wait(max(gathering, quiet_s), reason)


class Owing(NamedTuple):
    """A channel to which something is owed now, and how it has done."""

    channel_id: UUID
    provider: str
    failures: int
    measured: bool
    due_at: datetime
    per_minute: int | None = None
    sent_lately: int = 0

    @property
    def most(self) -> int:
        """How many of its messages may be under way."""
        return OF_A_CHANNEL if self.measured and not self.failures else 1

    @property
    def left(self) -> int:
        """How many more messages its cap leaves in this minute."""
        return THREADS if self.per_minute is None else max(self.per_minute - self.sent_lately, 0)


def allowances(owing: Sequence[Owing], *, under_way: Collection[Owing], threads: int = THREADS) -> dict[UUID, int]:
    """Return channel → messages that may begin now, beside those `under_way` (one entry for each)."""
    channels = Counter(each.channel_id for each in under_way)
    providers = Counter(each.provider for each in under_way)
    given: Counter[UUID] = Counter()
    for _ in range(threads - len(under_way)):
        possible = [
            each
            for each in owing
            if channels[each.channel_id] < each.most
            and providers[each.provider] < OF_A_PROVIDER
            and given[each.channel_id] < each.left
        ]
        if not possible:
            break
        chosen = min(possible, key=lambda each: (channels[each.channel_id], each.due_at))
        given[chosen.channel_id] += 1
        channels[chosen.channel_id] += 1
        providers[chosen.provider] += 1
    return dict(given)

"""The life of a notification and of its deliveries. Decisions only: no clock, no database.

A notification is what somebody wants told; a delivery is one channel's part in that; an attempt is one request to the
channel. Each has its own states, so that "was it told?" and "did this provider take it?" are never the same question.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from http import HTTPStatus
from typing import Final, NamedTuple


class Action(StrEnum):
    """What is said about a thing: PagerDuty's words."""

    TRIGGER = "trigger"
    ACKNOWLEDGE = "acknowledge"
    RESOLVE = "resolve"


class Severity(StrEnum):
    """How bad it is, in rising order."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """Its place in the order, from 0."""
        return list(Severity).index(self)


class Category(StrEnum):
    """What kind of telling it is."""

    ALERT = "alert"  # something is wrong, until it is resolved
    MESSAGE = "message"  # somebody says something to people
    EVENT = "event"  # the system says that something happened


class Classification(StrEnum):
    """How carefully it is to be handled, in rising order."""

    PUBLIC = "public"
    INTERNAL = "internal"
    CONFIDENTIAL = "confidential"
    RESTRICTED = "restricted"

    @property
    def rank(self) -> int:
        """Its place in the order, from 0."""
        return list(Classification).index(self)


class Status(StrEnum):
    """Whether somebody was told."""

    PENDING = "pending"  # nobody yet
    DELIVERED = "delivered"  # by some route
    UNDELIVERED = "undelivered"  # nobody within the time promised; a later success makes it delivered
    SUPPRESSED = "suppressed"  # nobody, by decision: silenced, inhibited, resolved before, or no route asks for it


class State(StrEnum):
    """Where a delivery stands."""

    QUEUED = "queued"  # it is sent when its time has come, or is being sent
    SENT = "sent"  # the channel took it
    FAILED = "failed"  # every try was used, or the channel refuses it for good
    SKIPPED = "skipped"  # it will not be sent, by decision; the row says why


class Reason(StrEnum):
    """Why something is sent now."""

    FIRST = "first"  # the first of its group
    NEW_ALERTS = "new_alerts"  # it joined a group that was told before
    RESOLVED = "resolved"  # those who were told of it hear of its end
    REPEAT = "repeat"  # it goes on, and nobody has acknowledged it
    ESCALATION = "escalation"  # it grew worse
    FALLBACK = "fallback"  # another channel failed, or took too long
    OUT_OF_BAND = "out_of_band"  # nobody was told in time: the auditor tries another way


OPEN_REASONS: Final = tuple(reason for reason in Reason if reason is not Reason.RESOLVED)
PAUSES_S: Final = (5.0, 30.0, 120.0, 600.0, 1800.0, 7200.0, 18_000.0)
MOST_TRIES: Final = len(PAUSES_S) + 1
JITTER: Final = 0.2
FAILURES_TO_OPEN: Final = 3
OPEN_S: Final = (10.0, 300.0)
# A fallback begins when the channel takes longer than it does 19 times of 20; one that was never measured has 5 s. The
# bounds keep a quick channel from being hedged for a hiccup, and a slow one from using up the 20 s that are promised.
HEDGE_UNKNOWN_S: Final = 5.0
HEDGE_LEAST_S: Final = 2.0
HEDGE_MOST_S: Final = 10.0
MEASURED: Final = 5
FINAL: Final = frozenset(
    {
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.FORBIDDEN,
        HTTPStatus.NOT_FOUND,
        HTTPStatus.METHOD_NOT_ALLOWED,
        HTTPStatus.GONE,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.UNPROCESSABLE_ENTITY,
    }
)


class Answer(NamedTuple):
    """What came of one attempt: accepted or not, and if not, the stable word for why; `status` as the channel says."""

    accepted: bool
    status: int | None = None
    error: str | None = None
    permanent: bool = False
    retry_after_s: float | None = None


class Next(NamedTuple):
    """What follows an attempt for its delivery: a state, and for `queued` after how many seconds."""

    state: State
    pause_s: float | None = None


def of_status(status: int, *, retry_after_s: float | None = None) -> Answer:
    """Return the answer that an HTTP status is: 2xx is taken, some refusals are for good, all else may pass."""
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return Answer(accepted=True, status=status)
    return Answer(False, status, f"status_{status}", status in FINAL, retry_after_s)


def after(answer: Answer, *, tries: int, dice: float) -> Next:
    """Return what follows try `tries` (1-based); `dice` is from 0 to 1 and spreads what failed together."""
    if answer.accepted:
        return Next(State.SENT)
    if answer.permanent or tries >= MOST_TRIES:
        return Next(State.FAILED)
    return Next(State.QUEUED, max(PAUSES_S[tries - 1] * (1 + JITTER * dice), answer.retry_after_s or 0.0))


def open_s(answer: Answer, *, failures: int) -> float:
    """Return for how many seconds a channel is left alone after its `failures`-th failure in a row."""
    asked = answer.retry_after_s or 0.0
    if failures < FAILURES_TO_OPEN:
        return asked
    return max(asked, min(OPEN_S[0] * 2.0 ** min(failures - FAILURES_TO_OPEN, 10), OPEN_S[1]))


def hedge_s(recent_ms: Sequence[int]) -> float:
    """Return after how many seconds a channel's fallback begins: its own p95, within bounds."""
    if len(recent_ms) < MEASURED:
        return HEDGE_UNKNOWN_S
    ordered = sorted(recent_ms)
    p95_s = ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))] / 1000
    return min(max(p95_s, HEDGE_LEAST_S), HEDGE_MOST_S)

"""The life of a delivery, and when a webhook is given up. Decisions only: no clock, no database.

The schedule is Svix's: at once, then after 5 s, 5 min, 30 min, 2 h, 5 h, 10 h and 10 h. What a receiver answers decides
about its own delivery (another try, or none) and about the webhook: a receiver that fails again and again is asked
less and less often, whatever is owed to it, so that its time-outs are nobody else's.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from http import HTTPStatus
from typing import Final, NamedTuple


class State(StrEnum):
    """Where a delivery stands."""

    WAITING = "waiting"  # it is sent when its time has come
    SENDING = "sending"  # a sender holds it, for as long as its lease lasts
    DELIVERED = "delivered"  # the receiver answered 2xx
    FAILED = "failed"  # every try was used
    HELD = "held"  # its webhook was disabled: it is not sent unless somebody asks


class Reason(StrEnum):
    """Why a webhook is disabled."""

    BY_REQUEST = "by_request"  # somebody asked
    GONE = "gone"  # the receiver answered 410
    FAILING = "failing"  # nothing but failures for five days


OWED: Final = (State.WAITING, State.SENDING)
REDELIVERABLE: Final = (State.DELIVERED, State.FAILED, State.HELD)
PAUSES_S: Final = (5.0, 300.0, 1800.0, 7200.0, 18_000.0, 36_000.0, 36_000.0)
MOST_TRIES: Final = len(PAUSES_S) + 1
JITTER: Final = 0.2
GIVE_UP_AFTER: Final = timedelta(days=5)
# A failure after a day without any begins a new row of them: two lost events a week apart are no dead receiver.
ROW_ENDS_AFTER: Final = timedelta(days=1)
FAILURES_TO_OPEN: Final = 3
OPEN_S: Final = (10.0, 300.0)


class Answer(NamedTuple):
    """What came of one request: a status, or the word for why there is none."""

    status: int | None
    error: str | None = None
    retry_after_s: float | None = None

    @property
    def accepted(self) -> bool:
        """Whether the receiver took it: any 2xx."""
        return self.status is not None and HTTPStatus.OK <= self.status < HTTPStatus.MULTIPLE_CHOICES

    @property
    def gone(self) -> bool:
        """Whether the receiver wants nothing any more."""
        return self.status == HTTPStatus.GONE

    @property
    def busy_s(self) -> float | None:
        """The seconds in which the receiver wants to be left alone; None where it did not say so."""
        asked = self.status in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}
        return self.retry_after_s if asked else None


class Standing(NamedTuple):
    """How a webhook's receiver has done: failures in a row, since when, and the last of them."""

    failures: int = 0
    failing_since: datetime | None = None
    failed_at: datetime | None = None


class Next(NamedTuple):
    """What follows a request for its delivery: a state, and for `waiting` after how many seconds."""

    state: State
    pause_s: float | None = None


def after(answer: Answer, *, tries: int, dice: float) -> Next:
    """Return what follows try `tries` (1-based); `dice` is from 0 to 1 and spreads what failed together."""
    if answer.accepted:
        return Next(State.DELIVERED)
    if tries >= MOST_TRIES or answer.gone:
        return Next(State.FAILED)
    pause_s = PAUSES_S[tries - 1] * (1 + JITTER * dice)
    return Next(State.WAITING, max(pause_s, answer.busy_s or 0.0))


def standing_after(answer: Answer, *, before: Standing, now: datetime) -> Standing:
    """Return how the receiver has done, this answer counted."""
    if answer.accepted:
        return Standing()
    row_goes_on = before.failed_at is not None and now - before.failed_at < ROW_ENDS_AFTER
    since = before.failing_since if row_goes_on and before.failing_since is not None else now
    return Standing(before.failures + 1, since, now)


def given_up(answer: Answer, *, standing: Standing, now: datetime) -> Reason | None:
    """Return why the webhook is disabled after this answer; None while it is not."""
    if answer.gone:
        return Reason.GONE
    failing = not answer.accepted and standing.failing_since is not None
    return Reason.FAILING if failing and now - (standing.failing_since or now) >= GIVE_UP_AFTER else None


def left_alone_s(answer: Answer, *, standing: Standing) -> float:
    """Return for how many seconds the receiver is sent nothing at all: it asked so, or it fails again and again."""
    open_s = 0.0
    if standing.failures >= FAILURES_TO_OPEN:
        open_s = min(OPEN_S[0] * 2.0 ** min(standing.failures - FAILURES_TO_OPEN, 10), OPEN_S[1])
    return max(open_s, answer.busy_s or 0.0)

"""What a queue's canary says of those who consume it. Pure.

A worker may answer every question and consume nothing. So a small task travels through each queue the way jobs do; when
it does not come back, either nobody takes from the queue, or everybody there is rightly at long work.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

EVERY_S = 15.0
AGAIN_S = 2.0  # after one that was not answered
PATIENCE_S = 10.0


class Word(StrEnum):
    """What a canary's end says."""

    WAITING = "waiting"
    ANSWERED = "answered"
    BUSY = "busy"  # not answered, and every process there is at work: says nothing
    UNSENT = "unsent"  # the broker did not take it: says nothing of the queue
    STALLED = "stalled"  # not answered, though somebody there has nothing to do


class Flight(NamedTuple):
    """A canary under way: its age, whether the broker took it, and what happens in its pool meanwhile.

    `claimed_since`: jobs that its pool's workers began since it was sent. `idle`: worker processes with nothing to do;
    None where the plane cannot tell.
    """

    age_s: float
    sent: bool | None
    answered: bool
    claimed_since: int
    idle: int | None


def judge(flight: Flight) -> Word:
    """Return what a canary says now."""
    if flight.answered:
        return Word.ANSWERED
    if flight.sent is False:
        return Word.UNSENT
    if flight.age_s < PATIENCE_S:
        return Word.WAITING
    consumes = flight.claimed_since > 0 or (flight.idle is not None and flight.idle <= 0)
    return Word.BUSY if consumes else Word.STALLED

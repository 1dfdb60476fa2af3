"""What a migration's events mean to people: trouble, a question, or that it is well again. Pure.

One trouble is told by several events (a wave fails, and so it pauses; it stalls, and so it is brought back): the first
of them counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

from apps.migrations import events
from apps.migrations.advice import what_next
from apps.migrations.lifecycle import State

BY_ITSELF: Final = "plane"
# Why it stands still or goes back, where an event before has said so.
SAID_BEFORE: Final = frozenset({"stalled", "wave_reverted"})
ABORTED: Final = "aborted"

_NOT_BEGUN: Final = "not begun"
_SENTENCES: Final = {
    events.STALLED: "{which} makes no progress at {step}",
    events.INCONCLUSIVE: "{which} waits for a person's verdict: {reason}",
    events.REVERTING: "{which} is being brought back: {reason}",
    _NOT_BEGUN: "{which} was not begun: {reason}",
    events.FAILED: "{which} failed: {reason}",
    events.TARGET_FAILED: "{which} failed: {reason}",
    events.TARGET_SET_ASIDE: "{which} left a target alone that is not as it was planned: {reason}",
}


class Meaning(StrEnum):
    """What an event means."""

    TROUBLE = "trouble"  # it stopped, or goes back, by itself: somebody has to look
    QUESTION = "question"  # a gate could not tell: somebody has to
    NOT_BEGUN = "not_begun"  # there is no plan to run: nothing was touched
    GIVEN_UP = "given_up"  # a person gave it up: nothing presses any more, and what was wrong still is
    GOES_ON = "goes_on"  # a person let it go on
    WELL = "well"  # it is done, or everything is as before
    NOTHING = "nothing"


HEARD: Final = (
    events.STALLED,
    events.PAUSED,
    events.REVERTING,
    events.INCONCLUSIVE,
    events.FAILED,
    events.ABORTING,
    events.RESUMED,
    events.COMPLETED,
    events.REVERTED,
)
_ALWAYS: Final = {
    events.STALLED: Meaning.TROUBLE,
    events.INCONCLUSIVE: Meaning.QUESTION,
    events.ABORTING: Meaning.GIVEN_UP,
    events.RESUMED: Meaning.GOES_ON,
    events.COMPLETED: Meaning.WELL,
    events.REVERTED: Meaning.WELL,
}


def meaning(event_type: str, data: Mapping[str, Any]) -> Meaning:
    """Return what an event of `HEARD` means to people."""
    reason = data.get("reason")
    if event_type in {events.PAUSED, events.REVERTING}:
        told = data.get("by") == BY_ITSELF and reason not in SAID_BEFORE
        return Meaning.TROUBLE if told else Meaning.NOTHING
    if event_type == events.FAILED:
        if reason == ABORTED:
            return Meaning.GIVEN_UP
        return Meaning.NOT_BEGUN if data.get("wave") is None else Meaning.TROUBLE
    return _ALWAYS.get(event_type, Meaning.NOTHING)


def next_step(data: Mapping[str, Any]) -> str | None:
    """Return what a person may do about it; an event tells the status that it led to."""
    status = data.get("status")
    if status not in set(State):
        return None
    return what_next(status=State(status), reason=data.get("reason"), begun=data.get("wave") is not None)


def sentence(event_type: str, data: Mapping[str, Any]) -> str:
    """Return it in a line: which migration, and what is the matter. Names no target: its account may not know them."""
    kind = _NOT_BEGUN if event_type == events.FAILED and data.get("wave") is None else event_type
    return _SENTENCES.get(kind, "{which} stopped itself: {reason}").format(
        which=f"{data.get('name')} {data.get('version_from')} → {data.get('version_to')}",
        reason=str(data.get("reason") or "no reason given").replace("_", " "),
        step=data.get("step"),
    )

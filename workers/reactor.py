"""The reactor: what the house does about its own events, one follower of the log for each reaction.

A reaction's writes and its follower's step are one transaction: killed anywhere, it has both or neither. Each goes at
its own pace, in the order of the log; one that fails holds up nobody else, and itself only until it is set aside.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath

import structlog
from django.db import InterfaceError, OperationalError, transaction
from django.db.models import Q
from django.utils.module_loading import import_string

from apps.core import metrics
from apps.events import operations, queries
from apps.events.models import Event, FailedReaction
from apps.events.reacting import Interest, pause_after
from apps.tenancy.context import across_tenants
from workers import loop

log = structlog.get_logger(__name__)

LOOK_EVERY_S = 0.25
WINDOW = 2000  # numbers of the log that a step passes at most
BATCH = 200  # reactions in one transaction


@dataclass(kw_only=True)
class Reaction:
    """A function, the event types it hears, and how it is doing."""

    path: str
    react: Callable[[Event], None]
    types: Sequence[str]
    failures: int = 0
    not_before: float = field(default=0.0)

    @property
    def interest(self) -> Interest | None:
        """What says which of its events it wants, where it does not want them all."""
        return getattr(self.react, "interest", None)

    @property
    def consumer(self) -> str:
        """The name of its place in the log."""
        return f"reaction:{self.path}"


class Reactor:
    """One process's state between looks: the reactions, and which of them pauses."""

    def __init__(self, *, reactions: Mapping[str, Sequence[str]]) -> None:
        self.reactions = _by_path(reactions)
        self._known = False

    def run(self) -> None:
        """React until SIGTERM."""
        with across_tenants():
            loop.run(role="reactor", step=self.step)

    def step(self) -> float:
        """Let each reaction take its next events; return the seconds to rest."""
        if not self._known:
            operations.begin(consumers=[each.consumer for each in self.reactions.values()])
            self._known = True
        head = queries.head()
        passed: dict[str, int] = {}
        positions = queries.positions(consumers=[each.consumer for each in self.reactions.values()])
        behind = [
            self._advance(each, position=positions.get(each.consumer, 0), head=head, passed=passed)
            for each in self.reactions.values()
        ]
        if passed:
            operations.advance_all(passed)
        self._try_again()
        return 0.0 if any(behind) else LOOK_EVERY_S

    def _advance(self, reaction: Reaction, *, position: int, head: int, passed: dict[str, int]) -> bool:
        """Take a reaction's next events, a window of the log; return whether more are there for it to take now.

        How far it came is left in `passed`: of what was reacted to it is noted already.
        """
        if time.monotonic() < reaction.not_before or position >= head:
            return False
        upto = min(position + WINDOW, head)
        wanted = Q() if reaction.interest is None else reaction.interest(position, upto)
        due = [] if wanted is None else queries.of_types(reaction.types, position=position, upto=upto, wanted=wanted)
        for start in range(0, len(due), BATCH):
            if not self._take(reaction, due[start : start + BATCH]):
                return False
        passed[reaction.consumer] = upto
        return upto < head

    def _take(self, reaction: Reaction, events: Sequence[Event]) -> bool:
        """React to events in one transaction, else one by one; return whether all are behind it."""
        if len(events) > 1 and not reaction.failures and self._together(reaction, events):
            return True
        return all(self._singly(reaction, each) for each in events)

    def _together(self, reaction: Reaction, events: Sequence[Event]) -> bool:
        try:
            with transaction.atomic():
                for each in events:
                    reaction.react(each)
                operations.advance(consumer=reaction.consumer, position=events[-1].sequence or 0)
        except Exception as error:
            if _database_is_away(error):
                raise
            # One of them failed, whichever: the next tries find out.
            log.warning("reactions_one_by_one", reaction=reaction.path, events=len(events), error=type(error).__name__)
            return False
        return True

    def _singly(self, reaction: Reaction, event: Event) -> bool:
        """React to one event; return False where it failed and will be tried again."""
        try:
            with transaction.atomic():
                reaction.react(event)
                operations.advance(consumer=reaction.consumer, position=event.sequence or 0)
        except Exception as error:
            if _database_is_away(error):
                raise
            return self._failed(reaction, event, error=error)
        reaction.failures = 0
        return True

    def _failed(self, reaction: Reaction, event: Event, *, error: Exception) -> bool:
        """Note a failure: pause the reaction, or set the event aside and return True."""
        reaction.failures += 1
        pause_s = pause_after(reaction.failures)
        metrics.reaction_failed(reaction=reaction.path, set_aside=pause_s is None)
        where = _place(error)
        log.error(  # no traceback: its text may quote somebody's data
            "reaction_failed",
            reaction=reaction.path,
            event_id=str(event.event_id),
            error=type(error).__name__,
            at=where,
            again_in_s=pause_s,
        )
        if pause_s is not None:
            reaction.not_before = time.monotonic() + pause_s
            return False
        with transaction.atomic():
            operations.set_aside(
                reaction=reaction.path,
                event=event,
                tries=reaction.failures,
                error_class=type(error).__name__,
                error_at=where,
            )
            operations.advance(consumer=reaction.consumer, position=event.sequence or 0)
        reaction.failures = 0
        return True

    def _try_again(self) -> None:
        """Try what was set aside and somebody asked for, once."""
        for each in queries.to_try_again(limit=BATCH):
            self._once_more(each)

    def _once_more(self, failed: FailedReaction) -> None:
        reaction = self.reactions.get(failed.reaction)
        try:
            with transaction.atomic():
                if reaction is not None:  # one that is wired no more has nothing left to do
                    reaction.react(failed.event)
                operations.made_good(failed_reaction_id=failed.failed_reaction_id)
        except Exception as error:
            if _database_is_away(error):
                raise
            metrics.reaction_failed(reaction=failed.reaction, set_aside=True)
            operations.set_aside(
                reaction=failed.reaction,
                event=failed.event,
                tries=1,
                error_class=type(error).__name__,
                error_at=_place(error),
            )


def consumers(reactions: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the names of the reactions' places in the log."""
    return [each.consumer for each in _by_path(reactions).values()]


def _by_path(reactions: Mapping[str, Sequence[str]]) -> dict[str, Reaction]:
    """Return each reaction once, with all event types it is wired to."""
    types: dict[str, list[str]] = {}
    for event_type, paths in reactions.items():
        for path in paths:
            types.setdefault(path, []).append(event_type)
    return {path: Reaction(path=path, react=import_string(path), types=heard) for path, heard in types.items()}


def _database_is_away(error: Exception) -> bool:
    """Return whether the session is lost, which the loop waits out. A deadlock or time-out is the reaction's own."""
    state = getattr(error.__cause__, "sqlstate", None) or ""
    return isinstance(error, (OperationalError, InterfaceError)) and (not state or state.startswith(("08", "57P")))


def _place(error: Exception) -> str:
    """Return the file and line of an error's innermost frame."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{PurePath(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""


def main(*, reactions: Mapping[str, Sequence[str]]) -> None:
    """React with this process's settings."""
    Reactor(reactions=reactions).run()

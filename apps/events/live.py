"""The event log as a stream: what was numbered since a position, as soon as it is."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from functools import partial

from apps.core import sse
from apps.core.live import Poller
from apps.events import queries
from apps.events.cloudevents import envelope
from apps.events.queries import Filters
from apps.tenancy.reading import Scope

HEAD = "head"
BATCH = 200
MOST_REMEMBERED = 64

Told = tuple[list[bytes], int]


def _look(_keys: Collection[str]) -> Mapping[str, int]:
    return {HEAD: queries.head_of_all()}


POLLER: Poller[str, int] = Poller(_look, name="live-events")


class _Remembered:
    """What was read last, for the streams that ask the same: those of one tenant stand at one place. One thread's."""

    def __init__(self) -> None:
        self._read: dict[tuple[Scope, Filters, int, int], Told] = {}

    def read(self, scope: Scope, filters: Filters, position: int, upto: int) -> Told:
        """Return the frames after `position`, and how far the log was seen with them."""
        key = (scope, filters, position, upto)
        if key not in self._read:
            events = queries.page(scope, position=position, upto=upto, limit=BATCH, filters=filters)
            seen = events[-1].sequence or upto if len(events) == BATCH else upto
            if len(self._read) >= MOST_REMEMBERED:
                self._read.clear()
            self._read[key] = (
                [sse.frame(data=envelope(event), event=event.type, at=str(event.sequence)) for event in events],
                seen,
            )
        return self._read[key]


_remembered = _Remembered()


class EventSource:
    """A `sse.Source` of the events of `scope` after `position`."""

    def __init__(self, *, scope: Scope, filters: Filters, position: int) -> None:
        self._scope = scope
        self._filters = filters
        self._position = position
        self._head = 0
        self._watching = ExitStack()
        self._watching.enter_context(POLLER.watching(HEAD))

    def frames(self, *, wait_s: float) -> Sequence[bytes]:
        """Return the next events as frames. The position moves past what others' tenants or filters hide as well."""
        if self._position >= self._head:
            head = POLLER.wait(HEAD, until=lambda head: head > self._position, timeout_s=wait_s)
            if head is None:
                return []
            self._head = head
        read = partial(_remembered.read, self._scope, self._filters, self._position, self._head)
        frames, self._position = POLLER.ask(read)
        return frames

    def close(self) -> None:
        """Watch no more."""
        self._watching.close()

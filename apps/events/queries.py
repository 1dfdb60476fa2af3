"""Every read of the event log that others may use."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from django.db.models import Q

from apps.events.models import Consumer, Event, FailedReaction
from apps.tenancy.context import operator_reading
from apps.tenancy.reading import Scope, contexts_of


@dataclass(frozen=True, kw_only=True)
class Filters:
    """Which events: of a type, about a subject; None is all."""

    type: str | None = None
    subject: str | None = None

    def conditions(self) -> dict[str, str]:
        """Return the filters that are set, as lookups."""
        found = {"type": self.type, "subject": self.subject}
        return {name: value for name, value in found.items() if value is not None}


EVERYTHING = Filters()


def position_of(*, consumer: str) -> int:
    """Return up to where `consumer` was delivered; 0 for one that is new."""
    return Consumer.objects.filter(name=consumer).values_list("position", flat=True).first() or 0


def positions(*, consumers: Collection[str]) -> dict[str, int]:
    """Return up to where each of `consumers` was delivered; one that is new is left out."""
    return dict(Consumer.objects.filter(name__in=consumers).values_list("name", "position"))


def head() -> int:
    """Return the last number given, whoever's event has it; in the current context. 0 for an empty log."""
    last = Event.objects.filter(sequence__isnull=False).order_by("-sequence").values_list("sequence", flat=True)
    return last.first() or 0


def head_of_all() -> int:
    """Return the last number given in the whole log: a bound to read up to, which tells nothing of whose it is."""
    with operator_reading():
        return head()


def after(*, position: int, limit: int, upto: int | None = None, filters: Filters = EVERYTHING) -> Sequence[Event]:
    """Return the next numbered events of the current context, oldest first, up to number `upto`."""
    rows = Event.objects.filter(sequence__gt=position, **filters.conditions())
    if upto is not None:
        rows = rows.filter(sequence__lte=upto)
    return list(rows.order_by("sequence")[:limit])


def of_types(types: Sequence[str], *, position: int, upto: int, wanted: Q | None = None) -> Sequence[Event]:
    """Return the events of these types numbered after `position`, up to and with `upto`; oldest first."""
    rows = Event.objects.filter(wanted or Q(), type__in=types, sequence__gt=position, sequence__lte=upto)
    return list(rows.order_by("sequence"))


def told_of(event_type: str, *, field: str, position: int, upto: int) -> set[tuple[str | None, str]]:
    """Return whose events of a type there are in a window of the log, with what `field` of their data says."""
    rows = Event.objects.filter(type=event_type, sequence__gt=position, sequence__lte=upto)
    return set(rows.values_list("tenant_id", f"data__{field}").distinct())


def to_try_again(*, limit: int) -> Sequence[FailedReaction]:
    """Return reactions that somebody wants tried once more, with their events; the longest asked first."""
    asked = FailedReaction.objects.filter(again_at__isnull=False).order_by("again_at").select_related("event")
    return list(asked[:limit])


def set_aside() -> int:
    """Return how many reactions failed for good, in the current context."""
    return FailedReaction.objects.count()


def page(scope: Scope, *, position: int, upto: int, limit: int, filters: Filters = EVERYTHING) -> list[Event]:
    """Return the next events of all tenants in `scope`, oldest first, up to number `upto`.

    Each tenant is read in a transaction of its own, a moment after the other. Without a common bound, an event that is
    numbered between two of them would be overtaken by a later one of the second tenant's, and missed for ever by a
    reader whose cursor went past it. Up to a number that was given before the first look, all are there to be seen.
    """
    found = []
    for context in contexts_of(scope):
        with context:
            found.append(after(position=position, upto=upto, limit=limit, filters=filters))
    return list(heapq.merge(*found, key=lambda event: event.sequence or 0))[:limit]


def unnumbered(*, most: int) -> int:
    """Return how many committed events wait for their number, counted up to `most`; read from their own small index."""
    return len(Event.objects.filter(sequence=None).order_by("occurred_at").values_list("pk", flat=True)[:most])

"""Every read of the event log that others may use."""

from __future__ import annotations

from collections.abc import Sequence

from apps.events.models import Consumer, Event


def position_of(*, consumer: str) -> int:
    """Return up to where `consumer` was delivered; 0 for one that is new."""
    return Consumer.objects.filter(name=consumer).values_list("position", flat=True).first() or 0


def after(*, position: int, limit: int) -> Sequence[Event]:
    """Return the next numbered events of the current tenant context, oldest first."""
    return list(Event.objects.filter(sequence__gt=position).order_by("sequence")[:limit])


def unnumbered(*, most: int) -> int:
    """Return how many committed events wait for their number, counted up to `most`; read from their own small index."""
    return len(Event.objects.filter(sequence=None).order_by("occurred_at").values_list("pk", flat=True)[:most])

"""A ticket that resolves itself because what it is about says that it is over."""

from __future__ import annotations

from django.db.models import Q

from apps.tickets.entries import Kind
from apps.tickets.lifecycle import OPEN_STATES
from apps.tickets.models import Link, Ticket
from apps.tickets.operations import commands
from apps.tickets.operations.writing import PLANE, hold


def settled(*, source: str, ref: str, resolution: str, sequence: int | None) -> None:
    """Resolve the open tickets of a source that are about `ref`, with a sentence; told at `sequence` of the log.

    Trouble that was told after it stays: what is over by then is another's. In the loops' role.
    """
    about = Link.objects.filter(kind=source, ref=ref).values("ticket_id")
    wanted = Ticket.objects.filter(id__in=about, source=source, status__in=[state.value for state in OPEN_STATES])
    if sequence is not None:
        wanted = wanted.filter(Q(last_sequence__isnull=True) | Q(last_sequence__lt=sequence))
    for ticket_id in wanted.order_by("id").values_list("id", flat=True):
        held = hold(ticket_id)
        if held.state in OPEN_STATES:
            commands.resolved(held, resolution=resolution, by=PLANE, kind=Kind.AUTO_RESOLVED)

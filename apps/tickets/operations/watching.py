"""Whom and what a ticket concerns: its watchers, and its links to other things."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from apps.tickets.entries import Kind
from apps.tickets.models import Link, Ticket, Watcher
from apps.tickets.operations.writing import Change, Note, hold, write

MOST_WATCHERS = 100


def watch(ticket: Ticket, *, people: Collection[str], by: str) -> None:
    """Let people be told of what becomes of a ticket; at most 100 of them, and each once.

    Who is told of something that happened is noted with what happened; only who asked for it has an entry of its own.
    """
    watching = set(Watcher.objects.filter(ticket_id=ticket.id).values_list("person", flat=True))
    fresh = [each for each in dict.fromkeys(people) if each not in watching][: MOST_WATCHERS - len(watching)]
    rows = [Watcher(ticket_id=ticket.id, tenant_id=ticket.tenant_id, person=each) for each in fresh]
    Watcher.objects.bulk_create(rows, ignore_conflicts=True)
    if by in fresh:
        _note(ticket.id, kind=Kind.WATCHED, person=by)


def unwatch(ticket: Ticket, *, person: str) -> bool:
    """Let a person be told no more; return whether they were told until now."""
    gone, _ = Watcher.objects.filter(ticket_id=ticket.id, person=person).delete()
    if gone:
        _note(ticket.id, kind=Kind.UNWATCHED, person=person)
    return bool(gone)


def watchers_of(ticket_id: UUID) -> list[str]:
    """Return who watches a ticket, in the order in which they began to."""
    return list(Watcher.objects.filter(ticket_id=ticket_id).order_by("id").values_list("person", flat=True))


def link(ticket: Ticket, *, kind: str, refs: Collection[str]) -> None:
    """Say that a ticket is about these, too; each is said once."""
    rows = [Link(ticket_id=ticket.id, tenant_id=ticket.tenant_id, kind=kind, ref=each) for each in refs]
    Link.objects.bulk_create(rows, ignore_conflicts=True)


def _note(ticket_id: UUID, *, kind: Kind, person: str) -> None:
    held = hold(ticket_id)
    write(Change(notes=[Note(kind, {"person": person})], counts=False), held=held, by=person)

"""Merging by a pointer: the merged ticket is closed and points to the one that speaks for both, until it is taken back.

Nothing moves from one log into the other, so taking it back leaves no trace of the other's in either. What repeats
meanwhile is counted where the pointer leads.
"""

from __future__ import annotations

from uuid import UUID

from apps.tickets import events
from apps.tickets.entries import Kind
from apps.tickets.lifecycle import OPEN_STATES, Move, State
from apps.tickets.models import OPEN, Entry, Ticket
from apps.tickets.operations import watching
from apps.tickets.operations.writing import (
    AlreadyOpenError,
    Change,
    Held,
    Note,
    NoTicketError,
    StaleVersionError,
    hold,
    write,
)

LONGEST_CHAIN = 20


class BadTargetError(Exception):
    """The ticket cannot be merged into that one; the message says why."""


def merge(ticket_id: UUID, *, version: int, into: UUID, by: str) -> Ticket:
    """Close a ticket and point it to `into`, which must be open and of the same tenant.

    Raises `NoTicketError`, `IllegalMoveError`, `StaleVersionError`, `BadTargetError`.
    """
    if into == ticket_id:
        raise BadTargetError("another ticket would be right")
    held, target = _both(ticket_id, into, version=version)
    status = held.after(Move.MERGE)
    if target.ticket.tenant_id != held.ticket.tenant_id:
        raise NoTicketError(str(into))
    if target.state not in OPEN_STATES:
        raise BadTargetError("a ticket that is open would be right")
    change = Change(
        sets={"status": status, "closed_at": held.now, "merged_into_id": into},
        notes=[Note(Kind.MERGED, {"into": str(into), "before": held.state.value})],
        tells=[(events.MERGED, {"into": str(into)})],
    )
    ticket = write(change, held=held, by=by)
    note = Note(Kind.ABSORBED, {"ticket_id": str(ticket_id)})
    write(Change(notes=[note], counts=False), held=target, by=by)
    watching.watch(target.ticket, people=watching.watchers_of(ticket_id), by="")
    return ticket


def unmerge(ticket_id: UUID, *, version: int, by: str) -> Ticket:
    """Take the pointer back: the ticket stands where it stood before.

    Raises `IllegalMoveError`, `StaleVersionError`, and `AlreadyOpenError` where its failure has another open ticket.
    """
    target_id = Ticket.objects.filter(id=ticket_id).values_list("merged_into_id", flat=True).first()
    held, target = _both(ticket_id, target_id or ticket_id, version=version)
    held.after(Move.UNMERGE)
    if held.ticket.merged_into_id != target_id:
        raise StaleVersionError(version=held.ticket.version)
    room_for(held.ticket)
    before = _state_before(held)
    change = Change(
        sets={"status": before, "closed_at": None, "merged_into_id": None},
        notes=[Note(Kind.UNMERGED, {"from": str(target_id), "state": before.value})],
        tells=[(events.UNMERGED, {"out_of": str(target_id)})],
    )
    ticket = write(change, held=held, by=by)
    note = Note(Kind.RELEASED, {"ticket_id": str(ticket_id)})
    write(Change(notes=[note], counts=False), held=target, by=by)
    return ticket


def room_for(ticket: Ticket) -> None:
    """Raise `AlreadyOpenError` where another ticket is open about the same failure."""
    if ticket.fingerprint is None:
        return
    same = Ticket.objects.filter(fingerprint=ticket.fingerprint, status__in=OPEN).exclude(id=ticket.id)
    found = same.values_list("id", flat=True).first()
    if found is not None:
        raise AlreadyOpenError(ticket_id=found)


def speaker_of(ticket: Ticket) -> Ticket:
    """Return the ticket that speaks for `ticket`: where its pointers lead, or itself."""
    for _ in range(LONGEST_CHAIN):
        if ticket.merged_into_id is None:
            break
        ticket = Ticket.objects.get(id=ticket.merged_into_id)
    return ticket


def _both(ticket_id: UUID, other_id: UUID, *, version: int) -> tuple[Held, Held]:
    """Hold a ticket at `version` and another one, in the order of their ids: two who hold the same do not deadlock."""
    ids = sorted({ticket_id, other_id})
    found = {each: hold(each, version=version if each == ticket_id else None) for each in ids}
    return found[ticket_id], found[other_id]


def _state_before(held: Held) -> State:
    last = Entry.objects.filter(ticket_id=held.ticket.id, kind=Kind.MERGED).order_by("-id").first()
    return State(last.data["before"]) if last is not None else State.OPEN

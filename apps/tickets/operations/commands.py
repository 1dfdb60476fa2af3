"""What people and modules ask about one ticket: take it, give it, work on it, wait, comment, end it, open it again.

Each names the version of the ticket that it was made for; another one is refused and told (`StaleVersionError`). Call
in the ticket's tenant's context, or as operator for what is the platform's own.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from apps.tickets import events
from apps.tickets.entries import Kind
from apps.tickets.lifecycle import Move, ReopenWindowOverError, State, may_reopen
from apps.tickets.mentions import mentioned
from apps.tickets.models import Team, Ticket
from apps.tickets.operations import merging, proof, watching
from apps.tickets.operations.writing import Change, Held, Note, hold, write


class NoTeamError(LookupError):
    """There is no team of that name."""


def acknowledge(ticket_id: UUID, *, version: int, by: str) -> Ticket:
    """Say that somebody has seen it and answers for it; raises `IllegalMoveError`, `StaleVersionError`."""
    held = hold(ticket_id, version=version)
    change = Change(
        sets={"status": held.after(Move.ACKNOWLEDGE)},
        notes=[Note(Kind.ACKNOWLEDGED)],
        tells=[(events.ACKNOWLEDGED, {})],
    )
    return write(change, held=held, by=by)


def assign(ticket_id: UUID, *, version: int, assignee: str | None, team: str | None, by: str) -> Ticket:
    """Give it to a person, a team, or both; to nobody with neither. Raises as `acknowledge`, and `NoTeamError`."""
    held = hold(ticket_id, version=version)
    held.after(Move.ASSIGN)
    if team is not None and not Team.objects.filter(name=team).exists():
        raise NoTeamError(team)
    given: dict[str, Any] = {"assignee": assignee, "team": team}
    kind = Kind.ASSIGNED if assignee or team else Kind.UNASSIGNED
    change = Change(
        sets={"assignee": assignee, "team_id": team},
        notes=[Note(kind, given if kind is Kind.ASSIGNED else {})],
        tells=[(events.ASSIGNED, given)],
    )
    ticket = write(change, held=held, by=by)
    watching.watch(ticket, people=[assignee] if assignee else [], by=by)
    return ticket


def start(ticket_id: UUID, *, version: int, by: str) -> Ticket:
    """Say that somebody works on it, whatever it waited for. Raises as `acknowledge`."""
    held = hold(ticket_id, version=version)
    change = Change(sets={"status": held.after(Move.START)}, notes=[Note(Kind.STARTED)], tells=_taken(held))
    return write(change, held=held, by=by)


def wait(ticket_id: UUID, *, version: int, reason: str, by: str) -> Ticket:
    """Say that it waits for somebody else: its resolution clock stands still. Raises as `acknowledge`."""
    held = hold(ticket_id, version=version)
    note = Note(Kind.WAITING, {"reason": reason})
    change = Change(sets={"status": held.after(Move.WAIT)}, notes=[note], tells=_taken(held))
    return write(change, held=held, by=by)


def comment(ticket_id: UUID, *, version: int | None, text: str, by: str) -> Ticket:
    """Say something about it; `@name` and `@team:name` are told. Makes no other version of the ticket.

    Raises `StaleVersionError` where a version is named and is another one.
    """
    held = hold(ticket_id, version=version)
    held.after(Move.COMMENT)
    spoken_to = mentioned(text)
    notes = [Note(Kind.COMMENTED, {"text": text})]
    notes += [Note(Kind.MENTIONED, {"person": each}) for each in spoken_to.people]
    notes += [Note(Kind.MENTIONED, {"team": each}) for each in spoken_to.teams]
    told = [(events.MENTIONED, {"people": list(spoken_to.people), "teams": list(spoken_to.teams)})]
    ticket = write(Change(notes=notes, tells=told if any(spoken_to) else [], counts=False), held=held, by=by)
    watching.watch(ticket, people=spoken_to.people, by=by)
    return ticket


def resolve(ticket_id: UUID, *, version: int, resolution: str, by: str) -> Ticket:
    """Say that the cause is gone, in a sentence: it is hashed into evidence with the whole log.

    What was merged into the ticket stays closed and points to it. Raises as `acknowledge`.
    """
    return resolved(hold(ticket_id, version=version), resolution=resolution, by=by)


def resolved(
    held: Held, *, resolution: str, by: str, kind: Kind = Kind.RESOLVED, more: dict[str, Any] | None = None
) -> Ticket:
    """Resolve a held ticket, by a person or (`Kind.AUTO_RESOLVED`) by itself; return it."""
    status = held.after(Move.RESOLVE)
    successes = held.ticket.successes if kind is Kind.AUTO_RESOLVED else []
    made = proof.resolution(held.ticket, resolution=resolution, by=by, successes=successes)
    record_id = made[0].record_id if made else None
    told = {"automatic": kind is Kind.AUTO_RESOLVED, "evidence_id": str(record_id) if record_id else None}
    change = Change(
        sets={
            "status": status,
            "resolved_at": held.now,
            "resolution": resolution,
            "evidence_id": record_id,
        },
        notes=[Note(kind, {"resolution": resolution, "record_id": told["evidence_id"], **(more or {})})],
        tells=[(events.RESOLVED, told)],
        proof=made,
    )
    ticket = write(change, held=held, by=by)
    if record_id is not None:
        watching.link(ticket, kind="evidence", refs=[str(record_id)])
    return ticket


def close(ticket_id: UUID, *, version: int, by: str) -> Ticket:
    """End a ticket that is resolved. Raises as `acknowledge`."""
    return closed(hold(ticket_id, version=version), by=by)


def closed(held: Held, *, by: str, kind: Kind = Kind.CLOSED, more: dict[str, Any] | None = None) -> Ticket:
    """Close a held ticket, by a person or by the clock; return it."""
    change = Change(
        sets={"status": held.after(Move.CLOSE), "closed_at": held.now},
        notes=[Note(kind, more or {})],
        tells=[(events.CLOSED, {"automatic": kind is Kind.AUTO_CLOSED})],
    )
    return write(change, held=held, by=by)


def reopen(ticket_id: UUID, *, version: int, reason: str, by: str) -> Ticket:
    """Open it again: it was not over. Raises as `acknowledge`, `ReopenWindowOverError`, `AlreadyOpenError`."""
    held = hold(ticket_id, version=version)
    held.after(Move.REOPEN)
    if not may_reopen(resolved_at=held.ticket.resolved_at, now=held.now):
        raise ReopenWindowOverError("it was resolved too long ago to be opened again: open another one")
    merging.room_for(held.ticket)
    return reopened(held, by=by, note={"reason": reason}, tells={"reason": "asked"})


def reopened(
    held: Held, *, by: str, note: dict[str, Any], tells: dict[str, Any], sets: dict[str, Any] | None = None
) -> Ticket:
    """Open a held ticket again; return it."""
    change = Change(
        sets={"status": held.after(Move.REOPEN), "closed_at": None, "successes": [], **(sets or {})},
        notes=[Note(Kind.REOPENED, note)],
        tells=[(events.REOPENED, tells)],
    )
    return write(change, held=held, by=by)


def _taken(held: Held) -> list[tuple[str, dict[str, Any]]]:
    """Return the event by which nobody is called about it again: who begins with an open ticket answers for it."""
    return [(events.ACKNOWLEDGED, {})] if held.state is State.OPEN else []

"""How a ticket is changed: its row held, decided about, and written with its log, its event and its evidence at once.

Whoever changes a ticket holds its row from the look to the write, so a decision is made about what is there. The write
is guarded by the version all the same: nothing here may ever overwrite what it did not see.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import orjson
from django.db import IntegrityError, connection

from apps.core.database import ClockTimestamp
from apps.core.ids import uuid7
from apps.events import operations as event_log
from apps.evidence import operations as evidence_log
from apps.evidence.statements import Statement
from apps.tickets import events
from apps.tickets.entries import Kind
from apps.tickets.lifecycle import Move, State, after
from apps.tickets.models import Ticket

PLANE = "plane"  # who did it, where nobody asked

# The columns that a change may set, each bound as itself; a change that names another is a defect.
SETTABLE = frozenset(
    {
        "status", "severity", "occurrences", "last_seen_at", "last_sequence", "last_job_id", "successes", "assignee",
        "team_id", "resolved_at", "closed_at", "resolution", "evidence_id", "merged_into_id", "parent_id", "about",
    }
)  # fmt: skip
ONE_OPEN = "ticket_open_once"  # the constraint that there is one open ticket a failure
AS_JSON = frozenset({"successes", "about"})

PROVEN = evidence_log.APPEND.replace("'job'", "'ticket'").format(source="proof")
WRITE = f"""
WITH changed AS (
    UPDATE tickets SET {{sets}} version = version + %(bump)s, due_at = clock_timestamp()
     WHERE id = %(id)s AND version = %(version)s
    RETURNING id, tenant_id
), noted AS (
    INSERT INTO ticket_entries (ticket_id, tenant_id, kind, at, by, data)
    SELECT changed.id, changed.tenant_id, n.kind, clock_timestamp(), n.by, n.data
      FROM changed, ROWS FROM (jsonb_to_recordset(%(notes)s) AS (kind text, by text, data jsonb))
                    WITH ORDINALITY AS n(kind, by, data, place)
     ORDER BY n.place
), news AS (
    SELECT t.event_id, changed.tenant_id, t.event_type, changed.id::text AS event_subject, t.event_data
      FROM changed, jsonb_to_recordset(%(events)s) AS t(event_id uuid, event_type text, event_data jsonb)
), told AS ({event_log.APPEND.format(source="news")}){{proven}}
SELECT id FROM changed
"""
# Only where there is something to prove: the role of people, who write what is the platform's, may append no evidence.
PROVING = f""", proof AS (
    SELECT changed.tenant_id, p.* FROM changed,
           jsonb_to_recordset(%(proof)s) AS p(region text, fence bigint, {evidence_log.COLUMNS})
), proven AS ({PROVEN})"""


class NoTicketError(LookupError):
    """There is no such ticket in the current context."""


class StaleVersionError(Exception):
    """The command was made for another version of the ticket; `version` says which there is."""

    def __init__(self, *, version: int) -> None:
        super().__init__(f"the ticket is at version {version} by now")
        self.version = version


class AlreadyOpenError(Exception):
    """Another ticket is open about the same failure; `ticket_id` says which, where it is known."""

    def __init__(self, *, ticket_id: UUID | None = None) -> None:
        named = "another ticket" if ticket_id is None else f"ticket {ticket_id}"
        super().__init__(f"{named} is open about the same failure: merge them instead")
        self.ticket_id = ticket_id


class Note(NamedTuple):
    """An entry to be written."""

    kind: Kind
    data: Mapping[str, Any] = {}
    by: str | None = None


@dataclass(frozen=True, kw_only=True)
class Change:
    """What becomes of a ticket: columns, entries, events (type and what it says beside the ticket), and a proof.

    `counts`: whether it makes another version. A comment or a repeat does not: who acknowledges a ticket that fails a
    hundred times a minute, or that others talk about, is not refused for that.
    """

    sets: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[Note] = ()
    tells: Sequence[tuple[str, Mapping[str, Any]]] = ()
    proof: tuple[Statement, str, int] | None = None  # with its region and fence
    counts: bool = True


class Held(NamedTuple):
    """A ticket whose row is held until the transaction ends, and the database's time as it was read."""

    ticket: Ticket
    now: datetime

    @property
    def state(self) -> State:
        """Return where it stands."""
        return State(self.ticket.status)

    def after(self, move: Move) -> State:
        """Return the state that `move` leads to; raises `IllegalMoveError`."""
        return after(self.state, move, merged=self.ticket.merged_into_id is not None)


def hold(ticket_id: UUID, *, version: int | None = None) -> Held:
    """Hold a ticket's row until the transaction ends.

    Raises `NoTicketError`, and `StaleVersionError` where a version is named and is another one.
    """
    row = (
        Ticket.objects.select_for_update(of=("self",), no_key=True)
        .annotate(now=ClockTimestamp())
        .filter(id=ticket_id)
        .first()
    )
    if row is None:
        raise NoTicketError(str(ticket_id))
    if version is not None and row.version != version:
        raise StaleVersionError(version=row.version)
    return Held(row, row.now)


def write(change: Change, *, held: Held, by: str) -> Ticket:
    """Write a change of a held ticket and return the ticket as it is then; in the transaction that holds it."""
    ticket = held.ticket
    unknown = set(change.sets) - SETTABLE
    if unknown:
        raise ValueError(f"not a column that a change may set: {sorted(unknown)[0]}")
    before = ticket.version
    for name, value in change.sets.items():
        setattr(ticket, name, value)
    ticket.version = before + change.counts
    values = {f"set_{name}": _bound(name, value) for name, value in change.sets.items()}
    values |= {"id": ticket.id, "version": before, "bump": int(change.counts)}
    values |= {"notes": _notes(change.notes, by=by), "events": _events(change, ticket=ticket, by=by)}
    if change.proof is not None:
        values["proof"] = _proof(change.proof, ticket=ticket)
    sets = "".join(f"{name} = %(set_{name})s, " for name in change.sets)
    try:
        with connection.cursor() as cursor:
            cursor.execute(WRITE.format(sets=sets, proven=PROVING if change.proof else ""), values)
            if cursor.fetchone() is None:
                raise StaleVersionError(version=before)
    except IntegrityError as error:
        if ONE_OPEN in str(error):  # somebody else's was faster than whoever looked for room
            raise AlreadyOpenError from error
        raise
    return ticket


def _bound(name: str, value: Any) -> Any:
    return orjson.dumps(value).decode() if name in AS_JSON else value


def _notes(notes: Sequence[Note], *, by: str) -> str:
    return orjson.dumps([{"kind": n.kind, "by": n.by or by, "data": dict(n.data)} for n in notes]).decode()


def _events(change: Change, *, ticket: Ticket, by: str) -> str:
    told = [
        {
            "event_id": str(uuid7()),
            "event_type": event_type,
            "event_data": events.payload(ticket, by=by, **more),
        }
        for event_type, more in change.tells
    ]
    return orjson.dumps(told).decode()


def _proof(proof: tuple[Statement, str, int], *, ticket: Ticket) -> str:
    statement, region, fence = proof
    row = evidence_log.row(statement, subject_id=str(ticket.id)) | {"region": region, "fence": fence}
    return orjson.dumps([row]).decode()

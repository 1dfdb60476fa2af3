"""A ticket that resolves itself: when its job type has succeeded again, twice, since the last failure, with the proof.

One success may be luck, or another branch of the code. What each success proved stands in the evidence log; its record
and leaf are attached to the ticket and hashed into the ticket's own resolution.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from apps.core.database import preparing
from apps.tickets.entries import Kind
from apps.tickets.lifecycle import OPEN_STATES
from apps.tickets.models import OPEN
from apps.tickets.operations import commands, watching
from apps.tickets.operations.writing import PLANE, Change, Note, hold, write

ENOUGH = 2
RESOLUTION = "its job type succeeded again, {count} times since the last failure"
IS_OPEN = f"status IN ({', '.join(repr(state) for state in OPEN)})"

# Asked about every success there is, and nearly always answered by an index that holds nothing of that type.
CONCERNED = f"""
SELECT id FROM tickets
 WHERE tenant_id = %(tenant)s AND kind = %(type)s AND source = 'job' AND {IS_OPEN}
   AND (last_sequence IS NULL OR last_sequence < %(sequence)s)
 ORDER BY id
"""
AWAITED = f"SELECT DISTINCT tenant_id, kind FROM tickets WHERE source = 'job' AND {IS_OPEN}"


def awaited() -> set[tuple[str | None, str]]:
    """Return the tenants and job types whose successes matter to some open ticket; in the loops' role."""
    with preparing() as cursor:
        cursor.execute(AWAITED)
        return set(cursor.fetchall())


def concerned(*, tenant_id: str, job_type: str, sequence: int) -> list[UUID]:
    """Return the open tickets that a success of the job type, told at `sequence` of the log, speaks for."""
    with preparing() as cursor:
        cursor.execute(CONCERNED, {"tenant": tenant_id, "type": job_type, "sequence": sequence})
        return [row[0] for row in cursor.fetchall()]


def succeeded(
    ticket_id: UUID, *, job_id: UUID, record_id: UUID | None, leaf: str | None, sequence: int, at: datetime
) -> bool:
    """Note a success on a ticket, once for its place in the log; return whether the ticket is resolved by it.

    A success without its evidence counts for nothing, nor does one from before the failure was last seen: a ticket that
    somebody opened about a failed job may be there before the log tells of the successes that went before it.
    """
    held = hold(ticket_id)
    ticket = held.ticket
    if held.state not in OPEN_STATES or (ticket.last_sequence or 0) >= sequence or record_id is None or leaf is None:
        return False
    if at <= ticket.last_seen_at or any(each["sequence"] >= sequence for each in ticket.successes):
        return False
    seen = {"job_id": str(job_id), "record_id": str(record_id), "leaf": leaf, "sequence": sequence}
    note = Note(Kind.SUCCEEDED, {name: seen[name] for name in ("job_id", "record_id", "leaf")})
    change = Change(sets={"successes": [*ticket.successes, seen]}, notes=[note], counts=False)
    ticket = write(change, held=held, by=PLANE)
    watching.link(ticket, kind="evidence", refs=[str(record_id)])
    if len(ticket.successes) < ENOUGH:
        return False
    text = RESOLUTION.format(count=len(ticket.successes))
    more = {"successes": [each["record_id"] for each in ticket.successes]}
    commands.resolved(held, resolution=text, by=PLANE, kind=Kind.AUTO_RESOLVED, more=more)
    return True

"""What time alone does to tickets, written: each whose time has come is looked at, in a transaction of its own."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from apps.core.database import preparing
from apps.tickets import events
from apps.tickets.entries import Kind
from apps.tickets.lifecycle import Move
from apps.tickets.models import OPEN
from apps.tickets.operations import commands
from apps.tickets.operations.writing import PLANE, Change, Held, Note, hold, write
from apps.tickets.queries import standing_of
from apps.tickets.timers import Due, look

# A child of a storm is silent while the storm is open; nobody tells it when that ends.
ASK_AGAIN = timedelta(minutes=5)
DUE = "SELECT id FROM tickets WHERE due_at <= clock_timestamp() ORDER BY due_at LIMIT %s"
CLAIM = "SELECT 1 FROM tickets WHERE id = %s AND due_at <= clock_timestamp() FOR NO KEY UPDATE SKIP LOCKED"
SETTLE = "UPDATE tickets SET due_at = %(at)s WHERE id = %(id)s"
NEXT = "SELECT extract(epoch FROM min(due_at) - clock_timestamp())::float8 FROM tickets WHERE due_at IS NOT NULL"
COUNTS = f"SELECT module, count(*) FROM tickets WHERE status IN ({', '.join(map(repr, OPEN))}) GROUP BY module"


def look_after_due(*, limit: int) -> int:
    """Look at the tickets whose time has come, at most so many; return how many there were. For the clerk."""
    with preparing() as cursor:
        cursor.execute(DUE, [limit])
        due = [row[0] for row in cursor.fetchall()]
    for each in due:
        with transaction.atomic():
            _look_after(each)
    return len(due)


def next_in_s() -> float | None:
    """Return the seconds until a ticket's time comes; None while none has one."""
    with preparing() as cursor:
        cursor.execute(NEXT)
        (seconds,) = cursor.fetchone() or (None,)
    return None if seconds is None else float(seconds)


def open_by_module() -> dict[str, int]:
    """Return how many tickets are open, by module. For the clerk, across tenants."""
    with connection.cursor() as cursor:
        cursor.execute(COUNTS)
        return dict(cursor.fetchall())


def _look_after(ticket_id: UUID) -> None:
    """Write what is due of one ticket, and when it is to be looked at again; one that somebody holds is left."""
    with connection.cursor() as cursor:
        cursor.execute(CLAIM, [ticket_id])
        if cursor.fetchone() is None:
            return
    held = hold(ticket_id)
    standing = standing_of(held.ticket)
    found = look(standing, now=held.now)
    for each in found.due:
        _write(each, held=held)
    next_at = _soonest(found.next_at, held.now + ASK_AGAIN if standing.quiet else None)
    # What was written may begin other timers: it is looked at once more, at once.
    with connection.cursor() as cursor:
        cursor.execute(SETTLE, {"id": ticket_id, "at": held.now if found.due else next_at})


def _write(due: Due, *, held: Held) -> None:
    if due.kind is Kind.AUTO_CLOSED:
        commands.closed(held, by=PLANE, kind=Kind.AUTO_CLOSED, more=due.data)
        return
    sets: Mapping[str, Any] = {}
    if due.kind is Kind.ACK_EXPIRED:
        sets = {"status": held.after(Move.EXPIRE_ACK)}
    change = Change(sets=sets, notes=[Note(due.kind, due.data)], tells=_tells(due), counts=due.kind is Kind.ACK_EXPIRED)
    write(change, held=held, by=PLANE)


def _tells(due: Due) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the event that tells of it; what only the log has to know tells none."""
    if due.kind is Kind.ESCALATED:
        return [(events.ESCALATED, due.data)]
    if due.kind in {Kind.RESPONSE_BREACHED, Kind.RESOLUTION_BREACHED}:
        goal = "response" if due.kind is Kind.RESPONSE_BREACHED else "resolution"
        return [(events.SLA_BREACHED, {"goal": goal, "goal_s": due.data["goal_s"]})]
    return []


def _soonest(*times: datetime | None) -> datetime | None:
    return min((each for each in times if each is not None), default=None)

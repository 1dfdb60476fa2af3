"""The flood valve: many different failures within a minute are one storm, and one ticket.

A tenant's flood: from its N-th new ticket within a minute on, everything new goes into the storm's ticket, until ten
minutes pass without any. A module's, in several tenants at once: each tenant keeps its own tickets, and the platform's
storm ticket is their parent and speaks for them, so that nobody is called for each.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection

from apps.jobs.fingerprint import fingerprint
from apps.tenancy.context import EVERYONE, current_tenant
from apps.tickets.entries import Kind
from apps.tickets.lifecycle import Severity, is_noted
from apps.tickets.models import OPEN, Ticket
from apps.tickets.operations import watching
from apps.tickets.operations.writing import PLANE, Change, Note, hold, write
from apps.tickets.trouble import Trouble

SOURCE = "storm"
FLOOD = 20  # new tickets, of different fingerprints, within `WITHIN`
WITHIN = timedelta(minutes=1)
CALM_AFTER = timedelta(minutes=10)
MOST_NAMED = 50
SEVERAL = "several"
# One at a time a tenant: two that look at once would each find room for one more.
ALONE = "SELECT pg_advisory_xact_lock(hashtextextended('ticket storm ' || %s, 0)), clock_timestamp()"


class Flood(NamedTuple):
    """What the valve says of new trouble: the ticket that takes it in, or the one that is its parent, or neither."""

    absorbed_by: UUID | None = None
    parent: UUID | None = None


CALM = Flood()


def valve(trouble: Trouble, *, opening: Callable[[Trouble], UUID]) -> Flood:
    """Return whether new trouble is part of a storm, `opening` the storm's own ticket when one begins."""
    with connection.cursor() as cursor:
        cursor.execute(ALONE, [trouble.tenant_id or ""])
        ((_, now),) = cursor.fetchall()
    if trouble.tenant_id is not None:
        storm = _raging(_of_tenant(trouble), trouble, now=now, opening=opening)
        if storm is not None:
            return Flood(absorbed_by=storm)
    # Of a module's storm the house alone knows: an operator, or who opens what is the platform's, writes no tenant's.
    if current_tenant() is EVERYONE and trouble.sequence is not None:
        return Flood(parent=_raging(_of_module(trouble), trouble, now=now, opening=opening))
    return CALM


def _raging(kind: _Kind, trouble: Trouble, *, now: datetime, opening: Callable[[Trouble], UUID]) -> UUID | None:
    """Return the ticket of the storm that the trouble is part of, having counted it in; None while it is calm."""
    storm = _storm(kind, now=now) or _begun(kind, trouble, now=now, opening=opening)
    if storm is None:
        return None
    _grow(storm, trouble)
    return storm.id


class _Kind(NamedTuple):
    """Whose storm: its fingerprint, and the columns by which the tickets that make it are found."""

    fingerprint: str
    tenant_id: str | None
    module: str | None
    which: dict[str, Any]


def _of_tenant(trouble: Trouble) -> _Kind:
    mark = fingerprint(tenant_id=trouble.tenant_id, module="", kind=SOURCE, error_class="tenant", message="")
    return _Kind(mark, trouble.tenant_id, None, {"tenant_id": trouble.tenant_id})


def _of_module(trouble: Trouble) -> _Kind:
    mark = fingerprint(tenant_id=None, module=trouble.module, kind=SOURCE, error_class="module", message="")
    return _Kind(mark, None, trouble.module, {"module": trouble.module, "status__in": OPEN})


def _storm(kind: _Kind, *, now: datetime) -> Ticket | None:
    """Return the storm's ticket while it rages: open, and grown within the last ten minutes."""
    raging = Ticket.objects.filter(fingerprint=kind.fingerprint, status__in=OPEN, last_seen_at__gt=now - CALM_AFTER)
    return raging.first()


def _begun(kind: _Kind, trouble: Trouble, *, now: datetime, opening: Callable[[Trouble], UUID]) -> Ticket | None:
    """Return the ticket of a storm that begins with this trouble: there were enough before it within the minute."""
    newest = list(Ticket.objects.filter(**kind.which).exclude(source__in=[SOURCE, "person"]).order_by("-id")[:FLOOD])
    if len(newest) < FLOOD or newest[-1].opened_at <= now - WITHIN:
        return None
    if kind.tenant_id is None and len({each.tenant_id for each in newest}) == 1:
        return None  # one tenant's flood is that tenant's storm
    modules = {each.module for each in newest} | {trouble.module}
    where = f"in {trouble.module}" if len(modules) == 1 else "in several modules"
    ticket_id = opening(
        Trouble(
            tenant_id=kind.tenant_id,
            module=modules.pop() if len(modules) == 1 else SEVERAL,
            issue=f"Storm: {FLOOD} different failures {where} within a minute",
            source=SOURCE,
            kind=SOURCE,
            severity=Severity.CRITICAL,
            fingerprint=kind.fingerprint,
            at=now,
            automatic=False,
        )
    )
    storm = Ticket.objects.get(id=ticket_id)
    for each in newest:
        note = Note(Kind.JOINED_STORM, {"storm": str(storm.id)})
        if each.status in OPEN and each.parent_id is None:
            write(Change(sets={"parent_id": storm.id}, notes=[note], counts=False), held=hold(each.id), by=PLANE)
    return storm


def _grow(storm: Ticket, trouble: Trouble) -> None:
    """Count trouble into its storm, once; the first fifty are named, then ever fewer."""
    held = hold(storm.id)
    known = held.ticket.last_sequence
    if trouble.sequence is not None and known is not None and known >= trouble.sequence:
        return
    occurrences = held.ticket.occurrences + 1
    named = occurrences <= MOST_NAMED or is_noted(occurrences)
    data = {"fingerprint": trouble.fingerprint, "issue": trouble.issue, "job_id": _text(trouble.job_id)}
    change = Change(
        sets={
            "occurrences": occurrences,
            "last_seen_at": held.now,
            "last_sequence": max(known or 0, trouble.sequence or 0) or None,
        },
        # A platform's ticket tells nothing of one tenant's failure but that there is one: its own ticket says which.
        notes=[Note(Kind.STORM_GREW, data if storm.tenant_id else {"fingerprint": trouble.fingerprint})] * named,
        counts=False,
    )
    write(change, held=held, by=PLANE)
    if named and trouble.job_id is not None and storm.tenant_id:
        watching.link(storm, kind="job", refs=[str(trouble.job_id)])


def _text(job_id: UUID | None) -> str | None:
    return None if job_id is None else str(job_id)

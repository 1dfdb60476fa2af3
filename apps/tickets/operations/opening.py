"""Trouble becomes a ticket: a new one, or one more occurrence of what is open, or what was resolved comes back.

One open ticket a fingerprint is the database's promise, a partial unique index: of two that open at once the second
finds the first's. Ten thousand failures of one kind cost ten thousand short updates of one row, and a handful of
entries.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, NamedTuple
from uuid import UUID

import orjson

from apps.core.database import preparing
from apps.core.ids import uuid7
from apps.events import operations as event_log
from apps.tickets import events
from apps.tickets.entries import Kind
from apps.tickets.lifecycle import OPEN_STATES, Severity, State, is_noted, may_reopen, raised
from apps.tickets.models import ISSUE_CHARS, OPEN, Ticket
from apps.tickets.operations import commands, merging, storms, watching
from apps.tickets.operations.promises import promised
from apps.tickets.operations.writing import Change, Note, hold, write
from apps.tickets.trouble import Trouble

MOST_JOB_LINKS = 20
IS_OPEN = f"status IN ({', '.join(repr(state) for state in OPEN)})"


class Became(StrEnum):
    """What became of a trouble that was reported."""

    OPENED = "opened"
    REPEATED = "repeated"
    REOPENED = "reopened"
    ABSORBED = "absorbed"  # by a storm's ticket
    KNOWN = "known"  # it was counted before


class Reported(NamedTuple):
    """The ticket that owes the answer, and how it came to."""

    ticket_id: UUID
    became: Became


# `successes` begin anew with each failure: what succeeded before it proves nothing.
COUNT = f"""
UPDATE tickets SET occurrences = occurrences + 1, successes = '[]',
       last_seen_at = greatest(last_seen_at, coalesce(%(at)s, clock_timestamp())),
       last_sequence = greatest(last_sequence, %(sequence)s), last_job_id = coalesce(%(job)s, last_job_id)
 WHERE {{which}} AND {IS_OPEN}
   AND (%(sequence)s::bigint IS NULL OR last_sequence IS NULL OR last_sequence < %(sequence)s)
RETURNING id, occurrences, severity
"""
COUNT_ALIKE = COUNT.format(which="fingerprint = %(fingerprint)s")
COUNT_ONE = COUNT.format(which="id = %(ticket)s")

OPEN_ONE = f"""
WITH opened AS (
    INSERT INTO tickets (id, tenant_id, module, issue, description, about, source, kind, status, severity, version,
           fingerprint, occurrences, last_seen_at, last_sequence, first_job_id, last_job_id, successes, assignee,
           team_id, opened_at, opened_by, parent_id, promise, chain, due_at)
    VALUES (%(id)s, %(tenant)s, %(module)s, %(issue)s, %(description)s, %(about)s, %(source)s, %(kind)s, 'open',
           %(severity)s, 1, %(fingerprint)s, 1, coalesce(%(at)s, clock_timestamp()), %(sequence)s, %(job)s, %(job)s,
           '[]', %(assignee)s, %(team)s, clock_timestamp(), %(by)s, %(parent)s, %(promise)s, %(chain)s,
           clock_timestamp())
    ON CONFLICT (fingerprint) WHERE {IS_OPEN} AND fingerprint IS NOT NULL DO NOTHING
    RETURNING id, tenant_id, opened_at
), noted AS (
    INSERT INTO ticket_entries (ticket_id, tenant_id, kind, at, by, data)
    SELECT id, tenant_id, n.kind, opened_at, %(by)s, n.data
      FROM opened, ROWS FROM (jsonb_to_recordset(%(notes)s) AS (kind text, data jsonb))
                   WITH ORDINALITY AS n(kind, data, place) ORDER BY n.place
), linked AS (
    INSERT INTO ticket_links (ticket_id, tenant_id, kind, ref, at)
    SELECT id, tenant_id, l.kind, l.ref, opened_at
      FROM opened, jsonb_to_recordset(%(links)s) AS l(kind text, ref text)
    ON CONFLICT DO NOTHING
), news AS (
    SELECT t.event_id, tenant_id, t.event_type, id::text AS event_subject, t.event_data
      FROM opened, jsonb_to_recordset(%(events)s) AS t(event_id uuid, event_type text, event_data jsonb)
), told AS ({event_log.APPEND.format(source="news")})
SELECT id FROM opened
"""


def report(trouble: Trouble) -> Reported:
    """Report trouble; return the ticket it belongs to, and how. In its tenant's context, or across tenants.

    An event that was counted before changes nothing.
    """
    if trouble.fingerprint is not None:
        known = _repeated(trouble) or _came_back(trouble)
        if known is not None:
            return known
    flood = storms.valve(trouble, opening=_report_storm) if trouble.automatic else storms.CALM
    if flood.absorbed_by is not None:
        return Reported(flood.absorbed_by, Became.ABSORBED)
    ticket_id = _opened(trouble, parent=flood.parent)
    if ticket_id is not None:
        return Reported(ticket_id, Became.OPENED)
    # Somebody opened it between the look and the insert; their row is committed by now, or the insert had waited.
    return _repeated(trouble) or _came_back(trouble) or Reported(_newest(trouble).id, Became.KNOWN)


def _report_storm(trouble: Trouble) -> UUID:
    return report(trouble).ticket_id


def _repeated(trouble: Trouble) -> Reported | None:
    """Count one more occurrence of what is open; None where nothing is, or the event was counted before."""
    return _counted(COUNT_ALIKE, trouble)


def _counted(statement: str, trouble: Trouble, *, ticket_id: UUID | None = None) -> Reported | None:
    values = {"fingerprint": trouble.fingerprint, "ticket": ticket_id, "job": trouble.job_id}
    with preparing() as cursor:
        cursor.execute(statement, {**values, "at": trouble.at, "sequence": trouble.sequence})
        found = cursor.fetchone()
    if found is None:
        return None
    ticket_id, occurrences, severity = found
    _note_repeat(trouble, ticket_id=ticket_id, occurrences=occurrences, severity=Severity(severity))
    return Reported(ticket_id, Became.REPEATED)


def _note_repeat(trouble: Trouble, *, ticket_id: UUID, occurrences: int, severity: Severity) -> None:
    """Write what is worth an entry about an occurrence; at the 10th, 100th, 1,000th the severity rises."""
    worse = raised(severity, occurrences=occurrences)
    if not is_noted(occurrences) and worse is None:
        return
    notes = [Note(Kind.REPEATED, {"occurrences": occurrences, "job_id": _text(trouble.job_id)})]
    if worse is not None:
        data = {"before": severity.value, "after": worse.value, "occurrences": occurrences}
        notes.append(Note(Kind.SEVERITY_RAISED, data))
    sets = {} if worse is None else {"severity": worse.value}
    ticket = write(Change(sets=sets, notes=notes, counts=False), held=hold(ticket_id), by=trouble.by)
    if trouble.job_id is not None and occurrences <= MOST_JOB_LINKS:
        watching.link(ticket, kind="job", refs=[str(trouble.job_id)])


def _came_back(trouble: Trouble) -> Reported | None:
    """Count trouble whose ticket is over or merged: where its pointer leads, or opening it again; None: it is new."""
    newest = Ticket.objects.filter(fingerprint=trouble.fingerprint).order_by("-id").first()
    if newest is None:
        return None
    speaks = merging.speaker_of(newest)
    for each in (newest, speaks):
        if trouble.sequence is not None and each.last_sequence is not None and each.last_sequence >= trouble.sequence:
            return Reported(speaks.id, Became.KNOWN)
    held = hold(speaks.id)
    if held.state in OPEN_STATES:
        return _counted(COUNT_ONE, trouble, ticket_id=speaks.id)
    at = trouble.at or held.now
    if not may_reopen(resolved_at=held.ticket.resolved_at, now=at):
        return None
    counted = {
        "occurrences": held.ticket.occurrences + 1,
        "last_seen_at": max(held.ticket.last_seen_at, at),
        "last_sequence": max(held.ticket.last_sequence or 0, trouble.sequence or 0) or None,
        "last_job_id": trouble.job_id or held.ticket.last_job_id,
    }
    if held.ticket.resolved_at is not None and at <= held.ticket.resolved_at:
        write(Change(sets=counted, counts=False), held=held, by=trouble.by)  # it happened before it was resolved
        return Reported(speaks.id, Became.REPEATED)
    note = {"reason": "it happened again", "job_id": _text(trouble.job_id), "occurrences": counted["occurrences"]}
    tells = {"reason": "repeats", "job_id": _text(trouble.job_id)}
    commands.reopened(held, by=trouble.by, note=note, tells=tells, sets=counted)
    return Reported(speaks.id, Became.REOPENED)


def _opened(trouble: Trouble, *, parent: UUID | None) -> UUID | None:
    """Open a ticket; None where another one is open by now about the same."""
    ticket = Ticket(
        id=uuid7(),
        tenant_id=trouble.tenant_id,
        module=trouble.module,
        source=trouble.source,
        kind=trouble.kind,
        status=State.OPEN.value,
        severity=trouble.severity.value,
        fingerprint=trouble.fingerprint,
    )
    kept = promised(tenant_id=trouble.tenant_id, module=trouble.module, severity=trouble.severity.value)
    values = {
        "id": ticket.id,
        "tenant": trouble.tenant_id,
        "module": trouble.module,
        "issue": trouble.issue[:ISSUE_CHARS],
        "description": trouble.description,
        "about": _json(trouble.about),
        "source": trouble.source,
        "kind": trouble.kind,
        "severity": trouble.severity.value,
        "fingerprint": trouble.fingerprint,
        "at": trouble.at,
        "sequence": trouble.sequence,
        "job": trouble.job_id,
        "assignee": trouble.assignee,
        "team": trouble.team,
        "by": trouble.by,
        "parent": parent,
        "promise": _json(kept.promise),
        "chain": _json(kept.chain),
        "notes": _json(_first_notes(trouble, parent=parent)),
        "links": _json([{"kind": kind, "ref": ref} for kind, ref in _first_links(trouble)]),
        "events": _json(_first_events(ticket, trouble)),
    }
    with preparing() as cursor:
        cursor.execute(OPEN_ONE, values)
        if cursor.fetchone() is None:
            return None
    people = [each for each in (trouble.assignee,) if each]
    watching.watch(ticket, people=people, by="")
    return ticket.id


def _first_notes(trouble: Trouble, *, parent: UUID | None) -> list[dict[str, Any]]:
    notes = [{"kind": Kind.OPENED, "data": {"source": trouble.source, "severity": trouble.severity.value}}]
    if trouble.assignee or trouble.team:
        notes.append({"kind": Kind.ASSIGNED, "data": {"assignee": trouble.assignee, "team": trouble.team}})
    if parent is not None:
        notes.append({"kind": Kind.JOINED_STORM, "data": {"storm": str(parent)}})
    return notes


def _first_links(trouble: Trouble) -> list[tuple[str, str]]:
    links = [("module", trouble.module)]
    links += [("tenant", trouble.tenant_id)] if trouble.tenant_id else []
    links += [("job", str(trouble.job_id))] if trouble.job_id else []
    return [*links, *trouble.links]


def _first_events(ticket: Ticket, trouble: Trouble) -> list[dict[str, Any]]:
    told: list[tuple[str, dict[str, Any]]] = [(events.CREATED, {"job_id": _text(trouble.job_id)})]
    if trouble.assignee or trouble.team:
        told.append((events.ASSIGNED, {"assignee": trouble.assignee, "team": trouble.team}))
    return [
        {
            "event_id": str(uuid7()),
            "event_type": event_type,
            "event_data": events.payload(ticket, by=trouble.by, **more),
        }
        for event_type, more in told
    ]


def _newest(trouble: Trouble) -> Ticket:
    return Ticket.objects.filter(fingerprint=trouble.fingerprint).order_by("-id")[0]


def _text(job_id: UUID | None) -> str | None:
    return None if job_id is None else str(job_id)


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()

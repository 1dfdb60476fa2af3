"""A ticket as it is read: by a module over HTTP, and by people on the admin's pages."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from apps.evidence.queries import states_of
from apps.tickets import queries
from apps.tickets.diff import Change, Run
from apps.tickets.models import Entry, Ticket
from apps.tickets.queries import Compared
from apps.tickets.sla import Clock

PLAIN = (
    "tenant_id", "module", "issue", "description", "status", "severity", "version", "source", "kind", "about",
    "fingerprint", "occurrences", "last_seen_at", "assignee", "opened_at", "opened_by", "resolved_at", "closed_at",
    "resolution",
)  # fmt: skip


def ticket(row: Ticket, *, evidence: Mapping[UUID, tuple[str, str | None]] | None = None) -> dict[str, Any]:
    """Return a ticket as lists and commands show it; `evidence` are the states of the records of a page's tickets."""
    records = _records([row]) if evidence is None else evidence
    address = f"/operations/tickets/{row.id}"
    links = {"self": address}
    if row.first_job_id is not None:
        links["job"] = f"/operations/jobs/{row.first_job_id}"
    if row.evidence_id is not None:
        links["evidence"] = f"/operations/evidence/{row.evidence_id}"
    if row.merged_into_id is not None:
        links["merged_into"] = f"/operations/tickets/{row.merged_into_id}"
    return {
        "id": str(row.id),
        **{name: getattr(row, name) for name in PLAIN},
        "team": row.team_id,
        "merged_into": _text(row.merged_into_id),
        "storm": _text(row.parent_id),
        "job_id": _text(row.first_job_id),
        "last_job_id": _text(row.last_job_id),
        "evidence": _evidence(row, records=records),
        "links": links,
    }


def tickets(rows: list[Ticket]) -> list[dict[str, Any]]:
    """Return a page of tickets of one context, their evidence asked for once."""
    records = _records(rows)
    return [ticket(row, evidence=records) for row in rows]


def whole(row: Ticket) -> dict[str, Any]:
    """Return a ticket with its log, clocks, watchers, references and what was different when it began."""
    found = queries.compared(row)
    return {
        **ticket(row),
        "log": [entry(each) for each in queries.entries_of(row)],
        "sla": [clock(each) for each in queries.clocks_of(row)],
        "promise": row.promise.get("name"),
        "watchers": queries.watchers_of(row),
        "refs": [{"kind": each.kind, "ref": each.ref, "at": each.at} for each in queries.links_of(row)],
        "merged": [str(each) for each in queries.merged_into(row)],
        "in_storm": [str(each) for each in queries.children_of(row)],
        "successes": [{name: each[name] for name in ("job_id", "record_id", "leaf")} for each in row.successes],
        "diff": None if found is None else compared(found),
    }


def entry(row: Entry) -> dict[str, Any]:
    """Return a line of a log."""
    return {"at": row.at, "what": row.kind, "by": row.by, "data": row.data}


def clock(found: Clock) -> dict[str, Any]:
    """Return a clock as it stands."""
    return {
        "goal": found.goal.value,
        "cycle": found.cycle,
        "goal_s": found.goal_s,
        "elapsed_s": round(found.elapsed_s, 3),
        "remaining_s": round(found.remaining_s, 3),
        "started_at": found.started_at,
        "stopped_at": found.stopped_at,
        "paused": found.paused,
        "breached": found.breached,
        "breach_at": found.breach_at,
    }


def compared(found: Compared) -> dict[str, Any]:
    """Return what differs between the first bad run and the last good one."""
    return {
        "bad": _run(found.bad),
        "good": None if found.good is None else _run(found.good),
        "changes": [_change(each) for each in found.changes],
        "same": list(found.same),
    }


def _run(run: Run) -> dict[str, Any]:
    return {"job_id": run.job_id, "finished_at": run.finished_at}


def _change(change: Change) -> dict[str, Any]:
    return {"field": change.field, "good": change.good, "bad": change.bad}


def _records(rows: list[Ticket]) -> dict[UUID, tuple[str, str | None]]:
    ids = [row.evidence_id for row in rows if row.evidence_id is not None]
    return states_of(ids) if ids else {}


def _evidence(row: Ticket, *, records: Mapping[UUID, tuple[str, str | None]]) -> dict[str, str | None] | None:
    if row.evidence_id is None:
        return None
    state, ref = records.get(row.evidence_id, (None, None))
    return {"state": state, "ref": ref or str(row.evidence_id)}


def _text(value: UUID | datetime | None) -> str | None:
    return None if value is None else str(value)

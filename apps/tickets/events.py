"""What tickets publish: names and payload shapes. Ids, states, words of the field; no sentence that somebody wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apps.tickets.lifecycle import Severity, State

if TYPE_CHECKING:
    from apps.tickets.models import Ticket

CREATED = "operations.ticket.created"
ACKNOWLEDGED = "operations.ticket.acknowledged"
ASSIGNED = "operations.ticket.assigned"
ESCALATED = "operations.ticket.escalated"
RESOLVED = "operations.ticket.resolved"
CLOSED = "operations.ticket.closed"
REOPENED = "operations.ticket.reopened"
MERGED = "operations.ticket.merged"
UNMERGED = "operations.ticket.unmerged"
MENTIONED = "operations.ticket.mentioned"
SLA_BREACHED = "operations.ticket.sla_breached"

ALL = (
    CREATED, ACKNOWLEDGED, ASSIGNED, ESCALATED, RESOLVED, CLOSED, REOPENED, MERGED, UNMERGED, MENTIONED, SLA_BREACHED,
)  # fmt: skip

_ID: dict[str, Any] = {"type": "string", "format": "uuid"}
_TEXT: dict[str, Any] = {"type": "string"}
_TEXTS: dict[str, Any] = {"type": "array", "items": {"type": "string"}}

BASE: dict[str, Any] = {
    "ticket_id": _ID,
    "module": {**_TEXT, "description": "whose trouble it is"},
    "source": {**_TEXT, "description": "what opened it"},
    "kind": {**_TEXT, "description": "a job's type, or the sort of thing that went wrong; may be empty"},
    "status": {"enum": [state.value for state in State], "description": "the state it is in now"},
    "severity": {"enum": [severity.value for severity in Severity]},
    "version": {"type": "integer", "minimum": 1, "description": "what the next command must name"},
    "occurrences": {"type": "integer", "minimum": 1},
    "fingerprint": {"type": ["string", "null"], "description": "alike for what is the same thing again"},
    "by": {**_TEXT, "description": "the module or person; `plane`: by itself"},
}


def _schema(**more: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": list(BASE),
        "properties": {**BASE, **more},
    }


JOB = {**_ID, "description": "the job whose failure it was"}
# Event type -> (what it says, the shape of its data).
MEANINGS: dict[str, tuple[str, dict[str, Any]]] = {
    CREATED: ("A ticket was opened.", _schema(job_id=JOB)),
    ACKNOWLEDGED: ("Somebody has seen it, and answers for it.", _schema()),
    ASSIGNED: (
        "It was assigned, or its assignment taken back.",
        _schema(assignee={"type": ["string", "null"]}, team={"type": ["string", "null"]}),
    ),
    ESCALATED: (
        "Nobody took it in time, or it repeats: others are told.",
        _schema(
            reason={"enum": ["unacknowledged", "repeats"]},
            number={"type": "integer", "minimum": 1, "description": "how many escalations there were, this one too"},
            step={"type": "integer", "minimum": 1, "description": "of its chain"},
            tells={**_TEXTS, "description": "operators, team:…, person:…, role:…"},
        ),
    ),
    RESOLVED: (
        "The cause is gone: somebody says so, or the job type succeeded again.",
        _schema(
            automatic={"type": "boolean"},
            evidence_id={"type": ["string", "null"], "description": "the record of the resolution"},
        ),
    ),
    CLOSED: ("It is over.", _schema(automatic={"type": "boolean"})),
    REOPENED: ("It was opened again.", _schema(reason={"enum": ["asked", "repeats"]}, job_id=JOB)),
    MERGED: ("It was merged into another ticket, which speaks for both from now on.", _schema(into=_ID)),
    UNMERGED: ("It was taken out of the ticket that it was merged into.", _schema(out_of=_ID)),
    MENTIONED: ("Somebody was spoken to in a comment.", _schema(people=_TEXTS, teams=_TEXTS)),
    SLA_BREACHED: (
        "What was promised about it was not kept in time.",
        _schema(goal={"enum": ["response", "resolution"]}, goal_s={"type": "integer", "description": "seconds"}),
    ),
}


def payload(ticket: Ticket, *, by: str, **more: Any) -> dict[str, Any]:
    """Return the data of a ticket's event: the ticket as it is after the change."""
    return {
        "ticket_id": str(ticket.id),
        "module": ticket.module,
        "source": ticket.source,
        "kind": ticket.kind,
        "status": ticket.status,
        "severity": ticket.severity,
        "version": ticket.version,
        "occurrences": ticket.occurrences,
        "fingerprint": ticket.fingerprint,
        "by": by,
        **{name: value for name, value in more.items() if value is not None or name in {"assignee", "team"}},
    }

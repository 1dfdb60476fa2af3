"""What jobs publish: names and payload shapes. Ids, states, counts and codes; never data, never secrets."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from apps.jobs.lifecycle import State

SUBMITTED = "operations.job.submitted"
COMPLETED = "operations.job.completed"
FAILED = "operations.job.failed"
CANCELLED = "operations.job.cancelled"
REJECTED = "operations.job.rejected"
RETRYING = "operations.job.retrying"
PENDING_AUDIT = "operations.job.pending_audit"
AUDITED = "operations.job.audited"
CANCEL_REQUESTED = "operations.job.cancel_requested"
RESUBMITTED = "operations.job.resubmitted"
REPRIORITIZED = "operations.job.reprioritized"
REROUTED = "operations.job.rerouted"
QUEUE_PAUSED = "operations.queue.paused"
QUEUE_RESUMED = "operations.queue.resumed"

# What somebody asked for, as against what became of a job: each names who, as `by`.
BY_REQUEST = (SUBMITTED, CANCEL_REQUESTED, RESUBMITTED, REPRIORITIZED, REROUTED, QUEUE_PAUSED, QUEUE_RESUMED)
# What the evidence sink makes of a job that is over.
OF_AUDIT = (PENDING_AUDIT, AUDITED)
ALL = (*BY_REQUEST, COMPLETED, FAILED, CANCELLED, REJECTED, RETRYING, *OF_AUDIT)

# The event that tells of entering a state; the other states are nobody's news.
OF_STATE: dict[State, str] = {
    State.SUCCEEDED: COMPLETED,
    State.FAILED: FAILED,
    State.TIMED_OUT: FAILED,
    State.CANCELLED: CANCELLED,
    State.REJECTED: REJECTED,
    State.RETRYING: RETRYING,
}

# What a statement adds to an event's data where it has the job's row at hand: whose step it is.
PARENT = "CASE WHEN parent_id IS NULL THEN '{}'::jsonb ELSE jsonb_build_object('parent_id', parent_id) END"

# The shape of every job event's data, for the AsyncAPI document and whoever checks what arrives.
SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["job_id", "type", "status", "attempt", "reason_code", "error_class"],
    "properties": {
        "job_id": {"type": "string", "format": "uuid"},
        "type": {"type": "string", "description": "the job's type"},
        "status": {"enum": [state.value for state in State], "description": "the status it entered"},
        "attempt": {"type": "integer", "minimum": 0, "description": "claimed attempts so far"},
        "reason_code": {"type": ["string", "null"], "description": "why, as a stable word"},
        "error_class": {"type": ["string", "null"], "description": "the error's class, never its message"},
        "by": {"type": "string", "description": "the module or person who asked for it, where somebody did"},
        "parent_id": {"type": "string", "format": "uuid", "description": "of a plan's step: the plan"},
    },
}

REROUTE_SCHEMA: dict[str, Any] = {
    **SCHEMA,
    "properties": {**SCHEMA["properties"], "environment": {"type": "string", "description": "the pool it waits for"}},
}

PRIORITY_SCHEMA: dict[str, Any] = {
    **SCHEMA,
    "properties": {**SCHEMA["properties"], "priority": {"type": "string", "description": "the band it waits in now"}},
}

PAUSE_SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["pause_id", "environment", "tenant_id", "type", "until", "by"],
    "properties": {
        "pause_id": {"type": "string", "format": "uuid"},
        "environment": {"type": ["string", "null"], "description": "null = every one"},
        "tenant_id": {"type": ["string", "null"], "description": "null = every one"},
        "type": {"type": ["string", "null"], "description": "a job type; null = every one"},
        "until": {"type": ["string", "null"], "description": "when it ends by itself"},
        "by": {"type": "string", "description": "who asked; `clock`: it ended by itself"},
    },
}

# Event type -> (what it says, the shape of its data).
MEANINGS: dict[str, tuple[str, dict[str, Any]]] = {
    SUBMITTED: ("A job was admitted.", SCHEMA),
    COMPLETED: ("A job succeeded.", SCHEMA),
    FAILED: ("A job failed or timed out, for good.", SCHEMA),
    CANCELLED: ("A job was cancelled; dependants of a failed one are, too.", SCHEMA),
    REJECTED: ("A job was refused by Governance or Subscription.", SCHEMA),
    CANCEL_REQUESTED: ("A running job was asked to stop.", SCHEMA),
    RESUBMITTED: ("A job that was over was queued once more, by request.", SCHEMA),
    REPRIORITIZED: ("A waiting job was given another priority.", PRIORITY_SCHEMA),
    REROUTED: ("A waiting job waits for another pool: its own is not well.", REROUTE_SCHEMA),
    QUEUE_PAUSED: ("Nothing of an environment, tenant or type is dispatched from now on.", PAUSE_SCHEMA),
    QUEUE_RESUMED: ("A pause is over.", PAUSE_SCHEMA),
    PENDING_AUDIT: ("A job ended, and the evidence sink has not accepted its evidence; it is tried again.", SCHEMA),
    AUDITED: ("The evidence of a job that read pending_audit was accepted.", SCHEMA),
    RETRYING: ("An attempt failed or was lost; the job will be tried again.", SCHEMA),
}


def payload(
    *,
    job_id: UUID,
    job_type: str,
    status: str,
    attempt: int,
    reason_code: str | None = None,
    error_class: str | None = None,
    by: str | None = None,
    parent_id: UUID | None = None,
) -> dict[str, Any]:
    """Return the data of a job's event; `by` names who asked for it, where somebody did, `parent_id` a step's plan."""
    told = {"by": by} if by is not None else {}
    if parent_id is not None:
        told["parent_id"] = str(parent_id)
    return told | {
        "job_id": str(job_id),
        "type": job_type,
        "status": status,
        "attempt": attempt,
        "reason_code": reason_code,
        "error_class": error_class,
    }

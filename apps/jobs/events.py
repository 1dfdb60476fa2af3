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
CANCEL_REQUESTED = "operations.job.cancel_requested"
RESUBMITTED = "operations.job.resubmitted"
REPRIORITIZED = "operations.job.reprioritized"

# What somebody asked for, as against what became of a job: each names who, as `by`.
BY_REQUEST = (SUBMITTED, CANCEL_REQUESTED, RESUBMITTED, REPRIORITIZED)
ALL = (*BY_REQUEST, COMPLETED, FAILED, CANCELLED, REJECTED, RETRYING)

# The event that tells of entering a state; the other states are nobody's news.
OF_STATE: dict[State, str] = {
    State.SUCCEEDED: COMPLETED,
    State.FAILED: FAILED,
    State.TIMED_OUT: FAILED,
    State.CANCELLED: CANCELLED,
    State.REJECTED: REJECTED,
    State.RETRYING: RETRYING,
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
) -> dict[str, Any]:
    """Return the data of a job's event; `by` names who asked for it, where somebody did."""
    told = {"by": by} if by is not None else {}
    return told | {
        "job_id": str(job_id),
        "type": job_type,
        "status": status,
        "attempt": attempt,
        "reason_code": reason_code,
        "error_class": error_class,
    }

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

ALL = (SUBMITTED, COMPLETED, FAILED, CANCELLED, REJECTED, RETRYING)

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
) -> dict[str, Any]:
    """Return the data of a job's event."""
    return {
        "job_id": str(job_id),
        "type": job_type,
        "status": status,
        "attempt": attempt,
        "reason_code": reason_code,
        "error_class": error_class,
    }

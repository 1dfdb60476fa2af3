"""Dispatch: a waiting job gets a slot and a fence, before anybody is told of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from apps.core.database import preparing


class Dispatched(NamedTuple):
    """A job that holds a slot under `fence`, to be published; `timeout_s` is its run time-out."""

    job_id: UUID
    fence: int
    type: str
    timeout_s: int


# Committed without waiting for the disk (synchronous_commit), like the claim: if the server loses power, the newest
# dispatches may be undone. Then the job is queued, and is dispatched again under the same fence, but claimed at another
# instant: who ran the undone one holds nothing, since a lease is (fence, started_at) wherever it is asked for.
DISPATCH = """
UPDATE jobs SET status = 'dispatched', fence = fence + 1, dispatched_at = clock_timestamp(), started_at = NULL,
       worker_id = NULL, worker_pid = NULL
 WHERE job_id = ANY (%s) AND status = 'queued' AND cancel_requested_at IS NULL
RETURNING job_id, fence, type, timeout_s, set_config('synchronous_commit', 'off', true)
"""

RELEASE = """
UPDATE jobs SET status = 'queued', queued_at = clock_timestamp(), due_at = NULL
 WHERE job_id IN (SELECT job_id FROM jobs WHERE status IN ('scheduled', 'retrying') AND due_at <= clock_timestamp()
                   ORDER BY due_at LIMIT %s FOR UPDATE SKIP LOCKED)
"""


def dispatch(job_ids: Sequence[UUID]) -> list[Dispatched]:
    """Give each job that is still queued a slot and its next fence; return them in the order asked for.

    Committed before publishing: a message can then never be claimed before its slot is counted, and a crash between
    the two costs the time until the sweeper recalls the dispatch.
    """
    if not job_ids:
        return []
    with preparing() as cursor:
        cursor.execute(DISPATCH, [list(job_ids)])
        made = {row[0]: Dispatched(*row[:4]) for row in cursor.fetchall()}
    return [made[job_id] for job_id in job_ids if job_id in made]


def release_due(*, limit: int) -> int:
    """Queue the scheduled and retrying jobs whose time has come; return how many."""
    with preparing() as cursor:
        cursor.execute(RELEASE, [limit])
        return int(cursor.rowcount)

"""Dispatch: a waiting job gets a slot and a fence, before anybody is told of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from django.db import connection

from apps.core.database import preparing
from apps.core.ids import uuid7
from apps.jobs.operations import leadership


class Dispatched(NamedTuple):
    """A job that holds a slot under `fence`, to be published in `bundle_id`; `timeout_s` is its run time-out."""

    job_id: UUID
    fence: int
    type: str
    timeout_s: int
    bundle_id: UUID


# Not waited for on disk, and neither is the claim: the end is, and takes both with it. A PostgreSQL that is killed may
# forget the newest of them; the job is then queued as it was and dispatched again, perhaps under the same number. The
# bundle's id tells the two apart: it is new with each dispatch, and whoever holds the forgotten one matches nothing.
#
# Whoever dispatches for an epoch holds its office meanwhile: a new leader's taking of it waits, or has been.
DISPATCH = """
WITH office AS (SELECT 1 FROM leaders WHERE role = 'scheduler' AND epoch = %(epoch)s FOR SHARE)
UPDATE jobs SET status = 'dispatched', fence = fence + 1, dispatched_at = clock_timestamp(), started_at = NULL,
       worker_id = NULL, worker_pid = NULL, bundle_id = b.bundle_id, bundle_size = b.size
  FROM unnest(%(jobs)s::uuid[], %(bundles)s::uuid[], %(sizes)s::smallint[]) AS b(id, bundle_id, size)
 WHERE (%(epoch)s::bigint IS NULL OR EXISTS (SELECT 1 FROM office))
   AND job_id = b.id AND status = 'queued' AND cancel_requested_at IS NULL
   AND (start_by IS NULL OR start_by > clock_timestamp())
   AND (deadline_at IS NULL OR deadline_at > clock_timestamp())
RETURNING job_id, fence, type, timeout_s, jobs.bundle_id, set_config('synchronous_commit', 'off', true)
"""

RELEASE = """
UPDATE jobs SET status = 'queued', queued_at = clock_timestamp(), due_at = NULL
 WHERE job_id IN (SELECT job_id FROM jobs WHERE status IN ('scheduled', 'retrying') AND due_at <= clock_timestamp()
                   ORDER BY due_at LIMIT %s FOR UPDATE SKIP LOCKED)
"""


def dispatch(bundles: Sequence[Sequence[UUID]], *, epoch: int | None = None) -> list[list[Dispatched]]:
    """Give each job that is still queued a slot and its next fence; return the bundles that are not empty, in order.

    With an `epoch`, for the scheduler's leader of that epoch alone: raises `OutOfOfficeError` where it is over.
    Committed before publishing: a message can then never be claimed before its slot is counted, and a crash between
    the two costs the time until the sweeper recalls the dispatch.
    """
    if not bundles:
        return []
    flat = [(job_id, bundle_id, len(jobs)) for jobs in bundles for bundle_id in [uuid7()] for job_id in jobs]
    with preparing() as cursor:
        jobs, ids, sizes = (list(column) for column in zip(*flat, strict=True))
        cursor.execute(DISPATCH, {"jobs": jobs, "bundles": ids, "sizes": sizes, "epoch": epoch})
        made = {row[0]: Dispatched(*row[:5]) for row in cursor.fetchall()}
    if not made and epoch is not None:
        leadership.confirm(role="scheduler", epoch=epoch)
    found = [[made[job_id] for job_id in jobs if job_id in made] for jobs in bundles]
    return [bundle for bundle in found if bundle]


def release_due(*, limit: int) -> int:
    """Queue the scheduled and retrying jobs whose time has come; return how many."""
    with connection.cursor() as cursor:
        cursor.execute(RELEASE, [limit])
        return int(cursor.rowcount)

"""Recovery: dispatches nobody claimed, workers that are gone, attempts that ran past their time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

from django.db import connection

from apps.jobs.lifecycle import Ending, State
from apps.jobs.operations import end
from apps.jobs.operations.end import Report
from apps.jobs.operations.held import HELD, held
from apps.jobs.retry import Retry

UNCLAIMED_AFTER_S = 10
# A worker ends an attempt that is past its time by itself; the sweeper does when the worker could not.
OVERTIME_S = 5

LOST = (
    HELD
    + """
  LEFT JOIN processes p ON p.process_id = j.worker_id
 WHERE j.status = 'running' AND (p.process_id IS NULL OR p.state = 'gone' OR p.lease_until < clock_timestamp())
 ORDER BY j.started_at LIMIT 500
"""
)

UNCLAIMED = (
    HELD
    + """
 WHERE j.status = 'dispatched' AND j.dispatched_at < clock_timestamp()
       - make_interval(secs => %(after_s)s * power(2, least(j.unclaimed, 6)))
 ORDER BY j.dispatched_at LIMIT 500
"""
)

OVERTIME = (
    HELD
    + """
 WHERE j.status = 'running' AND least(j.started_at + make_interval(secs => j.timeout_s), j.deadline_at)
       < clock_timestamp() - make_interval(secs => %(over_s)s)
 ORDER BY j.started_at LIMIT 500
"""
)

SILENT = (
    HELD
    + """
 WHERE j.status = 'running' AND j.heartbeat_s IS NOT NULL
       AND j.heard_at < clock_timestamp() - make_interval(secs => j.heartbeat_s + %(over_s)s)
 ORDER BY j.started_at LIMIT 500
"""
)

DEAF = (
    HELD
    + """
 WHERE j.status = 'running'
   AND j.cancel_requested_at < clock_timestamp() - make_interval(secs => j.cancel_grace_s)
 ORDER BY j.cancel_requested_at LIMIT 500
"""
)

NEVER_STARTED = (
    HELD
    + """
 WHERE j.outcome IS NULL AND j.status <> 'running' AND j.start_by < clock_timestamp() ORDER BY j.start_by LIMIT 500
"""
)

PAST_DEADLINE = (
    HELD
    + """
 WHERE j.outcome IS NULL AND j.status <> 'running' AND j.deadline_at < clock_timestamp()
 ORDER BY j.deadline_at LIMIT 500
"""
)

FORCED = """
SELECT a.job_id, a.fence FROM attempts a
 WHERE a.forced AND (a.job_id, a.fence) IN (SELECT * FROM unnest(%(ids)s::uuid[], %(fences)s::bigint[]))
"""

OF_WORKER = (
    HELD
    + """
 WHERE j.status = 'running' AND j.worker_id = %(worker)s
"""
)

# A child forked after the living were counted is alive though uncounted: what it claimed is too young to be judged.
OF_DEAD_CHILDREN = (
    OF_WORKER
    + """
   AND NOT j.worker_pid = ANY (%(pids)s) AND j.started_at < clock_timestamp() - interval '2 seconds'
"""
)

# What a worker's parent does not know to run, though it claimed it: the answer to the claim was lost, or its process
# went on without having been able to write the end. Young ones may not have been announced to the parent yet.
OF_NOBODY = (
    OF_WORKER
    + """
   AND j.started_at < clock_timestamp() - interval '10 seconds'
   AND (j.job_id, j.fence) NOT IN (SELECT * FROM unnest(%(ids)s::uuid[], %(fences)s::bigint[]))
"""
)

OF_DISPATCHES = (
    HELD
    + """
 WHERE j.status = %(status)s
   AND (j.job_id, j.fence) IN (SELECT * FROM unnest(%(ids)s::uuid[], %(fences)s::bigint[]))
"""
)

EXPIRE = """
UPDATE processes SET state = 'gone' WHERE state <> 'gone' AND lease_until < clock_timestamp() RETURNING process_id
"""

RetryOf = Callable[[str], Retry]


def _error(error_class: str, code: str, message: str) -> dict[str, str]:
    return {"class": error_class, "code": code, "message": message}


PROCESS_DIED = Report(error=_error("WorkerLost", "worker_lost", "the process that ran it died"))


def expire_leases() -> int:
    """Declare every process gone whose lease ran out, so that it cannot renew it; return how many."""
    with connection.cursor() as cursor:
        cursor.execute(EXPIRE)
        return len(cursor.fetchall())


def hand_back_lost(*, retry_of: RetryOf) -> set[tuple[UUID, int]]:
    """End the running jobs whose worker's lease is over: `worker_lost`, an attempt spent."""
    report = Report(error=_error("WorkerLost", "worker_lost", "the worker that ran it is gone"))
    return _end_all(LOST, {}, ending=Ending.WORKER_LOST, by="sweeper", retry_of=retry_of, report=report)


def recall_unclaimed(*, retry_of: RetryOf) -> set[tuple[UUID, int]]:
    """Queue again the dispatches that nobody claimed in time; the wait doubles with each in a row."""
    return _end_all(UNCLAIMED, {"after_s": UNCLAIMED_AFTER_S}, ending=Ending.UNCLAIMED, by="sweeper", retry_of=retry_of)


def end_overtime(*, retry_of: RetryOf) -> set[tuple[UUID, int]]:
    """End the attempts that ran past their time and whose worker did not end them."""
    error = _error("JobTimeout", "timed_out", "the attempt ran past its time and did not stop")
    report = Report(error=error, forced=True)
    return _end_all(
        OVERTIME, {"over_s": OVERTIME_S}, ending=Ending.TIMED_OUT, by="sweeper", retry_of=retry_of, report=report
    )


def end_silent(*, retry_of: RetryOf) -> set[tuple[UUID, int]]:
    """End the attempts that said nothing for their type's heartbeat and whose worker did not end them."""
    error = _error("JobTimeout", "heartbeat", "the attempt said nothing for too long and did not stop")
    report = Report(error=error, reason_code="heartbeat", forced=True)
    return _end_all(
        SILENT, {"over_s": OVERTIME_S}, ending=Ending.TIMED_OUT, by="sweeper", retry_of=retry_of, report=report
    )


def end_deaf(*, retry_of: RetryOf) -> set[tuple[UUID, int]]:
    """End the attempts that did not stop within the grace of a cancel; their worker kills the process."""
    error = _error("Cancelled", "cancelled_killed", "the attempt did not stop within the grace time and was killed")
    report = Report(error=error, reason_code="cancelled_killed", forced=True, how="killed")
    return _end_all(DEAF, {}, ending=Ending.CANCELLED, by="sweeper", retry_of=retry_of, report=report)


def end_overdue(*, retry_of: RetryOf) -> set[tuple[UUID, int]]:
    """End the jobs that did not start by the time they had to, or that wait past their deadline."""
    ended: set[tuple[UUID, int]] = set()
    for query, reason, message in (
        (NEVER_STARTED, "start_by", "the job did not start by the time it had to"),
        (PAST_DEADLINE, "deadline", "the job was not over by its deadline"),
    ):
        report = Report(error=_error("JobTimeout", reason, message), reason_code=reason)
        ended |= _end_all(query, {}, ending=Ending.EXPIRED, by="scheduler", retry_of=retry_of, report=report)
    return ended


def forced(dispatches: Sequence[tuple[UUID, int]]) -> set[tuple[UUID, int]]:
    """Return which of these dispatches (job_id, fence) were ended over the head of the process that runs them."""
    with connection.cursor() as cursor:
        cursor.execute(FORCED, _dispatches(dispatches, status=State.RUNNING))
        return {(job_id, fence) for job_id, fence in cursor.fetchall()}


def hand_back_of_dead_children(
    *, worker_id: UUID, living_pids: Sequence[int], retry_of: RetryOf
) -> set[tuple[UUID, int]]:
    """End the jobs that ran in processes of this worker which are no more: `worker_lost`, an attempt spent."""
    values = {"worker": worker_id, "pids": list(living_pids)}
    return _end_all(
        OF_DEAD_CHILDREN, values, ending=Ending.WORKER_LOST, by="parent", retry_of=retry_of, report=PROCESS_DIED
    )


def hand_back_of_nobody(
    *, worker_id: UUID, running: Sequence[tuple[UUID, int]], retry_of: RetryOf
) -> set[tuple[UUID, int]]:
    """End what this worker claimed and does not run: all but `running` (job_id, fence). An attempt spent."""
    values = {**_dispatches(running, status=State.RUNNING), "worker": worker_id}
    report = Report(error=_error("WorkerLost", "worker_lost", "its worker claimed it and does not run it"))
    return _end_all(OF_NOBODY, values, ending=Ending.WORKER_LOST, by="parent", retry_of=retry_of, report=report)


def hand_back_of_dead_child(
    dispatches: Sequence[tuple[UUID, int]], *, stopping: bool, retry_of: RetryOf
) -> set[tuple[UUID, int]]:
    """End the running dispatches (job_id, fence) whose process was seen to die.

    `worker_lost`, an attempt spent; but a worker that is `stopping` ends its processes itself, when the grace time is
    over, and that is no attempt of the job's.
    """
    ending, report = (Ending.HANDED_BACK, end.NOTHING_REPORTED) if stopping else (Ending.WORKER_LOST, PROCESS_DIED)
    values = _dispatches(dispatches, status=State.RUNNING)
    return _end_all(OF_DISPATCHES, values, ending=ending, by="parent", retry_of=retry_of, report=report)


def decline(dispatches: Sequence[tuple[UUID, int]], *, worker_id: UUID, retry_of: RetryOf) -> bool:
    """Queue again what reached a worker which is stopping and so may not claim it; return whether anything was."""
    query = OF_DISPATCHES + " AND EXISTS (SELECT 1 FROM processes WHERE process_id = %(worker)s AND state = 'draining')"
    values = {**_dispatches(dispatches, status=State.DISPATCHED), "worker": worker_id}
    return bool(_end_all(query, values, ending=Ending.HANDED_BACK, by="worker", retry_of=retry_of))


def hand_back_of_stopping(*, worker_id: UUID, retry_of: RetryOf) -> set[tuple[UUID, int]]:
    """Queue again what a stopping worker could not finish; it costs no attempt."""
    return _end_all(OF_WORKER, {"worker": worker_id}, ending=Ending.HANDED_BACK, by="parent", retry_of=retry_of)


def unpublished(dispatches: Sequence[tuple[UUID, int]], *, retry_of: RetryOf) -> set[tuple[UUID, int]]:
    """Queue again what the broker did not take. Its message may have arrived all the same: the fence makes it stale."""
    values = _dispatches(dispatches, status=State.DISPATCHED)
    return _end_all(OF_DISPATCHES, values, ending=Ending.UNPUBLISHED, by="scheduler", retry_of=retry_of)


def _dispatches(dispatches: Sequence[tuple[UUID, int]], *, status: State) -> dict[str, Any]:
    return {
        "status": status.value,
        "ids": [job_id for job_id, _ in dispatches],
        "fences": [fence for _, fence in dispatches],
    }


def _end_all(
    query: str, values: Mapping[str, Any], *, ending: Ending, by: str, retry_of: RetryOf, report: Report | None = None
) -> set[tuple[UUID, int]]:
    """End every job that `query` finds as `ending`, noticed `by` whom; an earlier word on the same fence wins.

    Of several jobs whose worker was lost nobody knows which one ran, and which may have been why: each is handed back
    at the cost of no attempt and travels alone from then on, so that the next loss is its own.
    """
    with connection.cursor() as cursor:
        cursor.execute(query, values)
        rows = cursor.fetchall()
    ends = []
    for row in rows:
        found, now = held(row)
        bundle_lost = ending is Ending.WORKER_LOST and found.bundle_size > 1
        ends.append(
            end.decide(
                found,
                ending=Ending.HANDED_BACK if bundle_lost else ending,
                at=now,
                retry=retry_of(found.type),
                report=Report(bundle_lost=True) if bundle_lost else report or end.NOTHING_REPORTED,
                noticed_by=by,
            )
        )
    return end.write(ends)

"""A module says that it is done: a job that waits for its answer is asked again now.

Nothing that a callback says is believed; it ends a wait, and the truth is the module's signed answer to the next call.
"""

from __future__ import annotations

from uuid import UUID

from django.db import connection

from apps.jobs.callbacks import JOB_TYPE, NOT_YET
from apps.jobs.lifecycle import State
from apps.jobs.models import Job
from apps.jobs.operations.wake import wake_scheduler

# Once a wait: `started_at` is the start of the attempt whose answer is, or will be, "not yet". Of one that still runs
# it is noted for its end (`DUE`). One that has not started yet needs no note: it will ask after this, and hear that the
# module is done. Never sooner than a second after the attempt before, so that a module that always answers 202 and
# always calls back costs a call a second at most.
CALL_BACK = """
UPDATE jobs SET nudged_at = clock_timestamp(),
       due_at = CASE WHEN status = 'retrying'
                     THEN least(due_at, greatest(clock_timestamp(), started_at + interval '1 second'))
                     ELSE due_at END
 WHERE job_id = %(job)s AND type = %(type)s AND (nudged_at IS NULL OR nudged_at < started_at)
   AND (status = 'running' OR (status = 'retrying' AND reason_code = %(reason)s))
"""

# When a job (j) that an end (e) leaves waiting is due, for `end.END`: called back while the attempt ran, before its
# "not yet" was written down, the wait is over as it begins.
DUE = f"""
    CASE WHEN e.status = 'retrying' AND e.reason_code = '{NOT_YET}' AND j.nudged_at >= j.started_at
         THEN least(e.due_at, greatest(e.at, coalesce(e.began_at, j.started_at) + interval '1 second'))
         ELSE e.due_at END"""


def call_back(*, job_id: UUID) -> State | None:
    """End the wait of a job of the current tenant context for its module's answer; return where the job stands.

    None where there is no such job. Of a job that does not wait for an answer nothing changes; asked twice in one wait,
    nothing more happens.
    """
    with connection.cursor() as cursor:
        cursor.execute(CALL_BACK, {"job": job_id, "type": JOB_TYPE, "reason": NOT_YET})
        ended_a_wait = cursor.rowcount > 0
    if ended_a_wait:
        wake_scheduler()
    status = Job.objects.filter(job_id=job_id, type=JOB_TYPE).values_list("status", flat=True).first()
    return None if status is None else State(status)

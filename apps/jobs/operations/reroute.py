"""Jobs that wait for a pool which is not well wait for another instead: of the same region, where their tenant may.

What was decided about a job was decided for its pool. So only those go whose decisions do not hold any more: for each
of them Governance and Subscription are asked again before it is dispatched, about the pool it then waits for.
"""

from __future__ import annotations

from typing import Any

from django.db import connection

from apps.events import operations as event_log
from apps.jobs import events
from apps.jobs.operations.wake import wake_scheduler

AT_ONCE = 1000
BY = "recovery"
WAY = """
SELECT EXISTS (SELECT 1 FROM environments a JOIN environments b ON a.region = b.region AND a.name <> b.name
                WHERE a.name = %(source)s AND b.name = %(target)s)
"""
REROUTE = f"""
WITH mine AS MATERIALIZED (
    SELECT j.job_id FROM jobs j JOIN environments e ON e.name = %(target)s
     WHERE j.status = 'queued' AND j.environment_id = %(source)s AND j.concurrency_key IS NULL
       AND (e.allowed_tenants IS NULL OR j.tenant_id = ANY (e.allowed_tenants))
       AND NOT EXISTS (
           SELECT 1 FROM decisions d WHERE d.job_id = j.job_id AND d.allowed
              AND d.decided_at + make_interval(secs => coalesce((d.context ->> 'max_age_s')::int, 0))
                  > clock_timestamp())
     ORDER BY j.priority, j.queued_at, j.job_id LIMIT %(limit)s FOR UPDATE OF j SKIP LOCKED
), asked AS (
    UPDATE jobs SET environment_id = %(target)s FROM mine WHERE jobs.job_id = mine.job_id AND jobs.status = 'queued'
    RETURNING tenant_id, gen_random_uuid() AS event_id, %(event_type)s AS event_type,
              jobs.job_id::text AS event_subject,
              jsonb_build_object('job_id', jobs.job_id, 'type', type, 'status', status, 'attempt', attempt,
                                 'reason_code', NULL, 'error_class', NULL, 'by', %(by)s::text,
                                 'environment', environment_id) || {events.PARENT} AS event_data
)
{event_log.APPEND.format(source="asked")}
"""


class NoSuchWayError(Exception):
    """The pools are not two of one region; the message is a code."""


def reroute(*, source: str, target: str) -> int:
    """Let up to a thousand jobs that wait for `source` wait for `target`, with an event each; return how many.

    A job under a concurrency key stays: its turn is in its pool. Raises `NoSuchWayError`.
    """
    with connection.cursor() as cursor:
        cursor.execute(WAY, {"source": source, "target": target})
        (there,) = cursor.fetchone() or (False,)
        if not there:
            raise NoSuchWayError("not_two_pools_of_a_region")
        values: dict[str, Any] = {
            "source": source,
            "target": target,
            "limit": AT_ONCE,
            "by": BY,
            "event_type": events.REROUTED,
        }
        cursor.execute(REROUTE, {**values, "event_type": events.REROUTED})
        count = int(cursor.rowcount)
    if count:
        wake_scheduler()
    return count

"""Metering: what tenants used, added up from the event log by a cursor, so that each event counts once."""

from __future__ import annotations

from django.db import connection, transaction

CONSUMER = "usage"
CHUNK = 2000

BEGIN = """
INSERT INTO event_consumers (name, position, moved_at) VALUES (%s, 0, clock_timestamp()) ON CONFLICT (name) DO NOTHING
"""
POSITION = "SELECT position FROM event_consumers WHERE name = %s FOR UPDATE"
UPTO = """
SELECT max(sequence) FROM (SELECT sequence FROM events WHERE sequence > %s ORDER BY sequence LIMIT %s) AS next
"""
# An attempt is counted with the event that its end told: attempts that were handed back told none, and cost nothing.
ADD = """
INSERT INTO usage_daily (tenant_id, day, job_type, submitted, started, succeeded, failed, cancelled, rejected,
       worker_seconds)
SELECT e.tenant_id, (e.occurred_at AT TIME ZONE 'UTC')::date, e.data ->> 'type',
       count(*) FILTER (WHERE e.type = 'operations.job.submitted'),
       count(a.id),
       count(*) FILTER (WHERE e.type = 'operations.job.completed'),
       count(*) FILTER (WHERE e.type = 'operations.job.failed'),
       count(*) FILTER (WHERE e.type = 'operations.job.cancelled'),
       count(*) FILTER (WHERE e.type = 'operations.job.rejected'),
       coalesce(sum(extract(epoch FROM a.finished_at - a.started_at)), 0)
  FROM events e
  LEFT JOIN attempts a ON e.type IN ('operations.job.completed', 'operations.job.failed', 'operations.job.cancelled',
                                     'operations.job.retrying')
       AND a.job_id = e.subject::uuid AND a.number = (e.data ->> 'attempt')::int
       AND a.number > 0 AND a.started_at IS NOT NULL AND a.ending IN ('succeeded', 'failed', 'timed_out', 'cancelled',
                                                                      'worker_lost')
 WHERE e.sequence > %(after)s AND e.sequence <= %(upto)s AND e.type LIKE 'operations.job.%%'
   AND e.data ->> 'type' IS NOT NULL
 GROUP BY 1, 2, 3
ON CONFLICT (tenant_id, day, job_type) DO UPDATE SET
       submitted = usage_daily.submitted + excluded.submitted, started = usage_daily.started + excluded.started,
       succeeded = usage_daily.succeeded + excluded.succeeded, failed = usage_daily.failed + excluded.failed,
       cancelled = usage_daily.cancelled + excluded.cancelled, rejected = usage_daily.rejected + excluded.rejected,
       worker_seconds = usage_daily.worker_seconds + excluded.worker_seconds
"""
ADVANCE = "UPDATE event_consumers SET position = %s, moved_at = clock_timestamp() WHERE name = %s"


def meter() -> bool:
    """Add up the next events of the log, at most `CHUNK`; return whether there may be more. For the loops.

    The position moves in the transaction that adds: a crash between the two cannot be, and of two meters the second
    waits for the first and begins where that one ended.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(BEGIN, [CONSUMER])
        cursor.execute(POSITION, [CONSUMER])
        (after,) = cursor.fetchone() or (0,)
        cursor.execute(UPTO, [after, CHUNK])
        (upto,) = cursor.fetchone() or (None,)
        if upto is None:
            return False
        cursor.execute(ADD, {"after": after, "upto": upto})
        cursor.execute(ADVANCE, [upto, CONSUMER])
    return bool(upto - after >= CHUNK)

"""Jobs whose evidence the sink did not accept: they read `pending_audit` until it does, then their true end again.

`outcome` says all the while how a job ended, and dependents and events follow that. Called for a range of a log's
numbers, by who emits them, in the transaction that notes what became of it.
"""

from __future__ import annotations

from apps.core.database import UUID7, preparing
from apps.events import operations as event_log
from apps.evidence.logs import Log
from apps.jobs import events

_RECORDS = """
SELECT r.record_id, r.subject_id, r.number FROM evidence_records r
 WHERE r.tenant_id = %(tenant)s AND r.region = %(region)s AND r.number >= %(start)s AND r.number < %(size)s
   AND r.kind = 'job' AND r.predicate IN ('outcome', 'refusal')
"""
_MOVE = """
WITH records AS MATERIALIZED ({records}), moved AS (
    UPDATE jobs j SET status = {target} FROM records r
     WHERE j.job_id = r.subject_id::uuid AND j.evidence_id = r.record_id AND {guard}
    RETURNING j.job_id, j.tenant_id, j.type, j.status, j.attempt, j.reason_code, j.parent_id, r.number,
              CASE WHEN jsonb_typeof(j.error) = 'object' THEN j.error ->> 'class' END AS error_class
), news AS (
    SELECT {event_id} AS event_id, tenant_id, '{event}' AS event_type, job_id::text AS event_subject,
           jsonb_build_object('job_id', job_id, 'type', type, 'status', status, 'attempt', attempt,
                              'reason_code', reason_code, 'error_class', error_class) || {parent} AS event_data
      FROM moved
), told AS ({append})
SELECT count(*) FROM moved
"""


def _statement(*, target: str, guard: str, event: str) -> str:
    return _MOVE.format(
        records=_RECORDS,
        target=target,
        guard=guard,
        event=event,
        event_id=UUID7.format(place="(number & 4095)"),
        parent=events.PARENT,
        append=event_log.APPEND.format(source="news"),
    )


OWE = _statement(target="'pending_audit'", guard="j.status = j.outcome", event=events.PENDING_AUDIT)
SETTLE = _statement(target="j.outcome", guard="j.status = 'pending_audit'", event=events.AUDITED)


def owe(log: Log, *, start: int, size: int) -> int:
    """Let the jobs that ended with a log's records from `start` up to `size` read `pending_audit`; return how many."""
    return _moved(OWE, log, start=start, size=size)


def settle(log: Log, *, start: int, size: int) -> int:
    """Let those jobs read how they ended again; return how many. One that was begun anew meanwhile stays as it is."""
    return _moved(SETTLE, log, start=start, size=size)


def _moved(statement: str, log: Log, *, start: int, size: int) -> int:
    values = {"tenant": log.tenant_id, "region": log.region, "start": start, "size": size}
    with preparing() as cursor:
        cursor.execute(statement, values)
        (count,) = cursor.fetchone() or (0,)
    return int(count)

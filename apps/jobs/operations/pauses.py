"""Pauses are begun and ended here: intervals, each with its reason, whoever asked, and its event.

A pause holds back what would be dispatched next; what is dispatched or runs goes on. One target has at most one pause
in force: asked again, its reason and its end are replaced, so that the interval stays one.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection

from apps.core.ids import uuid7
from apps.events import operations as event_log
from apps.jobs import events
from apps.jobs.models import Pause
from apps.jobs.operations.wake import wake_scheduler
from apps.jobs.pausing import Target

BY_CLOCK = "clock"
SAME = (
    "environment_id IS NOT DISTINCT FROM %(environment)s AND tenant_id IS NOT DISTINCT FROM %(tenant)s"
    " AND type IS NOT DISTINCT FROM %(type)s"
)
TOLD = """tenant_id, gen_random_uuid() AS event_id, %(event_type)s AS event_type, pause_id::text AS event_subject,
    jsonb_build_object('pause_id', pause_id, 'environment', environment_id, 'tenant_id', tenant_id, 'type', type,
                       'until', until, 'by', %(by)s::text) AS event_data"""
BEGIN = f"""
WITH asked AS (
    INSERT INTO pauses (pause_id, environment_id, tenant_id, type, reason, paused_by, started_at, until)
    VALUES (%(id)s, %(environment)s, %(tenant)s, %(type)s, %(reason)s, %(by)s, clock_timestamp(), %(until)s)
    ON CONFLICT (environment_id, tenant_id, type) WHERE ended_at IS NULL
    DO UPDATE SET reason = excluded.reason, until = excluded.until, paused_by = excluded.paused_by
     WHERE NOT %(longer)s OR pauses.until < excluded.until
    RETURNING {TOLD}
)
{event_log.APPEND.format(source="asked")} RETURNING subject
"""
END = f"""
WITH asked AS (
    UPDATE pauses SET ended_at = clock_timestamp(), ended_by = %(by)s WHERE ended_at IS NULL AND {SAME}
    RETURNING {TOLD}
)
{event_log.APPEND.format(source="asked")} RETURNING subject
"""
EXPIRE = f"""
WITH asked AS (
    UPDATE pauses SET ended_at = greatest(until, started_at), ended_by = %(by)s
     WHERE ended_at IS NULL AND until <= clock_timestamp() AND (%(all)s OR {SAME})
    RETURNING {TOLD}
)
{event_log.APPEND.format(source="asked")}
"""


class NotPausedError(Exception):
    """Nothing with just this target is paused."""


def pause(target: Target, *, reason: str, until: datetime | None, by: str, longer: bool = False) -> Pause:
    """Pause `target` until `until`, or until it is resumed; return the pause in force.

    `longer`: one that is in force already and ends later, or by hand alone, stays as it is.
    Call in its tenant's context, or as operator for a target that is no tenant's.
    """
    _expire(target=target)
    with connection.cursor() as cursor:
        values: dict[str, Any] = {
            "id": uuid7(),
            "reason": reason,
            "until": until,
            "by": by,
            "event_type": events.QUEUE_PAUSED,
            "longer": longer,
        }
        cursor.execute(BEGIN, {**_values(target), **values})
        begun = cursor.fetchone()
    if begun is None:
        return Pause.every.get(
            environment_id=target.environment, tenant_id=target.tenant_id, type=target.type, ended_at=None
        )
    return Pause.every.get(pause_id=UUID(begun[0]))


def resume(target: Target, *, by: str) -> Pause:
    """End the pause of just this target and return it; raises `NotPausedError` where none is in force."""
    _expire(target=target)
    with connection.cursor() as cursor:
        cursor.execute(END, {**_values(target), "by": by, "event_type": events.QUEUE_RESUMED})
        row = cursor.fetchone()
    if row is None:
        raise NotPausedError
    wake_scheduler()
    return Pause.every.get(pause_id=UUID(row[0]))


def end_expired() -> int:
    """Write the end of each pause whose time is over, and tell of it; return how many. For the loops.

    They have let go by themselves at that instant: this keeps the intervals whole.
    """
    return _expire(target=None)


def _expire(*, target: Target | None) -> int:
    values: dict[str, Any] = {"all": target is None, "by": BY_CLOCK, "event_type": events.QUEUE_RESUMED}
    with connection.cursor() as cursor:
        cursor.execute(EXPIRE, {**_values(target or Target(None, None, None)), **values})
        return int(cursor.rowcount)


def _values(target: Target) -> dict[str, str | None]:
    return {"environment": target.environment, "tenant": target.tenant_id, "type": target.type}

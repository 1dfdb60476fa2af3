"""The delivery auditor: whoever was not told in time is known, said as an event, and told another way.

It runs in the notifier and, a few seconds later, in a control worker: a notifier that is dead cannot hide it.
"""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID

from django.db import transaction

from apps.core.database import preparing
from apps.events import operations as event_log
from apps.notifications import events, rules
from apps.notifications.deciding import INBOX
from apps.notifications.lifecycle import Classification, Reason, State
from apps.notifications.operations.handling import INBOX_ITEMS, NOW, WRITE, as_json
from apps.notifications.routing import Destination, Rules, out_of_band

BY = "notifications"
BATCH = 500
BREACH = f"""
WITH late AS MATERIALIZED (
    SELECT notification_id FROM notification_deadlines
     WHERE met_at IS NULL AND breached_at IS NULL AND due_at <= clock_timestamp() - %(slack)s * interval '1 s'
     ORDER BY due_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
), breached AS (
    UPDATE notification_deadlines p SET breached_at = clock_timestamp()
      FROM late WHERE p.notification_id = late.notification_id
), said AS (
    UPDATE notifications n SET status = 'undelivered',
           why = why || jsonb_build_array(jsonb_build_object('step', 'undelivered', 'at', clock_timestamp(),
                                          'because', 'nobody was told within the time promised'))
      FROM late WHERE n.id = late.notification_id AND n.status = 'pending'
    RETURNING n.id, n.tenant_id, n.severity, n.category, n.source, n.component, n.region, n.classification
), told AS (
    SELECT tenant_id, gen_random_uuid() AS event_id, '{events.UNDELIVERED}' AS event_type, id::text AS event_subject,
           jsonb_build_object('notification_id', id, 'severity', severity, 'category', category, 'source', source,
                              'component', component, 'by', '{BY}') AS event_data
      FROM said
), published AS ({event_log.APPEND.format(source="told")})
SELECT id, tenant_id, region, classification FROM said
"""
TRIED = """
SELECT notification_id, channel_id FROM notification_deliveries
 WHERE notification_id = ANY(%(ids)s) AND state <> 'skipped'
"""


class _Late(NamedTuple):
    notification_id: UUID
    tenant_id: str | None
    region: str | None
    classification: str


def audit(*, slack_s: float = 0.0, limit: int = BATCH) -> int:
    """Find what reached nobody by its deadline, say so, and page out of band; return how many that are.

    `slack_s`: how much later than the deadline, for an auditor that only stands in for another.
    """
    with transaction.atomic():
        with preparing() as cursor:
            cursor.execute(BREACH, {"slack": slack_s, "limit": limit})
            late = [_Late(*row) for row in cursor.fetchall()]
            if not late:
                return 0
            cursor.execute(TRIED, {"ids": [each.notification_id for each in late]})
            tried: dict[UUID, list[UUID]] = {}
            for notification_id, channel_id in cursor.fetchall():
                tried.setdefault(notification_id, []).append(channel_id)
            cursor.execute(NOW)
            (now,) = cursor.fetchone() or (None,)
        known = rules.in_force(now=now)
        made = [row for each in late if (row := _page(each, known=known, tried=tried.get(each.notification_id, [])))]
        with preparing() as cursor:
            if made:
                cursor.execute(WRITE, {"rows": as_json(made)})
            # Whatever becomes of the page, whoever looks finds it.
            cursor.execute(INBOX_ITEMS, {"ids": [each.notification_id for each in late]})
    return len(late)


def _page(late: _Late, *, known: Rules, tried: list[UUID]) -> dict[str, object] | None:
    classification = Classification(late.classification)
    found: Destination | None = out_of_band(
        known, tried=tried, tenant_id=late.tenant_id, region=late.region, classification=classification
    )
    if found is None or found.kind == INBOX:
        return None
    return {
        "tenant_id": late.tenant_id,
        "notification_id": str(late.notification_id),
        "channel_id": str(found.channel_id),
        "group_key": f"out-of-band {late.tenant_id or ''}",
        "group_wait_s": 0,
        "reason": str(Reason.OUT_OF_BAND),
        "round": 0,
        "counts": True,
        "state": str(State.QUEUED),
        "note": None,
        "due_in_s": 0.0,
        "hedge_in_s": None,
    }

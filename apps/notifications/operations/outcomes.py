"""What follows from deliveries for the notification: it was told, it is over, it need not be told any more."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple
from uuid import UUID

from apps.core.database import UUID7, preparing
from apps.notifications.lifecycle import OPEN_REASONS

OPEN = ", ".join(f"'{reason}'" for reason in OPEN_REASONS)
TOLD = """
WITH first AS (
    SELECT DISTINCT ON (d.notification_id) d.notification_id, c.name, d.sent_at
      FROM notification_deliveries d JOIN notification_channels c ON c.channel_id = d.channel_id
     WHERE d.notification_id = ANY(%(ids)s) AND d.state = 'sent' AND d.counts AND d.reason <> 'resolved'
     ORDER BY d.notification_id, d.sent_at
), kept AS (
    UPDATE notification_deadlines p SET met_at = clock_timestamp() FROM first
     WHERE p.notification_id = first.notification_id AND p.met_at IS NULL
)
UPDATE notifications n SET status = 'delivered', channel = first.name, delivered_at = first.sent_at
  FROM first WHERE n.id = first.notification_id AND n.status <> 'delivered'
RETURNING n.severity, n.category, extract(epoch FROM first.sent_at - n.timestamp)::float8
"""
# Those who were told of its beginning hear of its end, by the channel that told them, and nobody else. In the inbox the
# item itself says that it is over.
TELL_END = f"""
INSERT INTO notification_deliveries (delivery_id, tenant_id, notification_id, channel_id, group_key, group_wait_s,
       reason, round, counts, state, due_at, claim, under_way, tries, created_at, sent_at, settled_at)
SELECT {UUID7.format(place="0")}, told.tenant_id, told.notification_id, told.channel_id, told.group_key, 0, 'resolved',
       0, false, CASE WHEN c.kind = 'inbox' THEN 'sent' ELSE 'queued' END, clock_timestamp(), 0, false, 0,
       clock_timestamp(), CASE WHEN c.kind = 'inbox' THEN clock_timestamp() END,
       CASE WHEN c.kind = 'inbox' THEN clock_timestamp() END
  FROM (SELECT DISTINCT ON (d.notification_id, d.channel_id) d.tenant_id, d.notification_id, d.channel_id, d.group_key
          FROM notification_deliveries d JOIN notifications n ON n.id = d.notification_id
         WHERE d.notification_id = ANY(%(ids)s) AND n.resolved AND d.state = 'sent' AND d.reason IN ({OPEN})
         ORDER BY d.notification_id, d.channel_id, d.delivery_id) AS told
  JOIN notification_channels c ON c.channel_id = told.channel_id
ON CONFLICT (notification_id, channel_id, reason, round) DO NOTHING
"""
CALL_OFF = f"""
UPDATE notification_deliveries SET state = 'skipped', note = %(note)s, hedge_at = NULL, settled_at = clock_timestamp()
 WHERE notification_id = ANY(%(ids)s) AND state = 'queued' AND NOT under_way AND reason IN ({OPEN})
"""
# What was failed for good might still have had a fallback to come.
UNHEDGE = (
    "UPDATE notification_deliveries SET hedge_at = NULL WHERE notification_id = ANY(%(ids)s) AND hedge_at IS NOT NULL"
)
# What was under way when its notification ended was not called off then: it is when it has failed, or lost its sender.
TOO_LATE = f"""
UPDATE notification_deliveries d SET state = 'skipped', hedge_at = NULL, settled_at = clock_timestamp(),
       note = CASE WHEN n.resolved THEN 'resolved before it was sent' ELSE 'acknowledged before it was sent' END
  FROM notifications n
 WHERE n.id = d.notification_id AND d.state = 'queued' AND NOT d.under_way AND d.reason IN ({OPEN})
   AND (n.resolved OR n.acknowledged_at IS NOT NULL) AND (%(all)s OR d.notification_id = ANY(%(ids)s))
"""
NOBODY = """
WITH kept AS (
    UPDATE notification_deadlines SET met_at = clock_timestamp()
     WHERE notification_id = ANY(%(ids)s) AND met_at IS NULL
)
UPDATE notifications SET status = 'suppressed',
       why = why || jsonb_build_array(jsonb_build_object('step', 'suppressed', 'because', %(because)s::text,
                                                         'at', clock_timestamp()))
 WHERE id = ANY(%(ids)s) AND status = 'pending'
"""


class Told(NamedTuple):
    """A notification that reached somebody just now."""

    severity: str
    category: str
    after_s: float


def told(notification_ids: Collection[UUID]) -> list[Told]:
    """Note of these notifications which reached somebody, for the first time; return those."""
    if not notification_ids:
        return []
    with preparing() as cursor:
        cursor.execute(TOLD, {"ids": list(notification_ids)})
        return [Told(*row) for row in cursor.fetchall()]


def tell_end(notification_ids: Collection[UUID]) -> int:
    """Queue the news of their end for whoever was told of these notifications; return how many deliveries that are."""
    if not notification_ids:
        return 0
    with preparing() as cursor:
        cursor.execute(TELL_END, {"ids": list(notification_ids)})
        return int(cursor.rowcount)


def call_off(notification_ids: Collection[UUID], *, note: str) -> None:
    """Send nothing of these notifications that is not under way; news of an end is still sent."""
    if notification_ids:
        with preparing() as cursor:
            cursor.execute(CALL_OFF, {"ids": list(notification_ids), "note": note})
            cursor.execute(UNHEDGE, {"ids": list(notification_ids)})


def call_off_too_late(notification_ids: Collection[UUID] | None) -> None:
    """Send nothing more of those of these notifications (None: of all) that ended while it was under way."""
    with preparing() as cursor:
        cursor.execute(TOO_LATE, {"all": notification_ids is None, "ids": list(notification_ids or ())})


def suppress(notification_ids: Sequence[UUID], *, because: str) -> None:
    """Note of those that nobody was told of that nobody will be, by decision, and why."""
    if notification_ids:
        with preparing() as cursor:
            cursor.execute(NOBODY, {"ids": list(notification_ids), "because": because})

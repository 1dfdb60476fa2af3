"""Fallbacks, on the clock: one begins when its channel takes too long or has failed, and the channel keeps trying."""

from __future__ import annotations

from typing import Any, NamedTuple
from uuid import UUID

from django.db import transaction

from apps.core.database import preparing
from apps.notifications import deciding, lifecycle, rules
from apps.notifications.lifecycle import Classification, Reason, State
from apps.notifications.operations import outcomes
from apps.notifications.operations.handling import INBOX_ITEMS, NOW, WRITE, as_json
from apps.notifications.routing import Rules, usable_fallback

BATCH = 500
OVERDUE = """
SELECT d.delivery_id, d.tenant_id, d.notification_id, d.channel_id, d.group_key, d.group_wait_s, d.round, d.counts,
       n.region, n.classification, n.resolved OR n.acknowledged_at IS NOT NULL
  FROM notification_deliveries d JOIN notifications n ON n.id = d.notification_id
 WHERE d.hedge_at <= clock_timestamp() ORDER BY d.hedge_at LIMIT %(limit)s
   FOR NO KEY UPDATE OF d SKIP LOCKED
"""
# Whoever is told by the fallback's channel anyway need not be told twice. What was sent before it grew worse told less.
TOLD_ANYWAY = """
SELECT DISTINCT d.notification_id, d.channel_id
  FROM notification_deliveries d JOIN notifications n ON n.id = d.notification_id
 WHERE d.notification_id = ANY(%(ids)s) AND d.reason NOT IN ('resolved', 'repeat')
   AND (d.state = 'queued' OR (d.state = 'sent' AND d.round = n.escalations))
"""
HEDGED = "UPDATE notification_deliveries SET hedge_at = NULL WHERE delivery_id = ANY(%(ids)s)"


class Hedged(NamedTuple):
    """How many deliveries were overdue, and who was told at once, in the inbox."""

    overdue: int
    told: list[outcomes.Told]


class _Overdue(NamedTuple):
    delivery_id: UUID
    tenant_id: str | None
    notification_id: UUID
    channel_id: UUID
    group_key: str
    group_wait_s: int
    round: int
    counts: bool
    region: str | None
    classification: str
    known: bool


def hedge(*, limit: int = BATCH) -> Hedged:
    """Begin the fallbacks of what has taken too long or failed; return what came of it."""
    with transaction.atomic():
        with preparing() as cursor:
            cursor.execute(OVERDUE, {"limit": limit})
            overdue = [_Overdue(*row) for row in cursor.fetchall()]
            if not overdue:
                return Hedged(0, [])
            cursor.execute(TOLD_ANYWAY, {"ids": [each.notification_id for each in overdue]})
            anyway = {(str(notification_id), str(channel_id)) for notification_id, channel_id in cursor.fetchall()}
            cursor.execute(NOW)
            (now,) = cursor.fetchone() or (None,)
        known = rules.in_force(now=now)
        found = [row for each in overdue if not each.known and (row := _fallback(each, known=known)) is not None]
        made = [row for row in found if (row["notification_id"], row["channel_id"]) not in anyway]
        inbox = [UUID(each["notification_id"]) for each in made if each["state"] == State.SENT]
        with preparing() as cursor:
            cursor.execute(HEDGED, {"ids": [each.delivery_id for each in overdue]})
            if made:
                cursor.execute(WRITE, {"rows": as_json(made)})
            if inbox:
                cursor.execute(INBOX_ITEMS, {"ids": inbox})
        return Hedged(len(overdue), outcomes.told(inbox))


def _fallback(overdue: _Overdue, *, known: Rules) -> dict[str, Any] | None:
    channel = known.channels.get(overdue.channel_id)
    if channel is None:
        return None
    classification = Classification(overdue.classification)
    found = usable_fallback(channel, rules=known, region=overdue.region, classification=classification)
    if found is None:
        return None
    next_one = usable_fallback(found, rules=known, region=overdue.region, classification=classification)
    patience_s = 0.0 if found.left_alone else lifecycle.hedge_s(found.recent_ms)
    return {
        "tenant_id": overdue.tenant_id,
        "notification_id": str(overdue.notification_id),
        "channel_id": str(found.channel_id),
        "group_key": overdue.group_key,
        "group_wait_s": overdue.group_wait_s,
        "reason": str(Reason.FALLBACK),
        "round": overdue.round,
        "counts": overdue.counts,
        "state": str(State.SENT if found.kind == deciding.INBOX else State.QUEUED),
        "note": None,
        "due_in_s": 0.0,
        "hedge_in_s": None if next_one is None else patience_s,
    }

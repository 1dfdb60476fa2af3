"""What the notifier does beside sending: says again what goes on, skips what a channel no longer takes, forgets."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from django.db import connection, transaction

from apps.core.clock import DatabaseClock
from apps.core.database import UUID7, preparing
from apps.core.ids import first_id_at
from apps.notifications import routing, rules
from apps.notifications.lifecycle import Severity
from apps.notifications.matching import Facts
from apps.notifications.models import Notification
from apps.notifications.operations.outcomes import OPEN
from apps.notifications.routing import Rules, Trace

KEPT_FOR = timedelta(days=90)
BATCH = 200
BEGINNING = UUID(int=0)
# A group is said again while something of it is open that nobody has acknowledged; else it is not asked any more.
REPEAT = f"""
WITH due AS MATERIALIZED (
    SELECT group_id, channel_id, group_key, repeats FROM notification_groups
     WHERE repeat_s > 0 AND told_at + repeat_s * interval '1 s' <= statement_timestamp()
     ORDER BY told_at LIMIT {BATCH} FOR UPDATE SKIP LOCKED
), going_on AS MATERIALIZED (
    SELECT DISTINCT ON (d.notification_id, d.channel_id) due.group_id, due.repeats, d.tenant_id, d.notification_id,
           d.channel_id, d.group_key
      FROM due JOIN notification_deliveries d ON d.channel_id = due.channel_id AND d.group_key = due.group_key
      JOIN notifications n ON n.id = d.notification_id
     WHERE d.state = 'sent' AND d.reason IN ({OPEN}) AND NOT n.resolved AND n.acknowledged_at IS NULL
       AND n.category = 'alert' AND n.inhibited_by IS NULL
     ORDER BY d.notification_id, d.channel_id
), said AS (
    INSERT INTO notification_deliveries (delivery_id, tenant_id, notification_id, channel_id, group_key, group_wait_s,
           reason, round, counts, state, due_at, claim, under_way, tries, created_at)
    SELECT {UUID7.format(place="0")}, tenant_id, notification_id, channel_id, group_key, 0, 'repeat', repeats + 1,
           false, 'queued', clock_timestamp(), 0, false, 0, clock_timestamp() FROM going_on
    ON CONFLICT (notification_id, channel_id, reason, round) DO NOTHING
    RETURNING delivery_id, notification_id, channel_id
), moved AS (
    UPDATE notification_groups g SET told_at = clock_timestamp(), repeats = g.repeats + 1,
           repeat_s = CASE WHEN EXISTS (SELECT FROM going_on o WHERE o.group_id = g.group_id) THEN g.repeat_s ELSE 0 END
      FROM due WHERE g.group_id = due.group_id
)
SELECT delivery_id, notification_id, channel_id FROM said
"""
# What is said again is silenced, and waits for the morning, as what is said first.
SILENCED = """
UPDATE notification_deliveries SET state = 'skipped', note = 'silenced', settled_at = clock_timestamp()
 WHERE delivery_id = ANY(%(ids)s)
"""
# Of a silence that is over: what is still so, and was told to nobody for its sake.
WAS_SILENCED = """
SELECT id FROM notifications
 WHERE id > %(after)s AND status = 'suppressed' AND NOT resolved AND category = 'alert' AND acknowledged_at IS NULL
   AND why -> -1 ->> 'because' = 'silenced'
 ORDER BY id LIMIT %(limit)s
"""
SAY = f"""
INSERT INTO notification_signals (signal_id, tenant_id, notification_id, action, severity, source, dedup_key, said_by,
       said_at)
SELECT {UUID7.format(place="0")}, tenant_id, id, 'trigger', severity, source, dedup_key, 'silence', clock_timestamp()
  FROM notifications WHERE id = ANY(%(ids)s) AND status = 'suppressed' AND NOT resolved
"""
HELD = """
UPDATE notification_deliveries SET due_at = clock_timestamp() + %(seconds)s * interval '1 s' WHERE delivery_id = %(id)s
"""
SKIP = f"""
UPDATE notification_deliveries d
   SET state = 'skipped', note = 'the channel was switched off', settled_at = clock_timestamp(),
       hedge_at = CASE WHEN d.hedge_at IS NOT NULL THEN clock_timestamp() END
 WHERE delivery_id IN (
    SELECT o.delivery_id FROM notification_channels c CROSS JOIN LATERAL (
        SELECT delivery_id FROM notification_deliveries q
         WHERE q.channel_id = c.channel_id AND q.state = 'queued' AND NOT q.under_way
         ORDER BY q.due_at LIMIT {BATCH} FOR UPDATE SKIP LOCKED) AS o
     WHERE NOT c.enabled) AND state = 'queued'
"""
FORGET = (
    "DELETE FROM notification_attempts WHERE attempt_id IN (SELECT a.attempt_id FROM notification_attempts a"
    " JOIN notification_deliveries d USING (delivery_id) WHERE d.notification_id = ANY(%(ids)s))",
    "DELETE FROM notification_deliveries WHERE notification_id = ANY(%(ids)s)",
    "DELETE FROM notification_signals WHERE notification_id = ANY(%(ids)s)",
    "DELETE FROM notification_deadlines WHERE notification_id = ANY(%(ids)s)",
    "DELETE FROM inbox_items WHERE notification_id = ANY(%(ids)s)",
    "DELETE FROM notifications WHERE id = ANY(%(ids)s)",
)
OLD = """
SELECT id FROM notifications WHERE id < %(before)s AND (resolved OR category <> 'alert') ORDER BY id LIMIT %(limit)s
   FOR UPDATE SKIP LOCKED
"""
FORGET_GROUPS = """
DELETE FROM notification_groups WHERE repeat_s = 0 AND told_at < statement_timestamp() - interval '1 day'
   AND told_at + interval_s * interval '1 s' < statement_timestamp()
"""
INBOX = f"""
INSERT INTO notification_channels (channel_id, name, kind, sealed, shown, provider, enabled, passive, clearance,
       version, changed_by, created_at, failures, recent_ms)
SELECT {UUID7.format(place="0")}, 'inbox', 'inbox', '', 'in the app', 'the plane itself', true, true, 'restricted', 1,
       'notifications', clock_timestamp(), 0, '{{}}'
ON CONFLICT (name) DO NOTHING
"""


def ensure_inbox() -> None:
    """Make the channel that is always there."""
    with connection.cursor() as cursor:
        cursor.execute(INBOX)


def say_again() -> int:
    """Queue what goes on and was not acknowledged, where its route says how often; return how many deliveries."""
    with transaction.atomic(), preparing() as cursor:
        cursor.execute(REPEAT)
        said = cursor.fetchall()
        if not said:
            return 0
        now = DatabaseClock.ask(connection).now()
        known = rules.in_force(now=now)
        rows = Notification.every.in_bulk([notification_id for _, notification_id, _ in said])
        silenced = []
        for delivery_id, notification_id, channel_id in said:
            row = rows[notification_id]
            facts = routing.facts_of(row, region=row.region)
            if _silent(row, known=known):
                silenced.append(delivery_id)
            elif row.severity != Severity.CRITICAL and (quiet_s := _quiet(channel_id, facts, known=known, now=now)):
                cursor.execute(HELD, {"id": delivery_id, "seconds": quiet_s})
        cursor.execute(SILENCED, {"ids": silenced})
        return len(said)


def end_silences(*, after: UUID) -> UUID:
    """Have decided anew what is still so and was silenced, where the silence is over; return where to look next.

    A page of what is silenced at a time, from `after` on, so that what stays silenced hides nothing behind it.
    """
    with transaction.atomic(), preparing() as cursor:
        cursor.execute(WAS_SILENCED, {"after": after, "limit": BATCH})
        ids = [row[0] for row in cursor.fetchall()]
        if ids:
            known = rules.in_force(now=DatabaseClock.ask(connection).now())
            rows = Notification.every.in_bulk(ids).values()
            over = [row.id for row in rows if not _silent(row, known=known)]
            cursor.execute(SAY, {"ids": over})
    return ids[-1] if len(ids) == BATCH else BEGINNING


def _silent(row: Notification, *, known: Rules) -> bool:
    return routing.silenced(known.silences, routing.facts_of(row, region=row.region)) is not None


def _quiet(channel_id: UUID, facts: Facts, *, known: Rules, now: datetime) -> float:
    """Return for how many seconds more the route that leads to a channel is quiet."""
    taken = routing.hits(known.root, facts, trace=Trace())
    return next((routing.quiet_now(hit, now=now) for hit in taken if hit.channel == channel_id), 0.0)


def skip_switched_off() -> int:
    """Skip what waits for a channel that was switched off meanwhile, and call its fallback."""
    with preparing() as cursor:
        cursor.execute(SKIP)
        return int(cursor.rowcount)


def purge(*, limit: int) -> int:
    """Forget what is older than 90 days and over, at most so many; return how many notifications that were."""
    before = first_id_at(DatabaseClock.ask(connection).now() - KEPT_FOR)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(FORGET_GROUPS)
        cursor.execute(OLD, {"before": before, "limit": limit})
        ids = [row[0] for row in cursor.fetchall()]
        for statement in FORGET if ids else ():
            cursor.execute(statement, {"ids": ids})
    return len(ids)

"""Signals become deliveries: the notifier takes what was said, decides by the rules, and writes what follows.

One transaction a look. Killed anywhere, it finds the signals unhandled and no delivery, or both done.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import orjson
from django.db import transaction

from apps.core.database import UUID7, preparing
from apps.notifications import pacing, routing, rules
from apps.notifications.deciding import INBOX, Memory, Plan, plan
from apps.notifications.lifecycle import Action, State, Status
from apps.notifications.models import Group, Notification
from apps.notifications.operations import outcomes
from apps.notifications.operations.intake import PROMISE_S
from apps.notifications.routing import Rules
from apps.tenancy.models import Tenant

BATCH = 500
UNHANDLED = """
SELECT signal_id, notification_id, action, said_by FROM notification_signals
 WHERE handled_at IS NULL ORDER BY said_at, signal_id LIMIT %(limit)s FOR UPDATE SKIP LOCKED
"""
HANDLED = "UPDATE notification_signals SET handled_at = clock_timestamp() WHERE signal_id = ANY(%(ids)s)"
NOW = "SELECT clock_timestamp()"
WRITE = f"""
INSERT INTO notification_deliveries (delivery_id, tenant_id, notification_id, channel_id, group_key, group_wait_s,
       reason, round, counts, state, note, due_at, hedge_at, claim, under_way, tries, created_at, sent_at, settled_at)
SELECT {UUID7.format(place="0")}, r.tenant_id, r.notification_id, r.channel_id, r.group_key, r.group_wait_s, r.reason,
       r.round, r.counts, r.state, r.note, clock_timestamp() + r.due_in_s * interval '1 s',
       clock_timestamp() + r.hedge_in_s * interval '1 s', 0, false, 0, clock_timestamp(),
       CASE WHEN r.state = 'sent' THEN clock_timestamp() END, CASE WHEN r.state <> 'queued' THEN clock_timestamp() END
  FROM jsonb_to_recordset(%(rows)s::jsonb) AS r(tenant_id text, notification_id uuid, channel_id uuid, group_key text,
       group_wait_s int, reason text, round int, counts bool, state text, note text, due_in_s float8, hedge_in_s float8)
ON CONFLICT (notification_id, channel_id, reason, round) DO NOTHING
"""
INBOX_ITEMS = f"""
INSERT INTO inbox_items (item_id, tenant_id, notification_id, audience, created_at)
SELECT {UUID7.format(place="0")}, n.tenant_id, n.id, word, clock_timestamp()
  FROM notifications n CROSS JOIN LATERAL unnest(n.audience) AS word WHERE n.id = ANY(%(ids)s)
ON CONFLICT (notification_id, audience) DO NOTHING
"""
# The memory of what a channel was told of a group begins with what is decided, so that the second look of a storm knows
# of the first before any channel has answered.
REMEMBER = f"""
INSERT INTO notification_groups AS g (group_id, channel_id, group_key, told_at, interval_s, repeat_s, repeats)
SELECT DISTINCT ON (r.channel_id, r.group_key) {UUID7.format(place="0")}, r.channel_id, r.group_key,
       clock_timestamp() + r.due_in_s * interval '1 s', r.interval_s, r.repeat_s, 0
  FROM jsonb_to_recordset(%(rows)s::jsonb) AS r(channel_id uuid, group_key text, due_in_s float8, interval_s int,
       repeat_s int)
 ORDER BY r.channel_id, r.group_key, r.due_in_s DESC
ON CONFLICT (channel_id, group_key) DO UPDATE SET told_at = greatest(g.told_at, excluded.told_at),
       interval_s = excluded.interval_s, repeat_s = excluded.repeat_s
"""
DECIDED = """
WITH r AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(%(rows)s::jsonb) AS r(id uuid, region text, why jsonb, due_in_s float8)
), moved AS (
    -- What was suppressed and is to be told after all begins its promise anew.
    UPDATE notification_deadlines p
       SET due_at = greatest(p.due_at, clock_timestamp() + (coalesce(r.due_in_s, 0) + %(promise)s) * interval '1 s'),
           met_at = NULL
      FROM r JOIN notifications n ON n.id = r.id
     WHERE p.notification_id = r.id AND (n.status = 'suppressed' OR (r.due_in_s > 0 AND p.met_at IS NULL))
)
UPDATE notifications n SET region = r.region, why = n.why || r.why,
       status = CASE n.status WHEN 'suppressed' THEN 'pending' ELSE n.status END
  FROM r WHERE n.id = r.id
"""


class Handled(NamedTuple):
    """What a look did: how many signals there were, which alerts are new (their severities), and who was told."""

    signals: int
    raised: list[str]
    told: list[outcomes.Told]


class _Signal(NamedTuple):
    signal_id: UUID
    notification_id: UUID
    action: str
    said_by: str


def handle(*, limit: int = BATCH) -> Handled:
    """Decide about the next signals; return what came of it."""
    with transaction.atomic():
        with preparing() as cursor:
            cursor.execute(UNHANDLED, {"limit": limit})
            signals = [_Signal(*row) for row in cursor.fetchall()]
            if not signals:
                return Handled(0, [], [])
            cursor.execute(NOW)
            (now,) = cursor.fetchone() or (None,)
        ids = list(dict.fromkeys(each.notification_id for each in signals))
        rows = Notification.every.select_for_update(no_key=True).in_bulk(ids)
        raised = _triggered([rows[each] for each in _of(signals, Action.TRIGGER)], now=now)
        _acknowledged([rows[each] for each in _of(signals, Action.ACKNOWLEDGE)])
        _resolved([each for each in rows.values() if each.resolved])
        told = outcomes.told(ids)
        with preparing() as cursor:
            cursor.execute(HANDLED, {"ids": [each.signal_id for each in signals]})
    return Handled(len(signals), raised, told)


def _of(signals: Sequence[_Signal], action: Action) -> list[UUID]:
    return list(dict.fromkeys(each.notification_id for each in signals if each.action == action))


def _triggered(rows: Sequence[Notification], *, now: datetime) -> list[str]:
    """Decide about what was triggered; return the severities of alerts that are new."""
    raised = [row.severity for row in rows if not row.why and row.category == "alert"]
    open_rows = [row for row in rows if not row.resolved]
    undecided = [row for row in open_rows if _undecided(row) or _silenced(row)]
    if not undecided:
        return raised
    known = rules.in_force(now=now)
    undecided = [row for row in undecided if not (_silenced(row) and _silent_still(row, known=known))]
    regions = dict(Tenant.objects.filter(pk__in={row.tenant_id for row in undecided}).values_list("pk", "region"))
    memory = _memory(known, now=now)
    plans = {}
    for row in undecided:
        region = regions.get(row.tenant_id or "")
        plans[row.id] = plan(
            row, rules=known, memory=memory, region=region, now=now, escalated=bool(row.why) and row.escalations > 0
        )
    _write(undecided, plans, regions=regions)
    return raised


def _undecided(row: Notification) -> bool:
    """Say whether a notification needs a decision: it has none, it grew worse since, or what inhibited it is over."""
    if not row.why:
        return True
    last = max((each.get("escalations", 0) for each in row.why), default=0)
    again = row.status == Status.SUPPRESSED and row.inhibited_by is None and _inhibited(row)
    return row.inhibited_by is None and (row.escalations > last or again)


def _silenced(row: Notification) -> bool:
    """Say whether nobody was told of it for a silence's sake alone. Said again when that is over, it is told."""
    return row.status == Status.SUPPRESSED and row.acknowledged_at is None and row.why[-1].get("because") == "silenced"


def _silent_still(row: Notification, *, known: Rules) -> bool:
    return routing.silenced(known.silences, routing.facts_of(row, region=row.region)) is not None


def _inhibited(row: Notification) -> bool:
    return any(each.get("step") == "inhibited" for each in row.why)


def _memory(known: Rules, *, now: datetime) -> Memory:
    """Return which groups were told so lately that it matters: of the others there may be one for each alert."""
    longest_s = max(pacing.CAP_WINDOW_S, routing.longest_interval_s(known.root))
    lately = Group.objects.filter(told_at__gt=now - timedelta(seconds=longest_s))
    rows = lately.values_list("channel_id", "group_key", "told_at")
    return {(channel_id, key): told_at for channel_id, key, told_at in rows}


def _write(rows: Sequence[Notification], plans: Mapping[UUID, Plan], *, regions: Mapping[str, str]) -> None:
    """Write the plans: deliveries, inbox items, the groups' memory, explanations, and what is told to nobody."""
    deliveries = [made for row in rows for made in _deliveries(row, plans[row.id])]
    decided = [
        {
            "id": str(row.id),
            "region": regions.get(row.tenant_id or ""),
            "why": [{"step": "decided", "escalations": row.escalations}, *plans[row.id].why],
            "due_in_s": plans[row.id].first_due_s,
        }
        for row in rows
    ]
    inbox = [UUID(each["notification_id"]) for each in deliveries if each["state"] == State.SENT]
    gathered = [each for each in deliveries if each["state"] != State.SKIPPED]
    with preparing() as cursor:
        cursor.execute(DECIDED, {"rows": as_json(decided), "promise": PROMISE_S})
        if deliveries:
            cursor.execute(WRITE, {"rows": as_json(deliveries)})
        if gathered:
            cursor.execute(REMEMBER, {"rows": as_json(gathered)})
        if inbox:
            cursor.execute(INBOX_ITEMS, {"ids": inbox})
    for because in {each.suppressed for each in plans.values() if each.suppressed}:
        outcomes.suppress([id_ for id_, each in plans.items() if each.suppressed == because], because=str(because))


def _deliveries(row: Notification, made: Plan) -> list[dict[str, Any]]:
    return [
        {
            "tenant_id": row.tenant_id,
            "notification_id": str(row.id),
            "channel_id": str(each.channel.channel_id),
            "group_key": each.group_key,
            "group_wait_s": each.hit.grouping.wait_s,
            "reason": str(each.reason),
            "round": row.escalations,
            "counts": each.counts,
            "state": str(each.state),
            "note": each.note,
            "due_in_s": each.due_in_s,
            "hedge_in_s": each.hedge_in_s,
            "interval_s": each.hit.grouping.interval_s,
            "repeat_s": 0 if each.channel.kind == INBOX else each.hit.grouping.repeat_s,
        }
        for each in made.deliveries
    ]


def _acknowledged(rows: Sequence[Notification]) -> None:
    """Call off what is still to come of those that somebody has taken on: somebody knows."""
    ids = [row.id for row in rows if not row.resolved and row.acknowledged_at is not None]
    outcomes.call_off(ids, note="acknowledged before it was sent")
    outcomes.suppress(ids, because="acknowledged before anybody was told")


def _resolved(rows: Sequence[Notification]) -> None:
    """Call off what is still to come of those that are over, and tell their end to whoever was told of them."""
    ids = [row.id for row in rows]
    outcomes.call_off(ids, note="resolved before it was sent")
    outcomes.told(ids)
    outcomes.suppress(ids, because="resolved before anybody was told")
    outcomes.tell_end(ids)


def as_json(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows as a statement takes them."""
    return orjson.dumps(rows).decode()

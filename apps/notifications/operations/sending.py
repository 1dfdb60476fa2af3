"""What the notifier writes as it sends: deliveries are claimed under a lease and a fence, and settled by the answer.

An attempt is made between two transactions, never inside one. A notifier that is killed leaves its deliveries to the
next, which sends them again, under the same message id: twice rather than never.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import orjson
from django.db import connection, transaction

from apps.core.database import UUID7, loaded, preparing
from apps.notifications import lifecycle
from apps.notifications.kinds import Item, Message
from apps.notifications.lifecycle import Answer, State
from apps.notifications.models import Channel
from apps.notifications.operations import outcomes
from apps.notifications.pacing import Owing

LEASE_S = 120.0
KEPT_TIMES = 50

OWING = """
SELECT c.channel_id, c.provider, c.failures, cardinality(c.recent_ms) > 0, first.due_at, c.per_minute
  FROM notification_channels c
  CROSS JOIN LATERAL (
    SELECT due_at FROM notification_deliveries d
     WHERE d.channel_id = c.channel_id AND d.state = 'queued' AND d.due_at <= statement_timestamp()
     ORDER BY d.due_at LIMIT 1) AS first
 WHERE c.enabled AND (c.left_alone_until IS NULL OR c.left_alone_until <= statement_timestamp())
"""
# A message is what is due of one group, or, tried again, what it was before: its receiver knows it by its id. `most` is
# how many notifications a message of this kind of channel can carry; each message of one takes as many as `messages`.
CLAIM = f"""
WITH due AS MATERIALIZED (
    SELECT delivery_id, group_key, message_id, due_at FROM notification_deliveries d
     WHERE d.channel_id = %(channel)s AND d.state = 'queued' AND d.due_at <= statement_timestamp()
     ORDER BY d.due_at LIMIT %(rows)s FOR UPDATE SKIP LOCKED
), placed AS (
    SELECT due.*, (row_number() OVER (PARTITION BY group_key, message_id ORDER BY due_at, delivery_id) - 1)
                  / %(most)s AS part FROM due
), chosen AS MATERIALIZED (
    SELECT group_key, message_id, part, coalesce(message_id, {UUID7.format(place="0")}) AS becomes
      FROM placed GROUP BY group_key, message_id, part ORDER BY min(due_at) LIMIT %(messages)s
)
UPDATE notification_deliveries d
   SET under_way = true, claim = d.claim + 1, message_id = c.becomes,
       due_at = clock_timestamp() + %(lease)s * interval '1 s'
  FROM placed p JOIN chosen c ON c.group_key = p.group_key AND c.part = p.part
       AND c.message_id IS NOT DISTINCT FROM p.message_id
 WHERE d.delivery_id = p.delivery_id
RETURNING d.delivery_id, d.claim, d.message_id, d.notification_id, d.reason
"""
ITEMS = """
SELECT id, tenant_id, severity, category, source, component, "group", kind, summary, details, links, dedup_key,
       timestamp, resolved, acknowledged_at IS NOT NULL, repeats
  FROM notifications WHERE id = ANY(%(ids)s)
"""
NOW = "SELECT clock_timestamp()"
SETTLE = f"""
WITH said AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(%(rows)s::jsonb) AS r(delivery_id uuid, claim int, state text, pause_s float8,
                  note text, at timestamptz, took_ms int, accepted bool, permanent bool, status int, error text)
), mine AS (
    UPDATE notification_deliveries d
       SET state = s.state, tries = d.tries + 1, under_way = false, note = s.note,
           due_at = clock_timestamp() + coalesce(s.pause_s, 0) * interval '1 s',
           -- A failure calls the fallback at once; a success needs none.
           hedge_at = CASE WHEN s.accepted THEN NULL WHEN d.hedge_at IS NOT NULL THEN clock_timestamp() END,
           sent_at = CASE WHEN s.accepted THEN clock_timestamp() END,
           settled_at = CASE WHEN s.state <> 'queued' THEN clock_timestamp() END
      FROM said s
     WHERE d.delivery_id = s.delivery_id AND d.claim = s.claim AND d.under_way AND d.state = 'queued'
    RETURNING d.delivery_id, d.tenant_id, d.notification_id, d.message_id
), kept AS (
    INSERT INTO notification_attempts (attempt_id, tenant_id, delivery_id, message_id, at, took_ms, accepted, permanent,
                                       status, error)
    SELECT {UUID7.format(place="0")}, m.tenant_id, m.delivery_id, m.message_id, s.at, s.took_ms, s.accepted,
           s.permanent, s.status, s.error
      FROM mine m JOIN said s ON s.delivery_id = m.delivery_id
)
SELECT DISTINCT notification_id FROM mine
"""
STANDING = """
UPDATE notification_channels
   SET failures = CASE WHEN %(accepted)s THEN 0 ELSE failures + %(counts)s::boolean::int END,
       succeeded_at = CASE WHEN %(accepted)s THEN clock_timestamp() ELSE succeeded_at END,
       failed_at = CASE WHEN %(accepted)s THEN failed_at ELSE clock_timestamp() END,
       last_error = CASE WHEN %(accepted)s THEN NULL ELSE %(error)s END,
       recent_ms = CASE WHEN %(accepted)s THEN (array_prepend(%(took)s::int, recent_ms))[1:%(kept)s] ELSE recent_ms END
 WHERE channel_id = %(channel)s
RETURNING failures
"""
TAKE_OVER = """
UPDATE notification_deliveries SET under_way = false, due_at = clock_timestamp() WHERE state = 'queued' AND under_way
"""


class Claimed(NamedTuple):
    """A message to be sent now: its deliveries under their fences, and the channel with its settings still sealed."""

    channel: Channel
    message: Message
    deliveries: tuple[tuple[UUID, int], ...]


class Sent(NamedTuple):
    """What came of an attempt that began at `at`, by the database's time."""

    claimed: Claimed
    answer: Answer
    took_ms: int


class Settled(NamedTuple):
    """An attempt that counted, the state that followed, and who was told by it for the first time."""

    sent: Sent
    state: State
    told: list[outcomes.Told]


def take_over() -> int:
    """Take over what a notifier before was sending; return how many. Only for one that has just begun to lead."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(TAKE_OVER)
            taken = int(cursor.rowcount)
        outcomes.call_off_too_late(None)
    return taken


def owing(*, sent_lately: Mapping[UUID, int]) -> list[Owing]:
    """Return the channels by which something may be sent now; `sent_lately`: messages within the last minute."""
    with preparing() as cursor:
        cursor.execute(OWING)
        return [Owing(*row)._replace(sent_lately=sent_lately.get(row[0], 0)) for row in cursor.fetchall()]


def claim(
    allowed: Mapping[UUID, int], *, most: Mapping[str, int], public_url: str | None, production: bool
) -> list[Claimed]:
    """Take so many messages of each channel, the longest due first; `most`: kind → notifications in a message."""
    if not allowed:
        return []
    found = []
    with transaction.atomic():
        for channel in Channel.objects.filter(pk__in=allowed).order_by("pk"):
            messages, size = allowed[channel.channel_id], most.get(channel.kind, 1)
            with preparing() as cursor:
                values = {
                    "channel": channel.channel_id,
                    "rows": messages * size,
                    "most": size,
                    "messages": messages,
                    "lease": LEASE_S,
                }
                cursor.execute(CLAIM, values)
                rows = cursor.fetchall()
                if not rows:
                    continue
                cursor.execute(ITEMS, {"ids": list({row[3] for row in rows})})
                items = {row[0]: row for row in cursor.fetchall()}
                cursor.execute(NOW)
                (now,) = cursor.fetchone() or (None,)
            found += _messages(
                channel, rows, items=items, now=now, context={"public_url": public_url, "production": production}
            )
    return found


def _messages(
    channel: Channel, rows: Sequence[Any], *, items: Mapping[UUID, Any], now: datetime, context: Mapping[str, Any]
) -> list[Claimed]:
    by_message: dict[UUID, list[Any]] = {}
    for row in rows:
        by_message.setdefault(row[2], []).append(row)
    return [
        Claimed(
            channel=channel,
            message=Message(
                message_id=message_id,
                channel=channel.name,
                at=now,
                items=tuple(
                    _item(items[each[3]], reason=each[4], public_url=context["public_url"]) for each in of_message
                ),
                **context,
            ),
            deliveries=tuple((each[0], each[1]) for each in of_message),
        )
        for message_id, of_message in by_message.items()
    ]


def _item(row: Any, *, reason: str, public_url: str | None) -> Item:
    id_, tenant_id, severity, category, source, component, group, kind, summary, details, links, key, *rest = row
    at, resolved, acknowledged, repeats = rest
    return Item(
        notification_id=id_,
        tenant_id=tenant_id,
        severity=severity,
        category=category,
        source=source,
        component=component,
        group=group,
        kind=kind,
        summary=summary,
        details=loaded(details),
        links={text: _absolute(href, public_url=public_url) for text, href in loaded(links).items()},
        dedup_key=key,
        timestamp=at,
        resolved=resolved,
        acknowledged=acknowledged,
        repeats=repeats,
        reason=reason,
    )


def _absolute(href: str, *, public_url: str | None) -> str:
    """Return an address that leads somewhere from a mail, where the plane knows its own."""
    return f"{public_url}{href}" if public_url and href.startswith("/") else href


def settle(sent: Sequence[Sent], *, dice: float) -> list[Settled]:
    """Write what came of attempts; return those that counted.

    Those whose lease another notifier took over meanwhile do not count.
    """
    counted = []
    with transaction.atomic():
        tries = _tries(sent)
        for each in sorted(sent, key=lambda one: one.claimed.channel.channel_id):
            then = lifecycle.after(each.answer, tries=tries.get(each.claimed.deliveries[0][0], 0) + 1, dice=dice)
            with preparing() as cursor:
                cursor.execute(SETTLE, {"rows": orjson.dumps(_rows(each, then=then)).decode()})
                ids = [row[0] for row in cursor.fetchall()]
            if not ids:
                continue
            note_standing(channel_id=each.claimed.channel.channel_id, answer=each.answer, took_ms=each.took_ms)
            told = []
            if each.answer.accepted:
                told = outcomes.told(ids)
                outcomes.tell_end(ids)
            else:
                outcomes.call_off_too_late(ids)
            counted.append(Settled(each, then.state, told))
    return counted


def note_standing(*, channel_id: UUID, answer: Answer, took_ms: int) -> None:
    """Note how a channel has done, and leave it alone for a while where it fails again and again, or asked so."""
    values = {
        "channel": channel_id,
        "accepted": answer.accepted,
        # What it refuses for good may be the message's fault: it says nothing about whether the channel is there.
        "counts": not answer.permanent,
        "error": answer.error,
        "took": took_ms,
        "kept": KEPT_TIMES,
    }
    with preparing() as cursor:
        cursor.execute(STANDING, values)
        (failures,) = cursor.fetchone() or (0,)
        alone_s = 0.0 if answer.accepted else lifecycle.open_s(answer, failures=failures)
        if alone_s:
            cursor.execute(
                "UPDATE notification_channels SET left_alone_until = clock_timestamp() + %s * interval '1 s'"
                " WHERE channel_id = %s",
                [alone_s, channel_id],
            )


def _tries(sent: Sequence[Sent]) -> dict[UUID, int]:
    """Return how often each message's first delivery was tried before."""
    ids = [each.claimed.deliveries[0][0] for each in sent]
    with preparing() as cursor:
        cursor.execute("SELECT delivery_id, tries FROM notification_deliveries WHERE delivery_id = ANY(%s)", [ids])
        return dict(cursor.fetchall())


def _rows(sent: Sent, *, then: lifecycle.Next) -> list[dict[str, Any]]:
    answer = sent.answer
    told = {
        "state": str(then.state),
        "pause_s": then.pause_s,
        "note": None if answer.accepted else answer.error,
        "at": sent.claimed.message.at.isoformat(),
        "took_ms": sent.took_ms,
        "accepted": answer.accepted,
        "permanent": answer.permanent,
        "status": answer.status,
        "error": answer.error,
    }
    return [{"delivery_id": str(id_), "claim": claim, **told} for id_, claim in sent.claimed.deliveries]

"""What the sender writes: deliveries are claimed under a lease and a fence, and settled by what came of the request.

A request is made between two transactions, never inside one. A sender that is killed leaves its deliveries to the next,
and what it would still write under its fence matches nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import orjson
from django.db import connection, transaction

from apps.core.database import preparing
from apps.events.models import Event
from apps.webhooks import lifecycle
from apps.webhooks.lifecycle import Answer, Standing, State
from apps.webhooks.models import Webhook
from apps.webhooks.operations.webhooks import disable
from apps.webhooks.pacing import Owing

LEASE_S = 60.0
KEPT_ATTEMPTS = 20
USUAL_WEIGHT = 0.3
BY = "webhooks"

# From webhook to webhook along the index of what is owed: a look costs by the webhooks that are owed something, not by
# what waits for each. `statement_timestamp()` and not `clock_timestamp()`, which no index could bound.
OWED_TO = """
WITH RECURSIVE owed AS (
    (SELECT webhook_id FROM webhook_deliveries WHERE state IN ('waiting', 'sending') ORDER BY webhook_id LIMIT 1)
    UNION ALL
    SELECT (SELECT d.webhook_id FROM webhook_deliveries d
             WHERE d.state IN ('waiting', 'sending') AND d.webhook_id > o.webhook_id ORDER BY d.webhook_id LIMIT 1)
      FROM owed o WHERE o.webhook_id IS NOT NULL
)
"""
OWING = f"""{OWED_TO}
SELECT w.webhook_id, w.tenant_id, w.host, w.failures, w.usual_ms, first.due_at
  FROM owed JOIN webhooks w ON w.webhook_id = owed.webhook_id
  CROSS JOIN LATERAL (
    SELECT due_at FROM webhook_deliveries d
     WHERE d.webhook_id = w.webhook_id AND d.state IN ('waiting', 'sending') AND d.due_at <= statement_timestamp()
     ORDER BY d.due_at LIMIT 1) AS first
 WHERE w.disabled_at IS NULL AND w.deleted_at IS NULL
   AND (w.left_alone_until IS NULL OR w.left_alone_until <= statement_timestamp())
"""
CLAIM = """
WITH picked AS MATERIALIZED (
    SELECT first.delivery_id FROM jsonb_to_recordset(%(allowed)s) AS a(webhook_id uuid, most int)
      CROSS JOIN LATERAL (
        SELECT delivery_id FROM webhook_deliveries d
         WHERE d.webhook_id = a.webhook_id AND d.state IN ('waiting', 'sending') AND d.due_at <= statement_timestamp()
         ORDER BY d.due_at LIMIT a.most FOR UPDATE SKIP LOCKED) AS first
)
UPDATE webhook_deliveries d
   SET state = 'sending', claim = claim + 1, due_at = clock_timestamp() + %(lease)s * interval '1 s'
  FROM picked WHERE d.delivery_id = picked.delivery_id
RETURNING d.delivery_id, d.claim, d.webhook_id, d.event_id
"""
HELD = """
SELECT clock_timestamp(), d.tries, w.failures, w.failing_since, w.failed_at, w.usual_ms
  FROM webhook_deliveries d JOIN webhooks w ON w.webhook_id = d.webhook_id
 WHERE d.delivery_id = %s AND d.claim = %s AND d.state = 'sending' FOR NO KEY UPDATE
"""
SETTLE = """
UPDATE webhook_deliveries
   SET state = %(state)s, tries = tries + 1, due_at = clock_timestamp() + %(pause)s * interval '1 s',
       settled_at = CASE WHEN %(settled)s THEN clock_timestamp() END,
       attempts = (CASE WHEN jsonb_array_length(attempts) >= %(kept)s THEN attempts - 0 ELSE attempts END)
                  || %(tried)s::jsonb
 WHERE delivery_id = %(delivery)s AND claim = %(claim)s AND state = 'sending'
"""
TAKE_OVER = """
UPDATE webhook_deliveries SET state = 'waiting', due_at = clock_timestamp() WHERE state = 'sending'
"""
NOW = "SELECT clock_timestamp()"


class Claimed(NamedTuple):
    """A delivery to be sent now, at the database's time `at`: what, where to, and by which secrets it is signed."""

    delivery_id: UUID
    claim: int
    webhook_id: UUID
    tenant_id: str
    url: str
    secret_ids: tuple[UUID, ...]
    event: Event
    at: datetime


class Sent(NamedTuple):
    """What came of a request."""

    claimed: Claimed
    answer: Answer
    took_ms: int
    digest: str | None = None
    size: int | None = None


def take_over() -> int:
    """Take over what a sender before was sending; return how many. Only for a sender that has just begun to lead."""
    with connection.cursor() as cursor:
        cursor.execute(TAKE_OVER)
        return int(cursor.rowcount)


def owing() -> list[Owing]:
    """Return the webhooks that something may be sent to now."""
    with preparing() as cursor:
        cursor.execute(OWING)
        return [Owing(*row) for row in cursor.fetchall()]


def claim(allowed: Mapping[UUID, int]) -> list[Claimed]:
    """Take so many of each webhook's deliveries that are due, the longest due first, under a lease."""
    if not allowed:
        return []
    asked = [{"webhook_id": str(webhook_id), "most": most} for webhook_id, most in allowed.items()]
    with transaction.atomic():
        with preparing() as cursor:
            cursor.execute(CLAIM, {"allowed": orjson.dumps(asked).decode(), "lease": LEASE_S})
            rows = cursor.fetchall()
            cursor.execute(NOW)
            (now,) = cursor.fetchone() or (None,)
        webhooks = Webhook.every.in_bulk([webhook_id for _, _, webhook_id, _ in rows])
        events = Event.every.in_bulk([event_id for _, _, _, event_id in rows])
    return [
        _claimed(delivery_id, number, webhook=webhooks[webhook_id], event=events[event_id], now=now)
        for delivery_id, number, webhook_id, event_id in rows
    ]


def settle(sent: Sequence[Sent], *, dice: float) -> list[tuple[Sent, State]]:
    """Write what came of requests; return those that counted with the state that followed.

    Those whose lease another sender took over meanwhile do not count.
    """
    counted = []
    with transaction.atomic():
        for each in sorted(sent, key=lambda one: one.claimed.webhook_id):
            found = _held(each.claimed)
            if found is not None:
                then = lifecycle.after(each.answer, tries=found.tries + 1, dice=dice)
                _move(each, then=then, now=found.now)
                _note(each, found=found)
                counted.append((each, then.state))
    return counted


def _claimed(delivery_id: UUID, number: int, *, webhook: Webhook, event: Event, now: datetime) -> Claimed:
    secret_ids = [webhook.secret_id]
    if webhook.previous_secret_id is not None and webhook.previous_until is not None and webhook.previous_until > now:
        secret_ids.append(webhook.previous_secret_id)
    return Claimed(
        delivery_id=delivery_id,
        claim=number,
        webhook_id=webhook.webhook_id,
        tenant_id=webhook.tenant_id,
        url=webhook.url,
        secret_ids=tuple(secret_ids),
        event=event,
        at=now,
    )


class _Held(NamedTuple):
    """A delivery that is still ours and how its receiver has done, both rows locked, at the database's time `now`."""

    now: datetime
    tries: int
    receiver: Standing
    usual_ms: int | None


def _held(claimed: Claimed) -> _Held | None:
    with preparing() as cursor:
        cursor.execute(HELD, [claimed.delivery_id, claimed.claim])
        row = cursor.fetchone()
    if row is None:
        return None
    now, tries, *receiver, usual_ms = row
    return _Held(now, tries, Standing(*receiver), usual_ms)


def _move(sent: Sent, *, then: lifecycle.Next, now: datetime) -> None:
    values: dict[str, Any] = {
        "state": str(then.state),
        "pause": then.pause_s or 0.0,
        "settled": then.state is not State.WAITING,
        "kept": KEPT_ATTEMPTS,
        "tried": orjson.dumps([_tried(sent, at=now)]).decode(),
        "delivery": sent.claimed.delivery_id,
        "claim": sent.claimed.claim,
    }
    with preparing() as cursor:
        cursor.execute(SETTLE, values)


def _tried(sent: Sent, *, at: datetime) -> dict[str, Any]:
    """Return a try as it is kept: of what the receiver said only the length and the digest."""
    began = at - timedelta(milliseconds=sent.took_ms)
    return {
        "at": began.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "took_ms": sent.took_ms,
        "status": sent.answer.status,
        "error": sent.answer.error,
        "answer_bytes": sent.size,
        "answer_digest": sent.digest,
    }


def _note(sent: Sent, *, found: _Held) -> None:
    """Note how the receiver has done; disable the webhook where that is too bad."""
    answer, webhook_id, now = sent.answer, sent.claimed.webhook_id, found.now
    standing = lifecycle.standing_after(answer, before=found.receiver, now=now)
    alone_s = lifecycle.left_alone_s(answer, standing=standing)
    usual = sent.took_ms if found.usual_ms is None else found.usual_ms
    step: dict[str, Any] = {
        **standing._asdict(),
        "usual_ms": round(usual + USUAL_WEIGHT * (sent.took_ms - usual)),
    }
    if alone_s:  # a success takes nothing back: the receiver may have asked for time in another answer a moment ago
        step["left_alone_until"] = now + timedelta(seconds=alone_s)
    if answer.accepted:
        step["delivered_at"] = now
    Webhook.every.filter(webhook_id=webhook_id).update(**step)
    reason = lifecycle.given_up(answer, standing=standing, now=now)
    if reason is not None:
        disable(webhook_id=webhook_id, reason=reason, by=BY)

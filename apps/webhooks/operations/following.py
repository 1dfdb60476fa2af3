"""Events become deliveries: the event log's follower for webhooks. For the sender, across tenants.

The transaction that writes the deliveries of some events moves the follower past them: killed anywhere, it finds
neither or both. Nobody who writes an event pays for its deliveries.
"""

from __future__ import annotations

from django.db import transaction

from apps.core.database import UUID7, preparing
from apps.events import operations as event_log
from apps.events import queries as event_queries
from apps.webhooks import events
from apps.webhooks.models import Webhook

CONSUMER = "webhooks"
BATCH = 500
PLACE = "row_number() OVER (PARTITION BY w.webhook_id ORDER BY e.sequence)"
# To a webhook that is disabled nothing is sent, but what it misses is kept: somebody may ask for it.
FOLLOW = f"""
WITH come AS MATERIALIZED (
    SELECT event_id, tenant_id, type, subject, sequence, occurred_at FROM events
     WHERE sequence > %(position)s ORDER BY sequence LIMIT %(limit)s
), made AS (
    INSERT INTO webhook_deliveries (delivery_id, tenant_id, webhook_id, event_id, event_type, occurred_at, state, tries,
                                    claim, due_at, settled_at, attempts)
    SELECT {UUID7.format(place=PLACE)}, w.tenant_id, w.webhook_id, e.event_id, e.type, e.occurred_at,
           CASE WHEN w.disabled_at IS NULL THEN 'waiting' ELSE 'held' END, 0, 0, clock_timestamp(),
           CASE WHEN w.disabled_at IS NOT NULL THEN clock_timestamp() END, '[]'
      FROM come e JOIN webhooks w ON w.tenant_id = e.tenant_id
     WHERE w.deleted_at IS NULL AND w.created_at <= e.occurred_at
       AND CASE WHEN e.type = '{events.TEST}' THEN w.webhook_id::text = e.subject
                ELSE EXISTS (SELECT 1 FROM unnest(w.event_types) AS wanted
                              WHERE wanted = e.type
                                 OR (right(wanted, 2) = '.*' AND starts_with(e.type, left(wanted, -1)))) END
     ORDER BY e.sequence
    ON CONFLICT (webhook_id, event_id) DO NOTHING
)
SELECT count(*), max(sequence) FROM come
"""


def follow() -> tuple[int, bool]:
    """Write the deliveries of the next events; return how many events there were, and whether anybody listens.

    With no webhook there is nothing to read: the follower then keeps up with the log's head.
    """
    with transaction.atomic():
        position = event_queries.position_of(consumer=CONSUMER)
        if not Webhook.every.filter(deleted_at=None).exists():
            head = event_queries.head()
            if head > position:
                event_log.advance(consumer=CONSUMER, position=head)
            return 0, False
        with preparing() as cursor:
            cursor.execute(FOLLOW, {"position": position, "limit": BATCH})
            count, last = cursor.fetchone() or (0, None)
        if last is not None:
            event_log.advance(consumer=CONSUMER, position=last)
    return int(count), True


def behind() -> int:
    """Return how many numbered events have no deliveries yet."""
    return max(event_queries.head() - event_queries.position_of(consumer=CONSUMER), 0)

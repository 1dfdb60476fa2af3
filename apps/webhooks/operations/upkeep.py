"""What is done about deliveries beside sending them: held back from disabled webhooks, and forgotten in the end."""

from __future__ import annotations

from datetime import timedelta

from django.db import connection

from apps.core.clock import DatabaseClock
from apps.core.ids import first_id_at
from apps.webhooks.operations.sending import OWED_TO

KEPT_FOR = timedelta(days=30)
HOLD_BACK = f"""{OWED_TO}, mine AS MATERIALIZED (
    SELECT waiting.delivery_id FROM owed JOIN webhooks w ON w.webhook_id = owed.webhook_id
      CROSS JOIN LATERAL (
        SELECT delivery_id FROM webhook_deliveries d WHERE d.webhook_id = w.webhook_id AND d.state = 'waiting'
         LIMIT %(limit)s FOR UPDATE SKIP LOCKED) AS waiting
     WHERE w.disabled_at IS NOT NULL OR w.deleted_at IS NOT NULL
)
UPDATE webhook_deliveries d SET state = 'held', settled_at = clock_timestamp()
  FROM mine WHERE d.delivery_id = mine.delivery_id AND d.state = 'waiting'
"""
PURGE = """
WITH old AS MATERIALIZED (
    SELECT last.delivery_id FROM webhooks w
      CROSS JOIN LATERAL (
        SELECT delivery_id FROM webhook_deliveries d
         WHERE d.webhook_id = w.webhook_id AND d.delivery_id < %(before)s
           AND d.state NOT IN ('waiting', 'sending')
         ORDER BY d.delivery_id LIMIT %(limit)s) AS last
)
DELETE FROM webhook_deliveries d USING old WHERE d.delivery_id = old.delivery_id
"""


def hold_back(*, limit: int) -> int:
    """Hold at most so many deliveries of each webhook that is disabled or gone; return how many that were."""
    with connection.cursor() as cursor:
        cursor.execute(HOLD_BACK, {"limit": limit})
        return int(cursor.rowcount)


def purge(*, limit: int) -> int:
    """Forget deliveries older than 30 days that are settled, at most so many of each webhook; return how many."""
    before = first_id_at(DatabaseClock.ask(connection).now() - KEPT_FOR)
    with connection.cursor() as cursor:
        cursor.execute(PURGE, {"limit": limit, "before": before})
        return int(cursor.rowcount)

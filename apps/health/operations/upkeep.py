"""What health forgets: measures after a week, canaries after a day, orders after a quarter of a year.

Flips and receipts are history: no process's role may take them away.
"""

from __future__ import annotations

from django.db import connection

from apps.health.operations import canaries

WINDOWS_DAYS, RECORDS_DAYS = 7, 90
FORGET = (
    ("DELETE FROM health_windows WHERE minute < clock_timestamp() - make_interval(days => %s)", WINDOWS_DAYS),
    ("DELETE FROM process_orders WHERE ordered_at < clock_timestamp() - make_interval(days => %s)", RECORDS_DAYS),
)


def purge() -> int:
    """Forget what is old; return how many rows that was."""
    count = canaries.purge()
    with connection.cursor() as cursor:
        for statement, days in FORGET:
            cursor.execute(statement, [days])
            count += int(cursor.rowcount)
    return count

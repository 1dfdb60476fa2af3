"""Orders to processes: written here, read and obeyed by the process at its own beat."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from django.db import connection

from apps.core.database import UUID7, rows

RESTART = f"""
INSERT INTO process_orders (order_id, process_id, kind, reason, ordered_by, ordered_at)
SELECT {UUID7.format(place="row_number() OVER ()")}, process_id, 'restart', %(reason)s, %(by)s, clock_timestamp()
  FROM processes
 WHERE role = 'worker' AND state = 'live' AND lease_until > clock_timestamp()
   AND coalesce(environment, split_part(name, '@', 1)) = %(pool)s
ON CONFLICT (process_id, kind) WHERE obeyed_at IS NULL DO NOTHING
"""
RESTART_ONE = f"""
INSERT INTO process_orders (order_id, process_id, kind, reason, ordered_by, ordered_at)
SELECT {UUID7.format(place="row_number() OVER ()")}, process_id, 'restart', %(reason)s, %(by)s, clock_timestamp()
  FROM unnest(%(processes)s::uuid[]) AS process_id
ON CONFLICT (process_id, kind) WHERE obeyed_at IS NULL DO NOTHING
"""
OBEY = """
UPDATE process_orders SET obeyed_at = clock_timestamp() WHERE process_id = %s AND obeyed_at IS NULL RETURNING reason
"""


def restart_pool(*, pool: str, reason: str, by: str) -> int:
    """Order every live worker of a pool to end in order, so that its supervisor starts it afresh; return how many."""
    with connection.cursor() as cursor:
        cursor.execute(RESTART, {"pool": pool, "reason": reason[:64], "by": by})
        return int(cursor.rowcount)


def restart(*, processes: Sequence[UUID], reason: str, by: str) -> int:
    """Order these processes to end in order; return how many were not ordered so already."""
    with connection.cursor() as cursor:
        cursor.execute(RESTART_ONE, {"processes": list(processes), "reason": reason[:64], "by": by})
        return int(cursor.rowcount)


def obey(*, process_id: UUID) -> str | None:
    """Return the reason for which this process is to end, once; None: nobody ordered it to."""
    found = rows(OBEY, [process_id])
    return str(found[0][0]) if found else None

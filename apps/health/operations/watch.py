"""The watcher's own mark: when it looked last, and whether it believes that who is silent is silent."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from django.db import connection, transaction

from apps.core.database import rows
from apps.health import events, trust
from apps.health.models import Watch as WatchRow
from apps.health.operations import standing
from apps.health.trust import Ears

NAME = "watcher"
MARK = """
INSERT INTO health_watch AS w (name, looked_at, reason) VALUES (%s, clock_timestamp(), '')
ON CONFLICT (name) DO UPDATE SET looked_at = clock_timestamp()
RETURNING clock_timestamp(), distrusted_since, troubled_at, reason
"""
SINCE = "SELECT extract(epoch FROM clock_timestamp() - looked_at) FROM health_watch WHERE name = %s"
# Those whom the clock judges, and how many of them it would call late now. Who is unknown was counted before.
REPORTERS = f"""
WITH heard AS (
    SELECT count(*) FILTER (WHERE status = 'grace' OR due_at <= clock_timestamp()) AS late, count(*) AS every
      FROM health_status
     WHERE interval_s IS NOT NULL AND deleted_at IS NULL AND module <> 'operations'
       AND status IN ('up', 'grace', 'degraded') AND last_check > awaited_from - interval '1 day'
     GROUP BY tenant_id
)
SELECT coalesce(sum(late), 0), coalesce(sum(every), 0),
       count(*) FILTER (WHERE late >= {trust.SHARE_LATE} * every), count(*) FROM heard
"""
# Whoever could not be heard has his time anew; at a row that has a deadline the clock looks at once, and finds it.
ANEW = """
UPDATE health_status SET awaited_from = clock_timestamp(), due_at = clock_timestamp()
 WHERE status NOT IN ('paused', 'down') AND deleted_at IS NULL AND (interval_s IS NOT NULL OR expected)
"""


class Trust(NamedTuple):
    """Whether silences are believed, as of the database's time `at`."""

    trusted: bool
    at: datetime


def since_look() -> float | None:
    """Return the seconds since the look before, None where there was none or the watcher left in order."""
    with connection.cursor() as cursor:
        cursor.execute(SINCE, [NAME])
        row = cursor.fetchone()
    return None if row is None or row[0] is None else float(row[0])


def reporters() -> tuple[tuple[int, int], tuple[int, int]]:
    """Return how many components of modules are late, of how many that the clock judges; and the same of tenants."""
    ((late, every, tenants_late, tenants),) = rows(REPORTERS, [])
    return (int(late), int(every)), (int(tenants_late), int(tenants))


def mark(ears: Ears) -> Trust:
    """Note that the watcher looks, and whether it trusts its ears; return that. Tells of a change by an event."""
    with transaction.atomic():
        ((at, since, troubled_at, reason),) = rows(MARK, [NAME])
        trouble = trust.trouble(ears)
        if trouble is not None:
            _doubt(since=since, reason=trouble, at=at)
        elif since is not None and troubled_at is not None:
            if trust.settled(quiet_s=(at - troubled_at).total_seconds()):
                _believe(reason=reason)
                return Trust(True, at)
        elif ears.since_look_s is None:
            anew()
        return Trust(trouble is None and since is None, at)


def leave() -> None:
    """Note that the watcher ends in order: the next one's first look follows no gap."""
    WatchRow.objects.filter(name=NAME).update(looked_at=None)


def anew() -> None:
    """Give everybody who is awaited his time anew."""
    with connection.cursor() as cursor:
        cursor.execute(ANEW)


def _doubt(*, since: datetime | None, reason: str, at: datetime) -> None:
    WatchRow.objects.filter(name=NAME).update(troubled_at=at, distrusted_since=since or at, reason=reason)
    if since is None:
        _tell(events.DISTRUSTED, reason=reason)


def _believe(*, reason: str) -> None:
    WatchRow.objects.filter(name=NAME).update(troubled_at=None, distrusted_since=None, reason="")
    anew()
    _tell(events.TRUSTED, reason=reason)


def _tell(event_type: str, *, reason: str) -> None:
    told = {"event_type": event_type, "event_subject": NAME, "event_data": {"reason": reason}}
    standing.tell([told], tenant_id=None)

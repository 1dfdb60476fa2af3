"""Deferral: what the plane knows of its broker, kept where a submission reads it, and the release when it is back."""

from __future__ import annotations

from django.db import connection

# `WHERE opened_at IS NULL`: said again each second of an outage, it is written once.
OPEN = """
INSERT INTO breakers (name, opened_at, reason, changed_at)
VALUES (%s, clock_timestamp(), %s, clock_timestamp())
ON CONFLICT (name) DO UPDATE SET opened_at = excluded.opened_at, reason = excluded.reason,
       changed_at = excluded.changed_at
 WHERE breakers.opened_at IS NULL
"""
CLOSE = """
UPDATE breakers SET opened_at = NULL, reason = '', changed_at = clock_timestamp()
 WHERE name = %s AND opened_at IS NOT NULL
"""
# One instant for all of a chunk: among equals the id then decides, which grows with submission. Materialized: as a
# plain sub-select a join may ask for it again a row, and its limit would hold nothing.
RELEASE = """
WITH next AS MATERIALIZED (
    SELECT job_id FROM jobs WHERE status = 'deferred' ORDER BY priority, submitted_at, job_id LIMIT %s
       FOR UPDATE SKIP LOCKED
)
UPDATE jobs SET status = 'queued', queued_at = statement_timestamp() FROM next WHERE jobs.job_id = next.job_id
"""


def open_breaker(*, reason: str, name: str = "broker") -> bool:
    """Let submissions be deferred from now on; return whether that is new. `reason` is the error's kind."""
    with connection.cursor() as cursor:
        cursor.execute(OPEN, [name, reason[:64]])
        return bool(cursor.rowcount)


def close_breaker(*, name: str = "broker") -> bool:
    """Let submissions be queued again; return whether that is new."""
    with connection.cursor() as cursor:
        cursor.execute(CLOSE, [name])
        return bool(cursor.rowcount)


def release_deferred(*, limit: int) -> int:
    """Queue the first `limit` deferred jobs, by priority and submission; return how many there were."""
    with connection.cursor() as cursor:
        cursor.execute(RELEASE, [limit])
        return int(cursor.rowcount)

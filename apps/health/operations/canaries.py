"""Canaries: a row each, from being enqueued to the worker's start and commit, and what their ends say of a queue."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from django.db import connection, transaction

from apps.core.database import rows
from apps.core.ids import uuid7
from apps.health import canary
from apps.health.canary import Flight, Word
from apps.health.lifecycle import Flip, Signal
from apps.health.models import PLATFORM, Canary, Component
from apps.health.operations.inventory import Queue
from apps.health.operations.standing import Measured, hear
from apps.jobs import liveness

LAST = """
SELECT newest.queue, canary_id, enqueued_at, sent, started_at, committed_at, word,
       extract(epoch FROM clock_timestamp() - enqueued_at),
       extract(epoch FROM clock_timestamp() - coalesce(settled_at, enqueued_at))
  FROM unnest(%s::text[]) AS wanted(queue) CROSS JOIN LATERAL (
       SELECT * FROM health_canaries c WHERE c.queue = wanted.queue ORDER BY canary_id DESC LIMIT 1) AS newest
"""
START = """
UPDATE health_canaries SET started_at = clock_timestamp(), process_id = %s WHERE canary_id = %s AND started_at IS NULL
"""
# In a transaction of its own, after the start's: the commit is part of what is measured.
COMMIT = """
UPDATE health_canaries SET committed_at = clock_timestamp() WHERE canary_id = %s AND committed_at IS NULL
"""
SETTLE = (
    "UPDATE health_canaries SET word = %s, settled_at = clock_timestamp() WHERE canary_id = %s AND word = 'waiting'"
)


# Of a pool's workers any takes the next canary. One that took none of so many, and had neither job nor reason, is deaf.
EACH_TAKES_ONE_OF = 12
DEAF = """
WITH pool AS MATERIALIZED (
    SELECT process_id, started_at FROM processes WHERE role = 'worker' AND environment = %(environment)s
       AND state = 'live' AND lease_until > clock_timestamp()
), many AS (SELECT %(each)s * count(*) AS wanted, count(*) AS workers FROM pool), last AS MATERIALIZED (
    SELECT process_id, enqueued_at FROM health_canaries WHERE queue = %(queue)s AND word = 'answered'
     ORDER BY canary_id DESC LIMIT (SELECT wanted FROM many)
)
SELECT p.process_id, (SELECT min(enqueued_at) FROM last) FROM pool p, many
 WHERE many.workers > 1 AND (SELECT count(*) FROM last) = many.wanted
   AND p.started_at < (SELECT min(enqueued_at) FROM last)
   AND NOT EXISTS (SELECT 1 FROM last l WHERE l.process_id = p.process_id)
   AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.worker_id = p.process_id AND j.status = 'running')
"""
WORKED = "SELECT 1 FROM attempts WHERE finished_at > %(since)s AND worker_id = %(worker)s LIMIT 1"


class Last(NamedTuple):
    """A queue's newest canary, and how long ago it was enqueued and settled, in seconds."""

    canary_id: UUID
    enqueued_at: datetime
    sent: bool | None
    started_at: datetime | None
    committed_at: datetime | None
    word: str
    age_s: float
    settled_s: float


def last(queues: Sequence[Queue]) -> dict[str, Last]:
    """Return queue → its newest canary."""
    found = {row[0]: Last(*row[1:]) for row in rows(LAST, [[each.queue for each in queues]])}
    return {
        name: each._replace(age_s=float(each.age_s), settled_s=float(each.settled_s)) for name, each in found.items()
    }


def release(queue: Queue) -> UUID:
    """Write a canary that is about to be sent; return its id."""
    made = Canary(canary_id=uuid7(), queue=queue.queue)
    Canary.objects.bulk_create([made])
    return made.canary_id


def sent(canary_id: UUID, *, taken: bool) -> None:
    """Note whether the broker took it."""
    Canary.objects.filter(canary_id=canary_id, sent=None).update(sent=taken)


def started(canary_id: UUID, *, process_id: UUID | None) -> bool:
    """Note that a worker has it; return whether it was still awaited."""
    with connection.cursor() as cursor:
        cursor.execute(START, [process_id, canary_id])
        return bool(cursor.rowcount)


def committed(canary_id: UUID) -> None:
    """Note that a worker could write and commit."""
    with connection.cursor() as cursor:
        cursor.execute(COMMIT, [canary_id])


def due(newest: Last | None) -> bool:
    """Say whether a queue's next canary is due: none is under way, and the last is long enough ago."""
    if newest is None:
        return True
    if newest.word == Word.WAITING:
        return False
    if newest.word == Word.STALLED:
        return newest.settled_s >= canary.AGAIN_S
    return newest.age_s >= canary.EVERY_S


def settle(queue: Queue, *, newest: Last, trusted: bool) -> Last:
    """Judge a canary under way; write what its end says of the queue, and return the canary as it is now."""
    if newest.word != Word.WAITING:
        return newest
    idle, claimed = None, 0
    if queue.environment is not None and newest.age_s >= canary.PATIENCE_S:
        idle, claimed = liveness.activity(environment=queue.environment, since=newest.enqueued_at)
    word = canary.judge(
        Flight(newest.age_s, newest.sent, newest.committed_at is not None, claimed_since=claimed, idle=idle)
    )
    if word is not Word.WAITING:
        _end(queue, newest=newest, word=word, trusted=trusted)
    return newest._replace(word=word.value, settled_s=newest.settled_s if word is Word.WAITING else 0.0)


def _end(queue: Queue, *, newest: Last, word: Word, trusted: bool) -> tuple[Flip, ...]:
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(SETTLE, [word.value, newest.canary_id])
        row = Component.every.select_for_update(no_key=True).filter(
            tenant=None, module=PLATFORM, component=queue.part, deleted_at=None
        ).first()  # fmt: skip
        if row is None:
            return ()
        if word is Word.ANSWERED and newest.committed_at is not None:
            took_ms = (newest.committed_at - newest.enqueued_at).total_seconds() * 1000
            return hear(
                row, signal=Signal.SUCCESS, at=newest.committed_at, reason="answered", measured=Measured(took_ms)
            )
        if word is Word.STALLED and trusted:
            return hear(
                row, signal=Signal.FAIL, at=_patience_over(newest), reason="stalled", measured=Measured(None, 1, 1)
            )
    return ()


def deaf(*, queue: str, environment: str) -> list[UUID]:
    """Return the workers of a pool that take nothing from its queue, while others of it do."""
    suspects = rows(DEAF, {"queue": queue, "environment": environment, "each": EACH_TAKES_ONE_OF})
    return [worker for worker, since in suspects if not rows(WORKED, {"since": since, "worker": worker})]


def purge() -> int:
    """Forget canaries older than a day; return how many."""
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM health_canaries WHERE enqueued_at < clock_timestamp() - interval '1 day'")
        return int(cursor.rowcount)


def _patience_over(newest: Last) -> datetime:
    return newest.enqueued_at + timedelta(seconds=canary.PATIENCE_S)

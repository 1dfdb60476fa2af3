"""What the clock and the plane's own rows say of components: deadlines, processes, the broker. For the watcher."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection, transaction

from apps.core.database import clock as database_time
from apps.core.database import loaded, rows
from apps.health import lifecycle
from apps.health.lifecycle import Flip, Signal, Status
from apps.health.models import PLATFORM, Component
from apps.health.operations.standing import Measured, hear, standing_of, tell_unmuted, terms_of, write
from apps.jobs.liveness import Beat

AT_ONCE = 500
LOST, DEAF = "lost", "deaf"
NOTED_EVERY = timedelta(seconds=12)  # a part that is up is written of less often than it beats
OWN_PARTS = """
SELECT component, status, last_check, instances FROM health_status
 WHERE tenant_id IS NULL AND module = 'operations' AND kind = 'process' AND deleted_at IS NULL
"""
BROKER_AWAY = "SELECT opened_at FROM breakers WHERE name = 'broker'"
# What depends on something that is down is muted, also when it went bad first; and no longer than that lasts. Joined by
# name: a thousand that are down with a thousand above them are a thousand comparisons, not a million.
MUTE = """
WITH bad AS MATERIALIZED (
    SELECT component_id, tenant_id, depends_on FROM health_status
     WHERE status IN ('degraded', 'down', 'unknown') AND deleted_at IS NULL
       AND (depends_on <> '{}' OR muted_by <> '{}')
), above AS MATERIALIZED (
    SELECT module || '/' || component AS name, tenant_id FROM health_status
     WHERE status = 'down' AND deleted_at IS NULL
), found AS (
    SELECT bad.component_id, array_agg(DISTINCT above.name) AS names
      FROM bad CROSS JOIN LATERAL unnest(bad.depends_on) AS wanted(name)
      JOIN above ON above.name = wanted.name::text
     WHERE above.tenant_id IS NULL OR above.tenant_id IS NOT DISTINCT FROM bad.tenant_id
     GROUP BY bad.component_id
)
UPDATE health_status c SET muted_by = coalesce(found.names, '{}'), revision = revision + 1
  FROM bad LEFT JOIN found ON found.component_id = bad.component_id
 WHERE c.component_id = bad.component_id AND c.muted_by IS DISTINCT FROM coalesce(found.names, '{}')::varchar[]
RETURNING c.component_id, c.muted_by = '{}' AND c.status IN ('degraded', 'down')
"""
CLEAR = """
UPDATE health_status SET muted_by = '{}', revision = revision + 1
 WHERE muted_by <> '{}' AND status NOT IN ('degraded', 'down', 'unknown')
"""


class Own(NamedTuple):
    """A part of the plane's as it was at the last look, and the processes that lived then, by id."""

    name: str
    status: str
    last_check: datetime | None
    known: Mapping[str, Mapping[str, Any]]


class Part(NamedTuple):
    """The processes of one part of the plane: what was known of them, what they are now."""

    name: str
    status: str
    last_check: datetime | None
    known: Mapping[str, Mapping[str, Any]]
    living: Sequence[Beat]
    lost: Sequence[Beat]


def clock(*, trusted: bool) -> list[tuple[Component, Flip]]:
    """Judge everyone whose deadline has passed; return the flips."""
    found: list[tuple[Component, Flip]] = []
    with transaction.atomic():
        now = database_time()
        due = Component.every.select_for_update(skip_locked=True, no_key=True).filter(due_at__lte=now, deleted_at=None)
        for row in due.order_by("due_at")[:AT_ONCE]:
            step = lifecycle.looked(standing_of(row), terms=terms_of(row), now=now, trusted=trusted)
            found += [(row, flip) for flip in write(row, step=step)]
    return found


def own_parts() -> list[Own]:
    """Return the plane's parts that are processes, as they were at the last look."""
    return [Own(name, status, seen, loaded(known)) for name, status, seen, known in rows(OWN_PARTS, [])]


def parts(own: Sequence[Own], *, beats: Sequence[Beat]) -> list[Part]:
    """Return the plane's parts with their processes, those that were lost without a word among them."""
    by_id = {str(beat.process_id): beat for beat in beats}
    found = []
    for part in own:
        mine = [beat for beat in beats if beat.part == part.name]
        living = [beat for beat in mine if beat.lives]
        there = [(by_id[each], said) for each, said in part.known.items() if each in by_id]
        lost = [beat for beat, said in there if _lost(beat, said=said, own=mine)]
        found.append(Part(part.name, part.status, part.last_check, part.known, living, lost))
    return found


def known_processes(own: Sequence[Own]) -> list[UUID]:
    """Return the ids of every process that was alive at the last look."""
    return [UUID(each) for part in own for each in part.known]


def late(found: Sequence[Part]) -> tuple[int, int]:
    """Return how many processes were lost at once, of how many that were known.

    Those whose loss made it doubt before are not counted again: else it would doubt for as long as they are gone.
    """
    heard = [part for part in found if part.status != Status.UNKNOWN]
    return sum(len(part.lost) for part in heard), sum(len(part.known) for part in heard)


def door_open(own: Sequence[Own]) -> bool:
    """Say whether the web process, through which modules report, is not down."""
    return not any(part.name == "web" and part.status == Status.DOWN for part in own)


def judge(part: Part, *, trusted: bool) -> tuple[Flip, ...]:
    """Write what its processes say of a part of the plane; return the flips."""
    instances = {str(beat.process_id): {"in_order": beat.in_order} for beat in part.living}
    newest = max((beat.beat_at for beat in part.living), default=None)
    if not part.lost and part.status == Status.UP and instances == part.known and _merely_beats(part, newest):
        return ()
    with transaction.atomic():
        row = Component.every.select_for_update(no_key=True).get(tenant=None, module=PLATFORM, component=part.name)
        fresh = newest is not None and (row.last_check is None or newest > row.last_check)
        if not part.lost and not fresh and instances == row.instances:
            return ()
        if part.lost and not trusted:
            # Kept as they were known, so that they are asked about again once the plane trusts its ears.
            return write(row, step=lifecycle.distrusted(standing_of(row), at=database_time()))
        flips: tuple[Flip, ...] = ()
        # Of what was lost while the plane was deaf nothing is said but this: whether it is there now.
        past = row.status == Status.UNKNOWN and bool(part.living)
        for beat in () if past else part.lost:
            survived = any(each.started_at < beat.beat_at for each in part.living)
            flips += hear(row, signal=Signal.FAIL, at=beat.lease_until, reason=LOST, partial=survived)
        more = {"instances": instances}
        if fresh and newest is not None and not _ticks(row):
            return flips + hear(row, signal=Signal.SUCCESS, at=newest, reason="beats", more=more)
        if not part.living and part.known and not part.lost:
            return flips + write(row, step=lifecycle.stopped(standing_of(row), at=database_time()), more=more)
        return flips + write(row, step=(standing_of(row), ()), more=more)


def broker() -> tuple[Flip, ...]:
    """Write what the scheduler's breaker says of the broker; return the flips."""
    away = broker_away()
    with transaction.atomic():
        row = _own("broker")
        if row is None:
            return ()
        if away is None:
            return hear(row, signal=Signal.SUCCESS, at=database_time(), reason="takes_messages")
        if row.status == Status.DOWN:
            return ()
        return hear(row, signal=Signal.FAIL, at=away, reason="unreachable")


def broker_away() -> datetime | None:
    """Return since when the scheduler takes the broker to be away; None: it is there."""
    found = rows(BROKER_AWAY, [])
    away: datetime | None = found[0][0] if found else None
    return away


def database(*, latency_ms: float, away_since: datetime | None) -> tuple[Flip, ...]:
    """Write that the database answers, and since when it had not; return the flips."""
    with transaction.atomic():
        row = _own("database")
        if row is None:
            return ()
        flips: tuple[Flip, ...] = ()
        if away_since is not None:
            flips = hear(row, signal=Signal.FAIL, at=away_since, reason="unreachable", measured=Measured(None, 1, 1))
        return flips + hear(
            row, signal=Signal.SUCCESS, at=database_time(), reason="answers", measured=Measured(latency_ms)
        )


def tick() -> None:
    """Beat's tick has come through broker and control worker: say so of beat."""
    with transaction.atomic():
        row = _own("beat")
        if row is not None:
            hear(row, signal=Signal.SUCCESS, at=database_time(), reason="ticks")


def deaf(pool: str) -> tuple[Flip, ...]:
    """Write that a worker of the pool takes nothing while others of it do; return the flips."""
    with transaction.atomic():
        row = _own(f"worker-{pool}")
        if row is None or row.status in lifecycle.ALARMS:
            return ()
        return hear(row, signal=Signal.FAIL, at=database_time(), reason=DEAF, partial=True)


def mute() -> None:
    """Write which components suffer from another's outage; of those that do no more and are not well, tell."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(MUTE)
        alone = [component_id for component_id, unmuted in cursor.fetchall() if unmuted]
        cursor.execute(CLEAR)
        tell_unmuted(Component.every.filter(component_id__in=alone))


def _merely_beats(part: Part, newest: datetime | None) -> bool:
    """Say whether all that can be told of a part that is up is one more beat: that is written now and then only."""
    if newest is None or part.last_check is None:
        return False
    return newest - part.last_check < NOTED_EVERY


def _ticks(row: Component) -> bool:
    """Say whether a process is judged by what it does, not by its own beats: beat is."""
    return row.interval_s is not None


def _lost(beat: Beat, *, said: Mapping[str, Any], own: Sequence[Beat]) -> bool:
    """Say whether a process that lived is gone without a word.

    One that goes on under a new row, since it could not beat for a while, is not.
    """
    if beat.lives or beat.in_order or said.get("in_order"):
        return False
    return not any(each.lives and (each.host, each.pid) == (beat.host, beat.pid) for each in own)


def _own(name: str) -> Component | None:
    found = Component.every.select_for_update(no_key=True).filter(tenant=None, module=PLATFORM, component=name)
    return found.filter(deleted_at=None).first()

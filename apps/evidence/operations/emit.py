"""Emission: which sealed records the sink is owed, and what became of offering them.

A log is emitted in order, up to a size: so what is owed is a difference of two numbers, no record is touched, and a
batch that was accepted and not noted is offered again, which a sink that keeps its place answers with that place. One
emitter leads; a second at the same time can only note what was truly accepted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from apps.core.database import UUID7, preparing
from apps.core.ids import uuid7
from apps.events import operations as event_log
from apps.evidence import events
from apps.evidence.batches import Entry
from apps.evidence.logs import Log
from apps.evidence.models import Predicate

MOST_RECORDS = 2000  # in a batch: what the sealer seals in a step

# From log to log along the index of their sizes: what a look costs goes by the logs, not by their checkpoints.
BEHIND = """
WITH RECURSIVE log AS (
    (SELECT tenant_id, region FROM evidence_checkpoints ORDER BY tenant_id, region LIMIT 1)
    UNION ALL
    SELECT n.tenant_id, n.region FROM log CROSS JOIN LATERAL (
        SELECT tenant_id, region FROM evidence_checkpoints c
         WHERE (c.tenant_id, c.region) > (log.tenant_id, log.region) ORDER BY tenant_id, region LIMIT 1) AS n
)
SELECT log.tenant_id, log.region FROM log LEFT JOIN evidence_outlets o USING (tenant_id, region)
 CROSS JOIN LATERAL (SELECT size FROM evidence_checkpoints c WHERE c.tenant_id = log.tenant_id AND c.region = log.region
                      ORDER BY size DESC LIMIT 1) AS head
 WHERE head.size > coalesce(o.emitted, 0)
"""
GROWN = """
SELECT DISTINCT tenant_id, region FROM evidence_checkpoints WHERE checkpoint_id > %s
"""
NEWEST = "SELECT checkpoint_id FROM evidence_checkpoints ORDER BY checkpoint_id DESC LIMIT 1"
STANDING = """
SELECT l.tenant_id, l.region, coalesce(o.emitted, 0), coalesce(o.owed, 0), coalesce(o.tries, 0),
       coalesce(o.due_at <= clock_timestamp(), true), head.size
  FROM unnest(%(tenants)s::text[], %(regions)s::text[]) AS l(tenant_id, region)
  LEFT JOIN evidence_outlets o ON o.tenant_id = l.tenant_id AND o.region = l.region
 CROSS JOIN LATERAL (SELECT size FROM evidence_checkpoints c WHERE c.tenant_id = l.tenant_id AND c.region = l.region
                      ORDER BY size DESC LIMIT 1) AS head
"""
# The checkpoint that covers most of what one batch may hold; one that alone covers more is taken whole.
UPTO = """
(SELECT size, root, note FROM evidence_checkpoints WHERE tenant_id = %(tenant)s AND region = %(region)s
    AND size > %(start)s AND size <= %(start)s::bigint + %(most)s ORDER BY size DESC LIMIT 1)
UNION ALL
(SELECT size, root, note FROM evidence_checkpoints WHERE tenant_id = %(tenant)s AND region = %(region)s
    AND size > %(start)s ORDER BY size LIMIT 1)
LIMIT 1
"""
ENTRIES = """
SELECT number, leaf, payload, salt, CASE WHEN predicate = ANY (%(ends)s) THEN created_at END FROM evidence_records
 WHERE tenant_id = %(tenant)s AND region = %(region)s AND number >= %(start)s AND number < %(size)s ORDER BY number
"""
NOTE_ACCEPTED = f"""
WITH noted AS (
    INSERT INTO evidence_emissions (emission_id, tenant_id, region, start, size, ref, note, accepted_at)
    VALUES (%(id)s, %(tenant)s, %(region)s, %(start)s, %(size)s, %(ref)s, %(note)s, clock_timestamp())
    ON CONFLICT (tenant_id, region, start) DO NOTHING
), before AS (
    SELECT emitted, owed, failing_since FROM evidence_outlets
     WHERE tenant_id = %(tenant)s AND region = %(region)s FOR NO KEY UPDATE
), moved AS (
    INSERT INTO evidence_outlets AS o (outlet_id, tenant_id, region, emitted, owed, tries)
    VALUES (%(id)s, %(tenant)s, %(region)s, %(size)s, 0, 0)
    ON CONFLICT (tenant_id, region) DO UPDATE
       SET emitted = greatest(o.emitted, excluded.emitted), tries = 0, failing_since = NULL, due_at = NULL, error = NULL
), news AS (
    SELECT {UUID7.format(place="0")} AS event_id, %(tenant)s::text AS tenant_id, '{events.RESUMED}' AS event_type,
           %(tenant)s::text AS event_subject,
           jsonb_build_object('region', %(region)s::text, 'emitted', %(size)s::bigint, 'size', %(sealed)s::bigint,
                              'error', NULL) AS event_data
      FROM before WHERE failing_since IS NOT NULL
), told AS ({event_log.APPEND.format(source="news")})
SELECT owed FROM before
"""
NOTE_FAILED = f"""
WITH asked AS (
    SELECT * FROM unnest(%(ids)s::uuid[], %(tenants)s::text[], %(regions)s::text[], %(sizes)s::bigint[])
             WITH ORDINALITY AS a(id, tenant_id, region, size, place)
), before AS (
    SELECT o.tenant_id, o.region, o.emitted, o.failing_since
      FROM evidence_outlets o JOIN asked a USING (tenant_id, region) FOR NO KEY UPDATE OF o
), moved AS (
    INSERT INTO evidence_outlets AS o (outlet_id, tenant_id, region, emitted, owed, tries, failing_since, due_at, error)
    SELECT id, tenant_id, region, 0, 0, 1, clock_timestamp(), clock_timestamp() + %(pause)s * interval '1 s', %(error)s
      FROM asked
    ON CONFLICT (tenant_id, region) DO UPDATE
       SET tries = o.tries + 1, failing_since = coalesce(o.failing_since, excluded.failing_since),
           due_at = excluded.due_at, error = excluded.error
), news AS (
    SELECT {UUID7.format(place="(a.place & 4095)")} AS event_id, a.tenant_id, '{events.FAILING}' AS event_type,
           a.tenant_id AS event_subject,
           jsonb_build_object('region', a.region, 'emitted', coalesce(b.emitted, 0), 'size', a.size,
                              'error', %(error)s::text) AS event_data
      FROM asked a LEFT JOIN before b USING (tenant_id, region) WHERE b.failing_since IS NULL
)
{event_log.APPEND.format(source="news")}
"""
# Nothing is owed of a log that was accepted meanwhile, by whoever leads: its row says so, and is held to the end.
OWED_UPTO = """
UPDATE evidence_outlets o SET owed = greatest(o.owed, %(upto)s)
  FROM (SELECT outlet_id, greatest(owed, emitted) AS told FROM evidence_outlets
         WHERE tenant_id = %(tenant)s AND region = %(region)s AND failing_since IS NOT NULL FOR NO KEY UPDATE) AS before
 WHERE o.outlet_id = before.outlet_id RETURNING before.told
"""


class RecordsMissingError(RuntimeError):
    """Records that were sealed are not there, or not whole: somebody touched the log, and it cannot be emitted."""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How far a log was emitted, and how far it is sealed. `due`: it may be offered now."""

    log: Log
    emitted: int
    owed: int
    tries: int
    due: bool
    size: int


class Offer(NamedTuple):
    """Records to be offered: numbers from `start` up to `size`, under the checkpoint that signs them."""

    log: Log
    start: int
    size: int
    root: bytes
    note: str
    entries: Sequence[Entry]
    ended_at: Sequence[datetime]


def behind() -> list[Log]:
    """Return every log that is sealed further than it was emitted, in the current context."""
    with preparing() as cursor:
        cursor.execute(BEHIND)
        return [Log(*row) for row in cursor.fetchall()]


def newest() -> UUID | None:
    """Return the id of the newest checkpoint of any log; ids grow."""
    with preparing() as cursor:
        cursor.execute(NEWEST)
        row = cursor.fetchone()
    return row[0] if row else None


def grown_since(checkpoint_id: UUID) -> list[Log]:
    """Return the logs that were sealed after that checkpoint."""
    with preparing() as cursor:
        cursor.execute(GROWN, [checkpoint_id])
        return [Log(*row) for row in cursor.fetchall()]


def standing(logs: Sequence[Log]) -> list[Standing]:
    """Return how each of the logs stands."""
    with preparing() as cursor:
        cursor.execute(STANDING, {"tenants": [log.tenant_id for log in logs], "regions": [log.region for log in logs]})
        return [
            Standing(log=Log(tenant, region), emitted=emitted, owed=owed, tries=tries, due=due, size=size)
            for tenant, region, emitted, owed, tries, due, size in cursor.fetchall()
        ]


def offer(log: Log, *, start: int) -> Offer:
    """Return what follows record `start` of a log, up to a checkpoint; raise `RecordsMissingError`."""
    values = {"tenant": log.tenant_id, "region": log.region, "start": start, "most": MOST_RECORDS}
    with preparing() as cursor:
        cursor.execute(UPTO, values)
        found = cursor.fetchone()
        if found is None:
            raise RecordsMissingError(f"no checkpoint was signed beyond {start}")
        size, root, note = found
        ends = [Predicate.OUTCOME, Predicate.REFUSAL]
        cursor.execute(ENTRIES, {**values, "size": size, "ends": ends}, binary=True)
        rows = cursor.fetchall()
    entries = [
        Entry(number=number, leaf=bytes(leaf), payload=_bytes(payload), salt=_bytes(salt))
        for number, leaf, payload, salt, _ in rows
    ]
    if [each.number for each in entries] != list(range(start, size)):
        raise RecordsMissingError(f"of the records {start} to {size - 1} some are not there")
    ended = [at for *_, at in rows if at is not None]
    return Offer(log=log, start=start, size=size, root=bytes(root), note=note, entries=entries, ended_at=ended)


def note_accepted(log: Log, *, start: int, size: int, ref: str, note: str | None, sealed: int) -> int:
    """Note that the sink accepted a log's records from `start` up to `size`; return up to where jobs were told as owed.

    `note` is the cosigned checkpoint at `size`, `sealed` the log's size now. Idempotent, and never goes back.
    """
    values = {
        "id": uuid7(),
        "tenant": log.tenant_id,
        "region": log.region,
        "start": start,
        "size": size,
        "ref": ref,
        "note": note,
        "sealed": sealed,
    }
    with preparing() as cursor:
        cursor.execute(NOTE_ACCEPTED, values)
        row = cursor.fetchone()
    return int(row[0]) if row else 0


def note_failed(standings: Sequence[Standing], *, error: str, pause_s: float) -> None:
    """Note that logs' records were not accepted, and when they are offered again; the first time tells an event."""
    values = {
        "ids": [uuid7() for _ in standings],
        "tenants": [each.log.tenant_id for each in standings],
        "regions": [each.log.region for each in standings],
        "sizes": [each.size for each in standings],
        "error": error[:200],
        "pause": pause_s,
    }
    with preparing() as cursor:
        cursor.execute(NOTE_FAILED, values)


def note_owed(log: Log, *, upto: int) -> int | None:
    """Note that the jobs of a log's records below `upto` are told that their evidence is owed; return from where on.

    None for a log that does not fail any more. To be called in the transaction that tells them.
    """
    with preparing() as cursor:
        cursor.execute(OWED_UPTO, {"tenant": log.tenant_id, "region": log.region, "upto": upto})
        row = cursor.fetchone()
    return row[0] if row else None


def _bytes(value: bytes | memoryview | None) -> bytes | None:
    return None if value is None else bytes(value)

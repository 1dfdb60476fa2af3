"""Series of refusals: who is the first of one, who is counted into which, and the record that counts them.

Whoever is refused joins the open series of its kind, and only holds it open until it commits: such locks are shared, so
that refusals alike wait for each other where a series begins and nowhere else, and unlike ones never. Nobody counts as
they come: a row each is all there is to count. The series is counted once, when its time is over and nobody holds it
open any more, so that no count can be lost.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
from django.db import IntegrityError, transaction

from apps.core.database import preparing
from apps.evidence import operations
from apps.evidence.logs import Log
from apps.evidence.series import Entry, counting

WINDOW_S = 60
MOST = 10_000  # in one series, or somewhat more
LOOK_EACH = 100  # refusals, as the dice fall: to see whether a series is full takes as long as it is
ROUNDS = 5

ASKED = """asked AS (
    SELECT * FROM jsonb_to_recordset(%(asked)s) AS a(
        place int, subject_id text, region text, alike text, digest text, record_id uuid)
)"""
FULL = f"""(%(looks)s::boolean AND (SELECT count(*) FROM (SELECT 1 FROM evidence_series_members m
              WHERE m.record_id = s.record_id LIMIT {MOST - 1}) AS n) = {MOST - 1})"""
JOIN = f"""
WITH {ASKED}, found AS (
    SELECT s.record_id, s.alike FROM evidence_series s
     WHERE s.tenant_id = %(tenant)s AND s.alike = ANY (%(alikes)s) AND s.joinable
       AND s.closes_at > clock_timestamp() AND NOT {FULL}
       FOR KEY SHARE OF s
)
INSERT INTO evidence_series_members (subject_id, tenant_id, record_id, digest, joined_at)
SELECT a.subject_id, %(tenant)s, f.record_id, a.digest, clock_timestamp() FROM asked a JOIN found f USING (alike)
RETURNING subject_id, record_id
"""
# In the order of their likeness here and below: of two batches that begin the same series, one waits, and not both.
LEAVE = f"""
WITH over AS (
    SELECT s.record_id FROM evidence_series s
     WHERE s.tenant_id = %(tenant)s AND s.alike = ANY (%(alikes)s) AND s.joinable
       AND (s.closes_at <= clock_timestamp() OR {FULL})
     ORDER BY s.alike FOR NO KEY UPDATE OF s
)
UPDATE evidence_series s SET joinable = false, closes_at = least(s.closes_at, clock_timestamp())
  FROM over WHERE s.record_id = over.record_id
"""
BEGIN = f"""
WITH {ASKED}, firsts AS (
    SELECT DISTINCT ON (alike) * FROM asked ORDER BY alike, place
), begun AS (
    INSERT INTO evidence_series (record_id, tenant_id, region, subject_id, alike, digest, joinable, opened_at,
           closes_at)
    SELECT record_id, %(tenant)s, region, subject_id, alike, digest, true, at, at + %(window)s * interval '1 s'
      FROM (SELECT *, clock_timestamp() AS at FROM firsts ORDER BY alike) AS timed
    ON CONFLICT (tenant_id, alike) WHERE joinable DO NOTHING
    RETURNING record_id, subject_id, alike
), joined AS (
    INSERT INTO evidence_series_members (subject_id, tenant_id, record_id, digest, joined_at)
    SELECT a.subject_id, %(tenant)s, b.record_id, a.digest, clock_timestamp()
      FROM asked a JOIN begun b USING (alike) WHERE a.subject_id <> b.subject_id
)
SELECT a.subject_id, b.record_id FROM asked a JOIN begun b USING (alike)
"""

IS_DUE = "SELECT 1 FROM evidence_series WHERE closed_at IS NULL AND closes_at <= clock_timestamp() LIMIT 1"
# What somebody still holds open is passed over: it is counted at the next look.
DUE = """
SELECT record_id, tenant_id, region, subject_id, digest, opened_at FROM evidence_series
 WHERE closed_at IS NULL AND closes_at <= clock_timestamp() AND NOT (record_id = ANY (%(held)s::uuid[]))
 ORDER BY closes_at LIMIT 1 FOR UPDATE SKIP LOCKED
"""
MEMBERS = """
SELECT subject_id, digest, joined_at FROM evidence_series_members WHERE record_id = %s ORDER BY joined_at, subject_id
"""
LEAF = "SELECT leaf FROM evidence_records WHERE record_id = %s"
COUNTED = operations.APPEND.format(
    source="jsonb_to_recordset(%(rows)s) AS t(tenant_id text, region text, fence bigint, " + operations.COLUMNS + ")"
)
CLOSED = """
UPDATE evidence_series SET joinable = false, closed_at = clock_timestamp(), count = %(count)s, counted_by_id = %(by)s
 WHERE record_id = %(record)s
"""


class SeriesBlockedError(RuntimeError):
    """A record stands where the one that counts a series belongs: somebody else put it there."""

    def __init__(self, record_id: UUID, *, cause: str) -> None:
        super().__init__(cause)
        self.record_id = record_id


@dataclass(frozen=True, kw_only=True)
class Refused:
    """A refusal to be placed; `record_id` is what its own record is going to be, if it gets one."""

    subject_id: str
    region: str
    alike: str
    digest: str
    record_id: UUID


@dataclass(frozen=True, kw_only=True)
class Closed:
    """A series that was counted: its first refusal and how many there were. A series of one needs no record."""

    log: Log
    subject_id: str
    count: int


def place(refused: Sequence[Refused], *, tenant_id: str) -> dict[str, UUID]:
    """Return which record stands for each of a tenant's refusals: another's for those that joined a series.

    Call it in the transaction that writes them: a series is held open until that ends. Who finds no place in some
    rounds (others begin and fill series as fast) keeps its own record.
    """
    standing: dict[str, UUID] = {}
    looks = random.random() * LOOK_EACH < len(refused)  # noqa: S311 - no secret
    for _ in range(ROUNDS):
        for statement in (JOIN, LEAVE, BEGIN):
            left = [each for each in refused if each.subject_id not in standing]
            if not left:
                return standing
            standing |= _asked(statement, left, tenant_id=tenant_id, looks=looks)
    return standing | {each.subject_id: each.record_id for each in refused if each.subject_id not in standing}


def _asked(statement: str, refused: Sequence[Refused], *, tenant_id: str, looks: bool) -> dict[str, UUID]:
    rows = [
        {
            "place": place,
            "subject_id": each.subject_id,
            "region": each.region,
            "alike": each.alike,
            "digest": each.digest,
            "record_id": str(each.record_id),
        }
        for place, each in enumerate(refused)
    ]
    values: Mapping[str, Any] = {
        "asked": orjson.dumps(rows).decode(),
        "tenant": tenant_id,
        "alikes": sorted({each.alike for each in refused}),
        "window": WINDOW_S,
        "looks": looks,
    }
    with preparing() as cursor:
        cursor.execute(statement, {name: value for name, value in values.items() if f"%({name})s" in statement})
        return dict(cursor.fetchall()) if cursor.description else {}


def due() -> bool:
    """Return whether a series waits to be counted, in the current context; one look into a small index."""
    with preparing() as cursor:
        cursor.execute(IS_DUE)
        return cursor.fetchone() is not None


def close(*, held: Collection[UUID] = ()) -> Closed | None:
    """Count the series that is due the longest, but for those of `held`; return it, or None where none is due.

    In the control role; all of it or nothing, and by one of those that try at once. Raises `SeriesBlockedError`.
    """
    record_id: UUID | None = None
    try:
        with transaction.atomic(), preparing() as cursor:
            cursor.execute(DUE, {"held": list(held)})
            found = cursor.fetchone()
            if found is None:
                return None
            record_id, tenant_id, region, subject_id, digest, opened_at = found
            log = Log(tenant_id, region)
            cursor.execute(MEMBERS, [record_id])
            entries = [Entry(subject_id, digest, opened_at), *(Entry(*row) for row in cursor.fetchall())]
            by = None
            if len(entries) > 1:
                cursor.execute(LEAF, [record_id])
                leaf = cursor.fetchone()
                said = counting(log, entries=entries, refusal=bytes(leaf[0]) if leaf else None)
                row = operations.row(said, subject_id=subject_id)
                row |= {"tenant_id": tenant_id, "region": region, "fence": 0}
                cursor.execute(COUNTED, {"rows": orjson.dumps([row]).decode()})
                by = said.record_id
            cursor.execute(CLOSED, {"count": len(entries), "by": by, "record": record_id})
    except IntegrityError as error:
        if record_id is None:
            raise
        raise SeriesBlockedError(record_id, cause=str(error).strip().splitlines()[0]) from error
    return Closed(log=log, subject_id=subject_id, count=len(entries))

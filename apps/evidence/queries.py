"""Every read of the evidence log that others may use."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from apps.core.database import preparing
from apps.evidence.logs import Log
from apps.evidence.merkle import leaf_of
from apps.evidence.models import Record, SeriesMember

OVERDUE = """
SELECT tenant_id, region, count(*)::int, min(created_at) FROM evidence_records
 WHERE number IS NULL AND created_at < clock_timestamp() - make_interval(secs => %(older_than_s)s)
 GROUP BY tenant_id, region ORDER BY tenant_id, region
"""

# A record was emitted with the last batch that begins before it, if that reaches as far.
STATES = """
SELECT r.record_id, e.ref FROM evidence_records r LEFT JOIN LATERAL (
    SELECT ref, size FROM evidence_emissions e
     WHERE e.tenant_id = r.tenant_id AND e.region = r.region AND e.start <= r.number ORDER BY start DESC LIMIT 1) AS e
    ON e.size > r.number
 WHERE r.record_id = ANY (%s)
"""
DEBTS = """
SELECT o.tenant_id, o.region, head.size - o.emitted, o.failing_since, o.error FROM evidence_outlets o
 CROSS JOIN LATERAL (SELECT size FROM evidence_checkpoints c WHERE c.tenant_id = o.tenant_id AND c.region = o.region
                      ORDER BY size DESC LIMIT 1) AS head
 WHERE o.failing_since IS NOT NULL ORDER BY 3 DESC
"""

# A tenant's audit debt as part of another question, `{tenant}` being its id: the records that were offered and not
# accepted, and those behind them. None while the sink accepts, however much is still on its way.
DEBT = """
coalesce((SELECT sum(head.size - o.emitted) FROM evidence_outlets o
  CROSS JOIN LATERAL (SELECT size FROM evidence_checkpoints c WHERE c.tenant_id = o.tenant_id AND c.region = o.region
                       ORDER BY size DESC LIMIT 1) AS head
  WHERE o.tenant_id = {tenant} AND o.failing_since IS NOT NULL), 0)::bigint
"""

# Whether the record that a job names as its evidence, `{job}.evidence_id`, is neither its own nor stands for it: as a
# refusal of the same params in a series which, once it is closed, has the record that counts it.
UNPROVEN = """
NOT EXISTS (SELECT 1 FROM evidence_records r WHERE r.record_id = {job}.evidence_id AND r.kind = 'job'
               AND r.subject_id = {job}.job_id::text)
AND NOT ({job}.outcome = 'rejected' AND {job}.fence = 0 AND EXISTS (
  SELECT 1 FROM evidence_series_members m JOIN evidence_series s USING (record_id)
    JOIN evidence_records r USING (record_id)
   WHERE m.subject_id = {job}.job_id::text AND m.record_id = {job}.evidence_id AND m.digest = {job}.params_digest
     AND s.tenant_id = {job}.tenant_id AND r.tenant_id = {job}.tenant_id AND r.predicate = 'refusal'
     AND r.subject_id = s.subject_id
     AND (s.closed_at IS NULL OR EXISTS (SELECT 1 FROM evidence_records c
           WHERE c.record_id = s.counted_by_id AND c.predicate = 'series' AND c.subject_id = s.subject_id))))
"""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What looking at one record found; `number` is its place in the log, None while it waits for its seal."""

    record_id: UUID
    subject_id: str
    predicate: str
    intact: bool
    finding: str
    number: int | None
    created_at: datetime


def states_of(record_ids: Collection[UUID]) -> dict[UUID, tuple[str, str | None]]:
    """Return (state, ref) of each record that exists in the current tenant context.

    `pending` until the sink accepted it, then `emitted`; `ref` is the sink's name for the batch that brought it.
    """
    with preparing() as cursor:
        cursor.execute(STATES, [list(record_ids)])
        return {record_id: ("pending" if ref is None else "emitted", ref) for record_id, ref in cursor.fetchall()}


def debts() -> list[tuple[Log, int, datetime, str]]:
    """Return the logs that the sink does not accept now: records owed, since when, and what it said; the most first."""
    with preparing() as cursor:
        cursor.execute(DEBTS)
        rows = cursor.fetchall()
    return [(Log(tenant_id, region), owed, since, error) for tenant_id, region, owed, since, error in rows]


def leaf_of_record(record_id: UUID) -> str | None:
    """Return the leaf of a record as `sha256:<hex>`, in the current context; None where there is no such record."""
    leaf = Record.objects.filter(record_id=record_id).values_list("leaf", flat=True).first()
    return None if leaf is None else f"sha256:{bytes(leaf).hex()}"


def unsealed() -> bool:
    """Return whether a committed record waits for its seal, in the current context; one look into a small index."""
    with preparing() as cursor:
        cursor.execute("SELECT 1 FROM evidence_records WHERE number IS NULL LIMIT 1")
        return cursor.fetchone() is not None


def examine(*, subject_id: str) -> list[Verdict]:
    """Recompute every leaf of a subject's records, oldest first, and say of each whether its bytes still match.

    Of a refusal that was counted into a series: of the records that stand for it, which are of the first of it.
    """
    records = Record.objects.filter(kind="job", subject_id=subject_id).order_by("created_at")
    found = [_verdict(record) for record in records]
    member = None if found else SeriesMember.objects.filter(subject_id=subject_id).select_related("record").first()
    return examine(subject_id=member.record.subject_id) if member else found


def overdue(*, older_than_s: float) -> list[tuple[Log, int, datetime]]:
    """Return the logs whose records wait for their seal for longer, how many do, and since when."""
    with preparing() as cursor:
        cursor.execute(OVERDUE, {"older_than_s": older_than_s})
        return [(Log(tenant_id, region), count, since) for tenant_id, region, count, since in cursor.fetchall()]


def _verdict(record: Record) -> Verdict:
    if record.payload is None or record.salt is None:
        return Verdict(
            record_id=record.record_id,
            subject_id=record.subject_id,
            predicate=record.predicate,
            intact=True,
            finding="the bytes were erased; verifying the log tells whether a tombstone explains it",
            number=record.number,
            created_at=record.created_at,
        )
    intact = leaf_of(payload=bytes(record.payload), salt=bytes(record.salt)) == bytes(record.leaf)
    return Verdict(
        record_id=record.record_id,
        subject_id=record.subject_id,
        predicate=record.predicate,
        intact=intact,
        finding="the bytes match their leaf" if intact else "the bytes were changed after they were written",
        number=record.number,
        created_at=record.created_at,
    )

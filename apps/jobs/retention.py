"""Evidence of jobs that is past its retention, by the obligations that their decisions laid on them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from uuid import UUID

from apps.core.database import rows
from apps.evidence.logs import Log
from apps.evidence.operations.erase import Erased, erase
from apps.evidence.operations.holds import COVERED
from apps.evidence.ring import KeyRing

# A job's records go together, once it is over and all of them are sealed. Without an obligation nothing is ever due.
# A refusal's record that stands for others goes when the last of them may go, and not before they were counted.
DUE = f"""
SELECT r.tenant_id, r.region, (j.obligations ->> 'retention_days')::int, r.record_id
  FROM jobs j JOIN evidence_records r ON r.kind = 'job' AND r.subject_id = j.job_id::text
 WHERE j.outcome IS NOT NULL AND jsonb_typeof(j.obligations -> 'retention_days') = 'number'
   AND j.finished_at < clock_timestamp() - make_interval(days => (j.obligations ->> 'retention_days')::int)
   AND r.payload IS NOT NULL
   AND NOT EXISTS (SELECT 1 FROM evidence_records u
                    WHERE u.kind = 'job' AND u.subject_id = r.subject_id AND u.number IS NULL)
   AND NOT EXISTS (SELECT 1 FROM evidence_series s
                    WHERE s.tenant_id = j.tenant_id AND s.subject_id = r.subject_id AND s.closed_at IS NULL)
   AND NOT EXISTS (SELECT 1 FROM evidence_series s JOIN evidence_series_members m USING (record_id)
                     LEFT JOIN jobs o ON o.job_id = m.subject_id::uuid
                    WHERE s.tenant_id = j.tenant_id AND s.subject_id = r.subject_id AND CASE
                      WHEN jsonb_typeof(o.obligations -> 'retention_days') = 'number' THEN o.finished_at
                        >= clock_timestamp() - make_interval(days => (o.obligations ->> 'retention_days')::int)
                      ELSE true END)
   AND NOT {COVERED.format(tenant="j.tenant_id", subject="r.subject_id")}
 ORDER BY j.finished_at, r.record_id LIMIT %(limit)s
"""


def past_retention(*, limit: int) -> dict[tuple[Log, int], list[UUID]]:
    """Return the records that are due to be erased, at most `limit`, by log and retention in days; across tenants."""
    found: dict[tuple[Log, int], list[UUID]] = {}
    for tenant_id, region, days, record_id in rows(DUE, {"limit": limit}):
        found.setdefault((Log(tenant_id, region), days), []).append(record_id)
    return found


def erase_past_retention(*, actor: str, ring: KeyRing, limit: int, within_s: float) -> Iterator[Erased]:
    """Erase what is due, `limit` records a transaction; yield what was erased, and under which tombstone.

    Goes on until nothing is due, or `within_s` are over: the rest is due the next time just so.
    """
    until = time.monotonic() + within_s
    while due := past_retention(limit=limit):
        erased = erase(due, actor=actor, ring=ring)
        yield from erased
        if not erased or sum(map(len, due.values())) < limit or time.monotonic() >= until:
            return

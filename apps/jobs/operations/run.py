"""Running: a worker claims a dispatch under its fence and tells the plane how it goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from apps.core.database import loaded, preparing


@dataclass(frozen=True, kw_only=True)
class Claimed:
    """A dispatch that this worker owns now. `claimed_at` is the database's time; `storage_url` the tenant's own.

    `timeout_s` is what the attempt may take: the job's own time-out, or what its deadline leaves of it.
    """

    job_id: UUID
    fence: int
    tenant_id: str
    type: str
    attempt: int
    max_attempts: int
    params: Mapping[str, Any]
    params_digest: str
    contract: str | None
    contract_digest: str | None
    contract_document: Mapping[str, Any] | None
    timeout_s: float
    storage_url: str
    environment: str
    region: str
    claimed_at: datetime
    retry: Mapping[str, Any] | None = None
    deadline_at: datetime | None = None
    heartbeat_s: float | None = None
    bundle_id: UUID | None = None
    bundle_size: int = 1


CLAIM = """
WITH asked AS (
    SELECT * FROM unnest(%(jobs)s::uuid[], %(fences)s::bigint[]) WITH ORDINALITY AS asked(job, number, place)
), claimed AS (
    UPDATE jobs SET status = 'running', attempt = attempt + 1, worker_id = %(worker)s, worker_pid = %(pid)s,
           started_at = clock_timestamp(), heard_at = clock_timestamp(), start_by = NULL, unclaimed = 0,
           progress = NULL, error = NULL, reason_code = NULL
      FROM asked
     WHERE job_id = asked.job AND fence = asked.number AND bundle_id = %(bundle)s
       AND status = 'dispatched' AND cancel_requested_at IS NULL
       AND (start_by IS NULL OR start_by > clock_timestamp())
       AND (deadline_at IS NULL OR deadline_at > clock_timestamp())
       AND EXISTS (SELECT 1 FROM processes WHERE process_id = %(worker)s AND state = 'live'
                      AND lease_until > clock_timestamp())
    RETURNING jobs.*, asked.place
)
SELECT c.job_id, c.fence, c.tenant_id, c.type, c.attempt, c.max_attempts, c.params, c.params_digest, c.contract,
       c.contract_digest, k.document,
       least(c.timeout_s, extract(epoch FROM c.deadline_at - c.started_at)::float8), t.storage_url, c.environment_id,
       c.region, c.started_at, c.retry, c.deadline_at, c.heartbeat_s,
       c.bundle_id, c.bundle_size, set_config('synchronous_commit', 'off', true)
  FROM claimed c JOIN tenants t USING (tenant_id)
  LEFT JOIN contracts k ON k.name || '@' || k.version = c.contract AND k.digest = c.contract_digest
 ORDER BY c.place
"""


def claim(*, bundle_id: UUID, dispatches: Sequence[tuple[UUID, int]], worker_id: UUID, pid: int) -> Sequence[Claimed]:
    """Claim for this worker what is still on offer of a bundle, if the worker's lease lives; in the bundle's order.

    Nothing is the fate of every doubled, stale or replayed message: its fences are past, or somebody claimed them.
    """
    values = {
        "bundle": bundle_id,
        "jobs": [job_id for job_id, _ in dispatches],
        "fences": [fence for _, fence in dispatches],
        "worker": worker_id,
        "pid": pid,
    }
    with preparing() as cursor:
        cursor.execute(CLAIM, values)
        return [_claimed(row) for row in cursor.fetchall()]


def _claimed(row: Sequence[Any]) -> Claimed:
    """Return a row of `CLAIM` as a value."""
    return Claimed(
        job_id=row[0],
        fence=row[1],
        tenant_id=row[2],
        type=row[3],
        attempt=row[4],
        max_attempts=row[5],
        params=loaded(row[6]),
        params_digest=row[7],
        contract=row[8],
        contract_digest=row[9],
        contract_document=loaded(row[10]),
        timeout_s=row[11],
        storage_url=row[12],
        environment=row[13],
        region=row[14],
        claimed_at=row[15],
        retry=loaded(row[16]),
        deadline_at=row[17],
        heartbeat_s=row[18],
        bundle_id=row[19],
        bundle_size=row[20],
    )


REPORT = """
WITH live AS (
    UPDATE jobs SET progress = coalesce(%(progress)s::jsonb, progress),
           heard_at = greatest(heard_at, clock_timestamp() - make_interval(secs => %(silent_s)s))
     WHERE job_id = %(job)s AND fence = %(fence)s AND bundle_id = %(bundle)s AND status = 'running'
    RETURNING tenant_id, job_id, fence, cancel_requested_at
), logged AS (
    INSERT INTO log_chunks (tenant_id, job_id, fence, first_line, lines, written_at)
    SELECT tenant_id, job_id, fence, %(first_line)s, %(lines)s::jsonb, clock_timestamp()
      FROM live WHERE %(lines)s::jsonb IS NOT NULL
    ON CONFLICT DO NOTHING
)
SELECT cancel_requested_at IS NOT NULL FROM live
"""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Where a running attempt stands with the plane: `fenced` if it holds the job no more, `cancel` if told to stop."""

    fenced: bool
    cancel: bool


def report(
    *,
    job_id: UUID,
    fence: int,
    bundle_id: UUID | None,
    progress: Mapping[str, Any] | None,
    first_line: int,
    lines: Sequence[Sequence[Any]],
    silent_s: float = 0.0,
) -> Standing:
    """Keep an attempt's newest progress and its next log lines (from `first_line`); return where it stands.

    `silent_s`: seconds since the handler's last word of any kind.
    """
    with preparing() as cursor:
        cursor.execute(
            REPORT,
            {
                "job": job_id,
                "fence": fence,
                "bundle": bundle_id,
                "progress": orjson.dumps(progress).decode() if progress is not None else None,
                "first_line": first_line,
                "silent_s": silent_s,
                "lines": orjson.dumps(list(lines)).decode() if lines else None,
            },
        )
        row = cursor.fetchone()
    return Standing(fenced=row is None, cancel=bool(row and row[0]))

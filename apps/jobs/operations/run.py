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
    """A dispatch that this worker owns now. `claimed_at` is the database's time; `storage_url` the tenant's own."""

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
    timeout_s: int
    storage_url: str
    environment: str
    region: str
    claimed_at: datetime


# Not waited for on disk: the end is, and takes the claim with it. `dispatch.DISPATCH` tells what a lost one means.
CLAIM = """
WITH claimed AS (
    UPDATE jobs SET status = 'running', attempt = attempt + 1, worker_id = %(worker)s, worker_pid = %(pid)s,
           started_at = clock_timestamp(), unclaimed = 0, progress = NULL, error = NULL,
           reason_code = NULL
     WHERE job_id = %(job)s AND fence = %(fence)s AND status = 'dispatched' AND cancel_requested_at IS NULL
       AND EXISTS (SELECT 1 FROM processes WHERE process_id = %(worker)s AND state = 'live'
                      AND lease_until > clock_timestamp())
    RETURNING *
)
SELECT c.job_id, c.fence, c.tenant_id, c.type, c.attempt, c.max_attempts, c.params, c.params_digest, c.contract,
       c.contract_digest, k.document, c.timeout_s, t.storage_url, c.environment_id, c.region, c.started_at,
       set_config('synchronous_commit', 'off', true)
  FROM claimed c JOIN tenants t USING (tenant_id)
  LEFT JOIN contracts k ON k.name || '@' || k.version = c.contract AND k.digest = c.contract_digest
"""


def claim(*, job_id: UUID, fence: int, worker_id: UUID, pid: int) -> Claimed | None:
    """Claim the dispatch for this worker, if it is still on offer and the worker's lease lives; else None.

    None is the fate of every doubled, stale or replayed message: its fence is past, or somebody claimed it.
    """
    with preparing() as cursor:
        cursor.execute(CLAIM, {"job": job_id, "fence": fence, "worker": worker_id, "pid": pid})
        row = cursor.fetchone()
    if row is None:
        return None
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
    )


REPORT = """
WITH live AS (
    UPDATE jobs SET progress = coalesce(%(progress)s::jsonb, progress)
     WHERE job_id = %(job)s AND fence = %(fence)s AND status = 'running' AND started_at = %(claimed_at)s
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
    claimed_at: datetime,
    progress: Mapping[str, Any] | None,
    first_line: int,
    lines: Sequence[Sequence[Any]],
) -> Standing:
    """Keep an attempt's newest progress and its next log lines (from `first_line`); return where it stands."""
    with preparing() as cursor:
        cursor.execute(
            REPORT,
            {
                "job": job_id,
                "fence": fence,
                "claimed_at": claimed_at,
                "progress": orjson.dumps(progress).decode() if progress is not None else None,
                "first_line": first_line,
                "lines": orjson.dumps(list(lines)).decode() if lines else None,
            },
        )
        row = cursor.fetchone()
    return Standing(fenced=row is None, cancel=bool(row and row[0]))

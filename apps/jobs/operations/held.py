"""A job as whoever ends it knows it: what the end is judged from, what its evidence states, and how it is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from apps.core.database import loaded
from apps.jobs.lifecycle import State


@dataclass(frozen=True, kw_only=True)
class Held:
    """An unfinished job under its fence. `retry` is its own policy, whole, or None for its type's.

    `bundle_id` tells this dispatch from one that PostgreSQL forgot and gave the same fence; `bundle_size` is how many
    jobs were sent to a worker with it.
    """

    job_id: UUID
    fence: int
    tenant_id: str
    type: str
    status: State
    attempt: int
    max_attempts: int
    params_digest: str
    contract: str | None
    contract_digest: str | None
    environment: str
    region: str
    started_at: datetime | None
    unclaimed: int = 0
    retry: Mapping[str, Any] | None = None
    deadline_at: datetime | None = None
    cancelling: bool = False
    bundle_id: UUID | None = None
    bundle_size: int = 1


HELD = """
SELECT j.job_id, j.fence, j.tenant_id, j.type, j.status, j.attempt, j.max_attempts, j.params_digest, j.contract,
       j.contract_digest, j.environment_id, j.region, j.started_at, j.unclaimed, clock_timestamp(), j.retry,
       j.deadline_at, j.cancel_requested_at IS NOT NULL, j.bundle_id, j.bundle_size
  FROM jobs j
"""


def held(row: Sequence[Any]) -> tuple[Held, datetime]:
    """Return the row of `HELD` as a value, and the database's time."""
    return Held(
        job_id=row[0],
        fence=row[1],
        tenant_id=row[2],
        type=row[3],
        status=State(row[4]),
        attempt=0 if row[4] == State.DISPATCHED else row[5],
        max_attempts=row[6],
        params_digest=row[7],
        contract=row[8],
        contract_digest=row[9],
        environment=row[10],
        region=row[11],
        started_at=row[12],
        unclaimed=row[13],
        retry=loaded(row[15]),
        deadline_at=row[16],
        cancelling=row[17],
        bundle_id=row[18],
        bundle_size=row[19],
    ), row[14]

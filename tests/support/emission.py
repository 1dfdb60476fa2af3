"""What emission left in the database, as tests read it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from tests.integration.conftest import Look
from tests.support.work import only


def job(look: Look, job_id: str) -> dict[str, Any]:
    return dict(only(look("SELECT * FROM jobs WHERE job_id = %s", UUID(job_id))))


def told(look: Look, job_id: str) -> list[str]:
    rows = look("SELECT type FROM events WHERE subject = %s ORDER BY occurred_at, event_id", job_id)
    return [row["type"].removeprefix("operations.job.") for row in rows]


def emissions(look: Look, tenant: str = "acme") -> list[tuple[int, int]]:
    rows = look("SELECT start, size FROM evidence_emissions WHERE tenant_id = %s ORDER BY start", tenant)
    return [(row["start"], row["size"]) for row in rows]


def outlet(look: Look, tenant: str = "acme") -> dict[str, Any]:
    return dict(only(look("SELECT * FROM evidence_outlets WHERE tenant_id = %s", tenant)))

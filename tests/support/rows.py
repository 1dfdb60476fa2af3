"""What tests read of a job, past every wall."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from tests.integration.conftest import Look
from tests.support.work import only


def job(look: Look, job_id: UUID) -> dict[str, Any]:
    return dict(only(look("SELECT * FROM jobs WHERE job_id = %s", job_id)))


def attempts(look: Look) -> list[dict[str, Any]]:
    return look("SELECT * FROM attempts ORDER BY fence")


def told(look: Look, job_id: UUID) -> list[str]:
    rows = look("SELECT type FROM events WHERE subject = %s ORDER BY occurred_at", str(job_id))
    return [row["type"].removeprefix("operations.job.") for row in rows]


def outcome_of(look: Look, job_id: UUID) -> dict[str, Any]:
    """Return the predicate of the one outcome record, which the job's row must point to."""
    row = only(look("SELECT * FROM evidence_records WHERE subject_id = %s AND predicate = 'outcome'", str(job_id)))
    assert row["record_id"] == job(look, job_id)["evidence_id"]
    return dict(json.loads(bytes(row["payload"]))["predicate"])

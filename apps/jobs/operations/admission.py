"""What the decision points' later words do to a job: rejected before its dispatch, stopped while it runs.

And what the loops read for it: the questions of waiting and running jobs, and how long their last answers hold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
from django.db import connection, transaction

from apps.core.authzen import Answer, Question
from apps.core.database import loaded
from apps.jobs.lifecycle import Ending, Move, Priority
from apps.jobs.operations import control, end
from apps.jobs.operations.decisions import DECIDE, decision_rows
from apps.jobs.operations.end import WITHDRAWN, End, Report
from apps.jobs.operations.held import HELD, held

POINTS = ("governance", "subscription")


@dataclass(frozen=True, kw_only=True)
class Standing:
    """A job as the decision points see it: its question, for how long (s) each point's last yes holds, its limits."""

    job_id: UUID
    question: Question
    holds_s: Mapping[str, float]
    limits: Mapping[str, Any]


STANDING = """
SELECT j.job_id, j.submitted_by, j.type, j.contract, j.tenant_id, j.environment_id, j.region, j.priority, d.holds,
       d.limits
  FROM jobs j LEFT JOIN LATERAL (
    SELECT jsonb_object_agg(point, holds_s) AS holds, jsonb_object_agg(point, limits) -> 'subscription' AS limits
      FROM (SELECT DISTINCT ON (point) point, context -> 'limits' AS limits, extract(epoch FROM decided_at
                   + make_interval(secs => coalesce((context ->> 'max_age_s')::int, 0)) - clock_timestamp())
                   * allowed::int * (NOT context ? 'stale')::int AS holds_s
              FROM decisions WHERE decisions.job_id = j.job_id ORDER BY point, decided_at DESC) AS last) d ON true
"""
OF_WAITING = STANDING + " WHERE j.job_id = ANY (%(jobs)s)"
OF_RUNNING = (
    STANDING + " WHERE j.status = 'running' AND j.cancel_requested_at IS NULL ORDER BY j.started_at LIMIT %(limit)s"
)
QUEUED = HELD + " WHERE j.job_id = %(job)s AND j.status = 'queued'"


def standing_of(job_ids: Sequence[UUID]) -> list[Standing]:
    """Return how the waiting jobs stand; for the scheduler."""
    return _standing(OF_WAITING, {"jobs": list(job_ids)}, action="operations.dispatch")


def standing_of_running(*, limit: int) -> list[Standing]:
    """Return how the first `limit` running jobs stand that nobody has asked to stop; for the scheduler."""
    return _standing(OF_RUNNING, {"limit": limit}, action="operations.continue")


def record(answers: Mapping[str, Answer], *, standing: Standing) -> None:
    """Keep what was answered about a job; the same decision twice is one."""
    rows = decision_rows(
        answers, job_id=standing.job_id, tenant_id=standing.question.tenant_id, action=standing.question.action
    )
    with connection.cursor() as cursor:
        cursor.execute(DECIDE + " ON CONFLICT DO NOTHING", [orjson.dumps(rows).decode()])


def reject(standing: Standing, *, point: str, answer: Answer) -> bool:
    """End a queued job as `rejected`, with its decision, evidence and event; return whether it was still queued."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(QUEUED, {"job": standing.job_id})
        row = cursor.fetchone()
        if row is None:
            return False
        found, now = held(row)
        error = {
            "class": "Refused",
            "code": answer.reason_code,
            "message": answer.reason,
            "refused_by": point,
            "decision": answer.proof(),
        }
        report = Report(error=error, reason_code=answer.reason_code)
        # The ending is that of a fence; this job holds none, and what is kept is the move.
        over = End(
            held=found,
            ending=Ending.EXPIRED,
            move=Move.REJECT,
            at=now,
            due_at=None,
            report=report,
            noticed_by="scheduler",
        )
        record({point: answer}, standing=standing)
        return bool(end.write([over]))


def withdraw(standing: Standing, *, point: str, answer: Answer) -> None:
    """Ask a running job to stop because `point` says no by now; it ends `cancelled`, `entitlement_withdrawn`."""
    why = f"{WITHDRAWN}: {answer.reason_code}: {answer.reason}"[:200]
    with transaction.atomic():
        record({point: answer}, standing=standing)
        try:
            control.cancel(job_id=standing.job_id, by=point, why=why)
        except control.ControlRefusedError:
            return  # it ended by itself meanwhile; the decision is kept all the same


def _standing(query: str, values: Mapping[str, Any], *, action: str) -> list[Standing]:
    with connection.cursor() as cursor:
        cursor.execute(query, values)
        rows = cursor.fetchall()
    return [
        Standing(
            job_id=row[0],
            question=Question(
                subject=row[1],
                action=action,
                job_type=row[2],
                contract=row[3],
                tenant_id=row[4],
                environment=row[5],
                region=row[6],
                priority=Priority(row[7]).word,
            ),
            holds_s={point: float(value) for point, value in (loaded(row[8]) or {}).items()},
            limits=loaded(row[9]) or {},
        )
        for row in rows
    ]

"""The ends that decide other jobs: dependents are released or cancelled, a plan's parent moves on, its steps stop.

An end is news while its row is `watched` and has an outcome: an index of just those, so that a look costs by the ends
that are new and not by the jobs that wait. One transaction tells all of an end and takes the mark away: killed in the
middle nothing was told, and the next look tells it. A second teller finds the rows locked, or told.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import orjson
from django.db import connection, transaction

from apps.core.database import preparing
from apps.jobs.dependencies import Rule, Settled, Verdict, judge, settle
from apps.jobs.lifecycle import Ending
from apps.jobs.operations import end, family
from apps.jobs.operations.end import End, Report
from apps.jobs.operations.held import HELD, held
from apps.jobs.retry import Retry


class News(NamedTuple):
    """A job that is over, and that others have to hear of."""

    job_id: UUID
    outcome: str
    reason_code: str | None
    parent_id: UUID | None
    is_plan: bool


NEWS = """
SELECT job_id, outcome, reason_code, parent_id, plan IS NOT NULL FROM jobs
 WHERE watched AND outcome IS NOT NULL ORDER BY job_id LIMIT %s FOR NO KEY UPDATE SKIP LOCKED
"""
TOLD = "UPDATE jobs SET watched = false WHERE job_id = ANY (%s)"

# The first end settles an edge: an upstream that is tried again by hand later changes nothing for its dependents.
SETTLE = """
UPDATE job_dependencies d SET settled = coalesce(d.settled, n.settled)
  FROM jsonb_to_recordset(%s) AS n(job_id uuid, settled text) WHERE d.upstream_id = n.job_id
RETURNING d.job_id
"""

STANDING = """
SELECT j.job_id, j.depends_rule, array_agg(d.settled ORDER BY d.place), j.step IS NOT NULL
  FROM jobs j JOIN job_dependencies d ON d.job_id = j.job_id
 WHERE j.job_id = ANY (%s) AND j.status = 'blocked' GROUP BY j.job_id
"""

RELEASE = """
UPDATE jobs SET status = CASE WHEN run_at > clock_timestamp() THEN 'scheduled' ELSE 'queued' END,
       due_at = CASE WHEN run_at > clock_timestamp() THEN run_at END,
       queued_at = CASE WHEN run_at > clock_timestamp() THEN NULL ELSE clock_timestamp() END
 WHERE job_id = ANY (%s) AND status = 'blocked'
"""

SAID = {
    Verdict.UPSTREAM_FAILED: ("UpstreamFailed", "a job it depends on did not end as its rule asks"),
    Verdict.SKIP: ("Skipped", "its rule asks for an end that none of the jobs it depends on had"),
}


def tell(*, limit: int) -> int:
    """Tell at most `limit` ends to those they decide; return how many there were. For the scheduler."""
    with transaction.atomic():
        with preparing() as cursor:
            cursor.execute(NEWS, [limit])
            news = [News(*row) for row in cursor.fetchall()]
        if not news:
            return 0
        _decide(_touched(news))
        family.move_on({each.parent_id for each in news if each.parent_id is not None})
        family.stop({each.job_id for each in news if each.is_plan})
        with connection.cursor() as cursor:
            cursor.execute(TOLD, [[each.job_id for each in news]])
    return len(news)


def _touched(news: Iterable[News]) -> set[UUID]:
    """Settle the edges to what ended; return the jobs at their other ends."""
    rows = [
        {"job_id": str(each.job_id), "settled": settle(outcome=each.outcome, reason_code=each.reason_code)}
        for each in news
    ]
    with connection.cursor() as cursor:
        cursor.execute(SETTLE, [orjson.dumps(rows).decode()])
        return {job_id for (job_id,) in cursor.fetchall()}


def _decide(job_ids: set[UUID]) -> None:
    """Release those of the jobs whose rule is fulfilled, end those whose rule cannot be any more."""
    if not job_ids:
        return
    with connection.cursor() as cursor:
        cursor.execute(STANDING, [list(job_ids)])
        standing = cursor.fetchall()
    ready: list[UUID] = []
    steps: list[UUID] = []
    over: dict[UUID, Report] = {}
    for job_id, rule, settled, is_step in standing:
        verdict = judge(Rule(rule), [Settled(each) if each else None for each in settled])
        if verdict is Verdict.RUN:
            ready.append(job_id)
            steps += [job_id] if is_step else []
        elif verdict is not Verdict.WAIT:
            error_class, message = SAID[verdict]
            over[job_id] = never_ran(error_class, code=verdict, message=message)
    over |= family.resolve_references(steps)
    with connection.cursor() as cursor:
        cursor.execute(RELEASE, [[job_id for job_id in ready if job_id not in over]])
    end.write(_ends(over))


def never_ran(error_class: str, *, code: str, message: str) -> Report:
    """Return the report of a job that is cancelled before it ran, by the plane itself."""
    return Report(
        reason_code=code, how="before_start", error={"class": error_class, "code": str(code), "message": message}
    )


def _ends(reports: dict[UUID, Report]) -> Sequence[End]:
    """Return the ends of blocked jobs, each with its report."""
    if not reports:
        return []
    with connection.cursor() as cursor:
        cursor.execute(HELD + " WHERE j.job_id = ANY (%s) AND j.status = 'blocked'", [list(reports)])
        rows = [held(row) for row in cursor.fetchall()]
    return [_cancelled(found, at=now, report=reports[found.job_id]) for found, now in rows]


def _cancelled(found: Any, *, at: datetime, report: Report) -> End:
    return end.decide(found, ending=Ending.CANCELLED, at=at, retry=Retry(), report=report, noticed_by="scheduler")

"""What a job waited for so far: when it waited, and which gates were shut then; `waits.py` cuts the one by the other.

In the context the job was found in; gates of other tenants are not read.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from apps.core.database import rows
from apps.jobs.gates import GATES
from apps.jobs.models import Job
from apps.jobs.representation import instant
from apps.jobs.waits import GateTime, Span, parts

ATTEMPTS = """
SELECT dispatched_at, finished_at, retry_at FROM attempts WHERE job_id = %s ORDER BY fence
"""
SHUT = """
SELECT gate, started_at, coalesce(ended_at, clock_timestamp()) FROM gate_intervals
 WHERE started_at < %(end)s AND (ended_at IS NULL OR ended_at > %(start)s)
   AND (environment IS NULL OR environment = %(env)s) AND (tenant_id IS NULL OR tenant_id = %(tenant)s)
   AND (type IS NULL OR type = %(type)s)
"""
KEY_TIMES = """
SELECT 'key_held', a.dispatched_at, a.finished_at FROM attempts a JOIN jobs j USING (job_id)
 WHERE j.tenant_id = %(tenant)s AND j.concurrency_key = %(key)s AND j.job_id <> %(job)s
   AND a.dispatched_at < %(end)s AND a.finished_at > %(start)s
UNION ALL
SELECT 'key_held', dispatched_at, clock_timestamp() FROM jobs
 WHERE tenant_id = %(tenant)s AND concurrency_key = %(key)s AND job_id <> %(job)s
   AND status IN ('dispatched', 'running') AND dispatched_at < %(end)s
"""


def waits(job: Job, *, now: datetime) -> dict[str, Any]:
    """Return the job's whole wait, cut by gates: until its first start, and between attempts."""
    spans, known = _spans(job, now=now)
    if not spans:
        return {"total_s": 0.0, "parts": []}
    values = {
        "start": spans[0].start,
        "end": spans[-1].end,
        "env": job.environment_id,
        "tenant": job.tenant_id,
        "type": job.type,
        "key": job.concurrency_key,
        "job": job.job_id,
    }
    shut_times = known + [GateTime(*row) for row in rows(SHUT, values)]
    if job.concurrency_key is not None:
        shut_times += [GateTime(*row) for row in rows(KEY_TIMES, values)]
    made = parts(spans, shut=shut_times, order=[gate.name for gate in GATES])
    return {
        "total_s": round(sum((span.end - span.start).total_seconds() for span in spans), 6),
        "parts": [
            {"gate": each.gate, "from": instant(each.start), "until": instant(each.end), "seconds": each.seconds}
            for each in made
        ],
    }


def _spans(job: Job, *, now: datetime) -> tuple[list[Span], list[GateTime]]:
    """Return when the job waited, and the gates of its own that were shut then: its time to run, its pauses."""
    if job.outcome == "rejected":
        return [], []
    spans, own, since = [], [], job.submitted_at
    if job.run_at is not None and job.run_at > since:
        own.append(GateTime("run_at", since, job.run_at))
    for dispatched_at, finished_at, retry_at in rows(ATTEMPTS, [job.job_id]):
        if dispatched_at is not None and dispatched_at > since:
            spans.append(Span(since, dispatched_at))
            _cut_short(own, at=dispatched_at)
        since = finished_at
        if retry_at is not None and retry_at > since:
            own.append(GateTime("retry_pause", since, retry_at))
    end = job.dispatched_at if job.status in ("dispatched", "running") else job.finished_at or now
    if end is not None and end > since:
        spans.append(Span(since, end))
        nudged_at = job.nudged_at or end
        _cut_short(own, at=nudged_at if since <= nudged_at < end else end)
        if job.status in ("blocked", "waiting_children", "deferred"):
            name = {"blocked": "dependencies", "waiting_children": "children", "deferred": "broker_down"}[job.status]
            own.append(GateTime(name, since, end))
    return spans, own


def _cut_short(own: list[GateTime], *, at: datetime) -> None:
    """End the last pause at `at`, if it was to last longer: a callback may end it before its time."""
    if own and own[-1].gate == "retry_pause":
        own[-1] = own[-1]._replace(end=min(own[-1].end, at))

"""What a job waited for so far: when it waited, and which gates were shut then; `waits.py` cuts the one by the other.

In the context the job was found in; gates of other tenants are not read.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from apps.core.database import rows
from apps.jobs import events
from apps.jobs.gates import GATES
from apps.jobs.models import Job
from apps.jobs.representation import instant
from apps.jobs.waits import GateTime, Span, parts

ATTEMPTS = """
SELECT dispatched_at, finished_at, retry_at FROM attempts WHERE job_id = %s ORDER BY fence
"""
SHUT = """
SELECT gate, started_at, coalesce(ended_at, clock_timestamp()) FROM gate_intervals
 WHERE gate <> 'paused' AND started_at < %(end)s AND (ended_at IS NULL OR ended_at > %(start)s)
   AND (environment IS NULL OR environment = %(env)s) AND (tenant_id IS NULL OR tenant_id = %(tenant)s)
   AND (type IS NULL OR type = %(type)s)
"""
# Pauses are kept to the instant, which the look of each second is not.
PAUSE_TIMES = """
SELECT 'paused', started_at, coalesce(ended_at, least(until, clock_timestamp())) FROM pauses
 WHERE started_at < %(end)s AND coalesce(ended_at, until, 'infinity') > %(start)s
   AND (environment_id IS NULL OR environment_id = %(env)s) AND (tenant_id IS NULL OR tenant_id = %(tenant)s)
   AND (type IS NULL OR type = %(type)s)
"""
# Its ends and reopenings by hand. The index of subjects holds what has its number; of the rest there is little.
REOPENED = """
SELECT type, occurred_at FROM events
 WHERE subject = %(job)s AND type = ANY (%(types)s) AND tenant_id = %(tenant)s AND sequence IS NOT NULL
UNION ALL
SELECT type, occurred_at FROM events
 WHERE subject = %(job)s AND type = ANY (%(types)s) AND tenant_id = %(tenant)s AND sequence IS NULL
 ORDER BY occurred_at
"""
# An attempt's end and the event that tells of it are of one statement, and not quite of one instant.
ONE_STATEMENT = timedelta(seconds=1)
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
    """Return the job's whole wait, cut by gates: until its first start, and between attempts.

    It waits for nothing between an end and its reopening by hand.
    """
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
    shut_times = known + [GateTime(*row) for query in (SHUT, PAUSE_TIMES) for row in rows(query, values)]
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
    spans: list[Span] = []
    own: list[GateTime] = []
    since, begun, over = job.submitted_at, False, _over(job)
    if job.run_at is not None and job.run_at > since:
        own.append(GateTime("run_at", since, job.run_at))
    for dispatched_at, finished_at, retry_at in rows(ATTEMPTS, [job.job_id]):
        if dispatched_at is not None and dispatched_at > since:
            spans += _waited(Span(since, dispatched_at), over=over, after_an_attempt=begun)
            _cut_short(own, at=dispatched_at)
        since, begun = finished_at, True
        if retry_at is not None and retry_at > since:
            own.append(GateTime("retry_pause", since, retry_at))
    end = job.dispatched_at if job.status in ("dispatched", "running") else job.finished_at or now
    if end is not None and end > since:
        waited = _waited(Span(since, end), over=over, after_an_attempt=begun)
        spans += waited
        nudged_at = job.nudged_at or end
        _cut_short(own, at=nudged_at if since <= nudged_at < end else end)
        if waited and job.status in ("blocked", "waiting_children", "deferred"):
            name = {"blocked": "dependencies", "waiting_children": "children", "deferred": "broker_down"}[job.status]
            own.append(GateTime(name, waited[-1].start, end))
    return spans, own


def _cut_short(own: list[GateTime], *, at: datetime) -> None:
    """End the last pause at `at`, if it was to last longer: a callback may end it before its time."""
    if own and own[-1].gate == "retry_pause":
        own[-1] = own[-1]._replace(end=min(own[-1].end, at))


def _over(job: Job) -> list[Span]:
    """Return from when until when the job was over, for each time that somebody reopened it."""
    types = [events.FAILED, events.CANCELLED, events.RESUBMITTED]
    told = rows(REOPENED, {"job": str(job.job_id), "types": types, "tenant": job.tenant_id})
    return [Span(ended, at) for (_, ended), (kind, at) in pairwise(told) if kind == events.RESUBMITTED]


def _waited(span: Span, *, over: Iterable[Span], after_an_attempt: bool) -> list[Span]:
    """Return the parts of a span in which the job was not over."""
    found, since = [], span.start
    for ended, reopened in over:
        if span.start < reopened < span.end:
            if not after_an_attempt or since > span.start or ended - since > ONE_STATEMENT:
                found.append(Span(since, ended))
            since = reopened
    return [each for each in (*found, Span(since, span.end)) if each.end > each.start]

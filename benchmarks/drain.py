"""Claim: how fast a backlog of no-ops is drained, in bundles, everything on; baseline: Celery's bare no-ops.

Both backlogs are laid while their reader is stopped (SIGSTOP: the scheduler here, the worker there) and timed from
its being let go. Turns alternate, so that a drifting machine favours nobody; the ratio is the median of the pairs'.
"""

from __future__ import annotations

import os
import signal
import statistics
import time

from benchmarks.figures import Row, middle
from benchmarks.ground import Ground, bare_worker, send_bare, valkey
from opsplatform import os_processes

# Copies of a job that was admitted through the API and ran, put back to where it was queued.
PRELOAD = """
INSERT INTO jobs SELECT fresh.* FROM jobs sample CROSS JOIN generate_series(1, %s) AS number
 CROSS JOIN LATERAL jsonb_populate_record(sample, jsonb_build_object(
    'job_id', uuidv7(), 'status', 'queued', 'outcome', NULL, 'reason_code', NULL, 'attempt', 0, 'retries', 0,
    'fence', 0, 'worker_id', NULL, 'worker_pid', NULL, 'submitted_at', clock_timestamp(),
    'queued_at', clock_timestamp(), 'dispatched_at', NULL, 'started_at', NULL, 'finished_at', NULL,
    'result', NULL, 'evidence_id', NULL, 'unclaimed', number - number)) AS fresh  -- so: a row of its own each
 WHERE sample.job_id = %s
"""
LONGEST_S = 90


def measure(at: Ground, *, jobs: int, pairs: int, sample: str, events: bool) -> Row:
    """Return the drain rates, jobs a second, of `pairs` alternating turns of `jobs` each."""
    ours, theirs = [], []
    with bare_worker(at, events=events) as worker:
        for _ in range(pairs):
            theirs.append(drain_bare(at, pid=worker.pid, jobs=jobs))
            ours.append(drain_plane(at, jobs=jobs, sample=sample))
    ratio = statistics.median(mine / other for mine, other in zip(ours, theirs, strict=True))
    how = "task events on (-E)" if events else "no task events"
    claim = f"drain, jobs/s; {how}; median of {pairs} pairs of {jobs}"
    return Row(claim=claim, plane=middle(ours), baseline=middle(theirs), ratio=ratio, target="≥ 5 ×", met=ratio >= 5)


def drain_bare(at: Ground, *, pid: int, jobs: int) -> float:
    """Return bare Celery's rate over a backlog of `jobs`."""
    client = valkey(at)
    os.kill(pid, signal.SIGSTOP)
    send_bare(at, count=jobs)
    began = time.monotonic()
    os.kill(pid, signal.SIGCONT)
    if not os_processes.wait_until(lambda: client.llen("bare") == 0, within_s=LONGEST_S, every_s=0.01):
        raise RuntimeError("bare Celery did not drain its queue")
    return jobs / (time.monotonic() - began)


def drain_plane(at: Ground, *, jobs: int, sample: str) -> float:
    """Return the plane's rate over a backlog of `jobs`, to the last job's end; every one must have succeeded."""
    scheduler = at.plane.pid("scheduler")
    os.kill(scheduler, signal.SIGSTOP)
    at.database.execute(PRELOAD.encode(), [jobs, sample])
    at.database.execute("VACUUM ANALYZE jobs")
    began = at.one("SELECT clock_timestamp()")
    os.kill(scheduler, signal.SIGCONT)
    open_jobs = "SELECT NOT EXISTS (SELECT 1 FROM jobs WHERE outcome IS NULL)"
    if not os_processes.wait_until(lambda: bool(at.one(open_jobs)), within_s=LONGEST_S, every_s=0.1):
        raise RuntimeError("the plane did not drain its backlog")
    since = "FROM jobs WHERE submitted_at < %s AND started_at >= %s"
    done = at.one(f"SELECT count(*) {since} AND status = 'succeeded' AND attempt = 1", began, began)
    if done != jobs:
        raise RuntimeError(f"{done} of {jobs} jobs succeeded at their first attempt")
    seconds = (at.one(f"SELECT max(finished_at) {since}", began, began) - began).total_seconds()
    return jobs / float(seconds)

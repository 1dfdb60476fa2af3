"""Claim: a limit is kept at every instant, and used; baseline: bare Celery's only one, a worker of as many processes.

A backlog of a tenant waits behind its plan's slots, or behind one concurrency key. How many were held at once is
counted afterwards, from the instants of every dispatch and end.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any, cast

from benchmarks.bare import STAMPS
from benchmarks.drain import PRELOAD
from benchmarks.figures import Row
from benchmarks.ground import Ground, bare_app, bare_worker, valkey
from benchmarks.neighbour import sample_of
from opsplatform import os_processes

NAP_S = 0.05
SLOTS = 2
HELD = """
WITH steps AS (
    SELECT a.dispatched_at AS at, 1 AS step FROM attempts a JOIN jobs j USING (job_id) WHERE j.submitted_at >= %(since)s
    UNION ALL
    SELECT a.finished_at, -1 FROM attempts a JOIN jobs j USING (job_id) WHERE j.submitted_at >= %(since)s
)
SELECT max(held) FROM (SELECT sum(step) OVER (ORDER BY at, step) AS held FROM steps) AS sums
"""
TOOK = """
SELECT count(*), extract(epoch FROM max(a.finished_at) - min(a.dispatched_at))::float8
  FROM attempts a JOIN jobs j USING (job_id) WHERE j.submitted_at >= %s AND a.ending = 'succeeded'
"""


def rows(at: Ground, *, jobs: int, token: str) -> Iterator[Row]:
    """Yield the row of a tenant's slots and that of a key."""
    sample = sample_of(at, token=token, seconds=NAP_S)
    with limit_of_tenant(at, slots=SLOTS):
        yield _row(at, what=f"a tenant's {SLOTS} slots", most=SLOTS, jobs=jobs, sample=sample)
    at.database.execute("UPDATE jobs SET concurrency_key = 'one' WHERE job_id = %s", [sample])
    yield _row(at, what="a concurrency key", most=1, jobs=jobs // 2, sample=sample)


def _row(at: Ground, *, what: str, most: int, jobs: int, sample: str) -> Row:
    since = drain(at, jobs=jobs, sample=sample)
    done, seconds = at.database.execute(TOOK.encode(), [since]).fetchone() or (0, 0.0)
    if done != jobs:
        raise RuntimeError(f"{done} of {jobs} jobs succeeded")
    held = int(at.database.execute(HELD.encode(), {"since": since}).fetchone()[0])  # type: ignore[index]
    ours, theirs = jobs / seconds, bare_rate(at, jobs=jobs, children=most)
    return Row(
        claim=f"limit: {what}, {jobs} jobs of {NAP_S * 1000:.0f} ms, jobs/s (at most {held} held at any instant)",
        plane=f"{ours:.1f}",
        baseline=f"{theirs:.1f} (a worker of {most} for it alone)",
        ratio=ours / theirs,
        target="never over",
        met=held <= most,
    )


@contextlib.contextmanager
def limit_of_tenant(at: Ground, *, slots: int) -> Iterator[None]:
    """Let the neighbour's plan hold so many slots, and the scheduler know."""
    before = at.one("SELECT max_running FROM plans WHERE plan_id = 'gold'")
    change = "UPDATE plans SET max_running = %s WHERE plan_id = 'gold'"
    at.database.execute(change.encode(), [slots])
    at.wait_for_plans()
    try:
        yield
    finally:
        at.database.execute(change.encode(), [before])


def drain(at: Ground, *, jobs: int, sample: str) -> datetime:
    """Lay a backlog of copies of `sample`, wait until it is drained, and return when it was laid."""
    scheduler = at.plane.pid("scheduler")
    os.kill(scheduler, signal.SIGSTOP)
    since = at.one("SELECT clock_timestamp()")
    at.database.execute(PRELOAD.encode(), [jobs, sample])
    os.kill(scheduler, signal.SIGCONT)
    over = "SELECT NOT EXISTS (SELECT 1 FROM jobs WHERE outcome IS NULL)"
    if not os_processes.wait_until(lambda: bool(at.one(over)), within_s=90, every_s=0.05):
        raise RuntimeError("the backlog was not drained")
    return cast("datetime", since)


def bare_rate(at: Ground, *, jobs: int, children: int) -> float:
    """Return how many of the same naps a second a bare worker of so many processes begins."""
    client, app = valkey(at), bare_app(at)
    with bare_worker(at, children=children):
        with app.producer_or_acquire() as producer, producer.batch():
            for _ in range(jobs):
                app.send_task("bare.nap", args=[NAP_S], producer=producer)
        app.send_task("bare.stamp", args=[time.time()])
        if not os_processes.wait_until(lambda: client.llen(STAMPS) > 0, within_s=90, every_s=0.05):
            raise RuntimeError("bare Celery did not come to the end")
        return jobs / float(cast("Any", client.lpop(STAMPS)))

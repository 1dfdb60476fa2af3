"""Claim: a light tenant's job starts at once behind a neighbour's backlog; baseline: bare Celery's one queue.

The neighbour's 10,000 jobs of 5 ms are being drained when the light tenant submits, one job after the other, over HTTP.
Told besides the delay: how many of the neighbour's jobs started between the submission and the start.
"""

from __future__ import annotations

import http.client
import json
import time
from typing import Any, cast
from urllib.parse import urlsplit

from benchmarks.bare import STAMPS
from benchmarks.drain import PRELOAD
from benchmarks.figures import Row, spread
from benchmarks.ground import Ground, bare_app, bare_worker, valkey
from benchmarks.start import plane_delays
from benchmarks.submission import submit
from opsplatform import os_processes

BACKLOG = 10_000
NAP_S = 0.005
LIGHT = "globex"
BETWEEN = """
SELECT (SELECT count(*) FROM jobs n WHERE n.tenant_id = 'acme' AND n.started_at > l.submitted_at
           AND n.started_at < l.started_at)
  FROM jobs l WHERE l.tenant_id = %s AND l.submitted_at > %s AND l.type = 'bench.stamp' ORDER BY l.submitted_at
"""


def measure(at: Ground, *, times: int, token: str) -> Row:
    """Return the light tenant's start delays, in ms, behind the neighbour's backlog and without it."""
    light = at.token(tenant=LIGHT)
    alone = spread(plane_delays(at, times=times, token=light, tenant=LIGHT))
    lay_backlog(at, token=token)
    since = at.one("SELECT clock_timestamp()")
    behind = spread(plane_delays(at, times=times, token=light, tenant=LIGHT))
    if not at.one("SELECT count(*) FROM jobs WHERE status = 'queued' AND type = 'ops.sleep'"):
        raise RuntimeError("the backlog was gone before the last measurement: nothing was behind anything")
    between = sorted(row[0] for row in at.database.execute(BETWEEN.encode(), [LIGHT, since]).fetchall())
    at.database.execute("DELETE FROM jobs WHERE status = 'queued' AND type = 'ops.sleep'")
    bare_s = bare_delay(at)
    return Row(
        claim=f"light tenant behind {BACKLOG:,} jobs of {NAP_S * 1000:.0f} ms: start, ms p50 / p95 / p99 (n={times}; "
        f"alone {alone}; neighbour's jobs in between: median {between[len(between) // 2]}, most {between[-1]})",
        plane=str(behind),
        baseline=f"{bare_s * 1000:.0f} (one queue)",
        ratio=behind.p95 / 1000 / bare_s,
        target="p95 < 100; median ≤ 2 × alone, ≤ 10 between",
        met=behind.p95 < 100 and behind.p50 <= 2 * alone.p50 and between[len(between) // 2] <= 10,
    )


def lay_backlog(at: Ground, *, token: str) -> None:
    """Queue the neighbour's jobs and wait until they are drained in bundles."""
    sample = sample_of(at, token=token, seconds=NAP_S)
    at.database.execute(PRELOAD.encode(), [BACKLOG, sample])
    at.database.execute("VACUUM ANALYZE jobs")
    at.database.execute("NOTIFY ops_scheduler")
    full = "SELECT count(*) > 200 FROM jobs WHERE type = 'ops.sleep' AND status = 'succeeded'"
    if not os_processes.wait_until(lambda: bool(at.one(full)), within_s=30, every_s=0.05):
        raise RuntimeError("the backlog is not being drained")


def sample_of(at: Ground, *, token: str, seconds: float) -> str:
    """Submit a job that sleeps, wait until it is over, and return its id."""
    connection = http.client.HTTPConnection(urlsplit(at.plane.url).netloc, timeout=30)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    body = json.dumps({"type": "ops.sleep", "tenant_id": "acme", "params": {"seconds": seconds}}).encode()
    sample = str(submit(connection, headers=headers, body=body)["job_id"])
    finished = "SELECT outcome IS NOT NULL FROM jobs WHERE job_id = %s"
    if not os_processes.wait_until(lambda: bool(at.one(finished, sample)), within_s=30, every_s=0.05):
        raise RuntimeError("the sample did not end")
    return sample


def bare_delay(at: Ground) -> float:
    """Return how long bare Celery's newcomer waits behind the same backlog, in seconds."""
    client, app = valkey(at), bare_app(at)
    with bare_worker(at):
        with app.producer_or_acquire() as producer, producer.batch():
            for _ in range(BACKLOG):
                app.send_task("bare.nap", args=[NAP_S], producer=producer)
        app.send_task("bare.stamp", args=[time.time()])
        if not os_processes.wait_until(lambda: client.llen(STAMPS) > 0, within_s=90, every_s=0.05):
            raise RuntimeError("bare Celery did not come to the newcomer")
        return float(cast("Any", client.lpop(STAMPS)))

"""Claim: how soon a handler starts on an idle plane after its job is submitted by HTTP; baseline: Celery, from Python.

One clock: caller, handler and both servers are on this machine, and each side takes `time.time()` as the request leaves
and as the handler begins.
"""

from __future__ import annotations

import http.client
import json
import time
from typing import Any, cast
from urllib.parse import urlsplit

from benchmarks.bare import STAMPS
from benchmarks.figures import Row, spread
from benchmarks.ground import Ground, bare_app, bare_worker, valkey
from benchmarks.submission import submit
from opsplatform import os_processes

BEGAN = "SELECT (result -> 'metrics' ->> 'began')::float8 FROM jobs WHERE job_id = %s AND status = 'succeeded'"
PAUSE_S = 0.05  # nothing else is under way: what is measured is the idle system


def measure(at: Ground, *, times: int, token: str) -> Row:
    """Return the spread of `times` starts, in ms."""
    with bare_worker(at):
        theirs = spread(bare_delays(at, times=times))
    ours = spread(plane_delays(at, times=times, token=token))
    return Row(
        claim=f"submission → handler started, idle, ms p50 / p95 / p99 (n={times})",
        plane=str(ours),
        baseline=f"{theirs} (from Python)",
        ratio=ours.p50 / theirs.p50,
        target="p50 < 20, p95 < 40",
        met=ours.p50 < 20 and ours.p95 < 40,
    )


def plane_delays(at: Ground, *, times: int, token: str, tenant: str = "acme") -> list[float]:
    """Return the delays, in seconds, of jobs submitted one after the other."""
    connection = http.client.HTTPConnection(urlsplit(at.plane.url).netloc, timeout=30)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    body = json.dumps({"type": "bench.stamp", "tenant_id": tenant, "params": {}}).encode()
    delays = []
    for number in range(times + 3):
        sent_at = time.time()
        job_id = submit(connection, headers=headers, body=body)["job_id"]
        began: list[float] = []

        def over(job_id: str = job_id, began: list[float] = began) -> bool:
            row = at.database.execute(BEGAN, [job_id]).fetchone()
            began += [row[0]] if row else []
            return bool(began)

        time.sleep(PAUSE_S)
        if not os_processes.wait_until(over, within_s=30, every_s=0.05):
            raise RuntimeError(f"job {job_id} did not succeed")
        if number >= 3:  # the first few warm the children up
            delays.append(began[0] - sent_at)
    return delays


def bare_delays(at: Ground, *, times: int) -> list[float]:
    """Return the delays, in seconds, of tasks sent one after the other."""
    client, app, delays = valkey(at), bare_app(at), []
    for number in range(times + 3):
        app.send_task("bare.stamp", args=[time.time()])
        said = cast("Any", client.blpop([STAMPS], timeout=30))
        time.sleep(PAUSE_S)
        if number >= 3:
            delays.append(float(said[1]))
    return delays

"""Claim: a tenant's rate is kept over every span of time, and used; baseline: Celery's `rate_limit`, each worker's own.

The backlog waits for tokens alone. From the instants of all dispatches: the most that went out in any span beyond what
the rate allows in it (its burst, and so many a second).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, cast

from benchmarks.bare import LIMITED, RATE_S
from benchmarks.figures import Row
from benchmarks.ground import Ground, bare_app, bare_worker, valkey
from benchmarks.limits import drain
from opsplatform import os_processes

BURST = 10
TIMES = """
SELECT extract(epoch FROM a.dispatched_at)::float8 FROM attempts a JOIN jobs j USING (job_id)
 WHERE j.submitted_at >= %s ORDER BY a.dispatched_at
"""


def measure(at: Ground, *, jobs: int, sample: str) -> Row:
    """Return the rate that was reached, beside the one that was set."""
    change = "UPDATE plans SET rate = %s WHERE plan_id = 'gold'"
    at.database.execute(change.encode(), [f"{RATE_S}/s burst {BURST}"])
    at.wait_for_plans()
    try:
        since = drain(at, jobs=jobs, sample=sample)
    finally:
        at.database.execute(change.encode(), [None])
    times = [row[0] for row in at.database.execute(TIMES.encode(), [since]).fetchall()]
    over, ours, theirs = beyond(times), reached(times, burst=BURST), reached(bare_times(at, jobs=jobs), burst=1)
    most = f"at most {max(over, 0):.1f} beyond it in any span"
    return Row(
        claim=f"rate: {RATE_S}/s, burst {BURST}, of a tenant: {jobs} no-ops, jobs/s ({most})",
        plane=f"{ours:.1f}",
        baseline=f"{theirs:.1f} (rate_limit, one worker)",
        ratio=ours / theirs,
        target="never over",
        met=over < 1,
    )


def beyond(times: Sequence[float]) -> float:
    """Return by how many jobs the busiest span exceeded the burst and the rate together; below 0 if none did.

    The span from dispatch i to j holds j - i + 1 of them: so the most is a walk's largest rise.
    """
    worst = level = 1.0
    for before, now in pairwise(times):
        level = max(level - RATE_S * (now - before), 0.0) + 1
        worst = max(worst, level)
    return worst - BURST


def reached(times: Sequence[float], *, burst: int) -> float:
    """Return how many a second went out, after the first `burst`."""
    rest = sorted(times)[burst - 1 :]
    return (len(rest) - 1) / (rest[-1] - rest[0])


def bare_times(at: Ground, *, jobs: int) -> list[float]:
    """Return when bare Celery began each of as many tasks under the same rate, as far as it came in twice the time."""
    client, app = valkey(at), bare_app(at)
    with bare_worker(at):
        with app.producer_or_acquire() as producer, producer.batch():
            for _ in range(jobs):
                app.send_task("bare.limited", producer=producer)
        os_processes.wait_until(lambda: client.llen(LIMITED) >= jobs, within_s=2 * jobs / RATE_S, every_s=0.1)
        return [float(each) for each in cast("Any", client.lrange(LIMITED, 0, -1))]

"""What one decision of the scheduler costs: {1 k, 100 k, 1 M} queued jobs x {10, 1 k, 10 k} tenants.

A decision is the whole look before a dispatch: who waits, whose turn it is, which jobs. It is taken over rows in a
PostgreSQL of its own, each time for `LEASES` leases, which are then dispatched, ended and queued again.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import django
import psycopg

from benchmarks.figures import Row
from opsplatform import embedded
from opsplatform.plane import CHECKOUT

JOBS = (1_000, 100_000, 1_000_000)
TENANTS = (10, 1_000, 10_000)
LEASES = 50
WARM = 45
AS_SCHEDULER = {"OPS_DATABASE_ROLE": "control", "DJANGO_SETTINGS_MODULE": "opsplatform.settings"}
PICTURE = CHECKOUT / "docs" / "decision.svg"
DISPATCH = """
UPDATE jobs SET status = 'dispatched', fence = fence + 1, dispatched_at = clock_timestamp() WHERE job_id = ANY (%s)
RETURNING job_id, fence
"""
# Each ran for 5 ms, as the attempts say, and waits again: the queue is as long for the next look.
QUEUE_AGAIN = """
WITH again AS (
    UPDATE jobs SET status = 'queued', queued_at = clock_timestamp() WHERE status = 'dispatched'
    RETURNING job_id, fence, tenant_id
)
INSERT INTO attempts (job_id, fence, tenant_id, number, ending, dispatched_at, started_at, finished_at, noticed_by,
       forced, log_lines)
SELECT job_id, fence, tenant_id, 1, 'handed_back', now(), now(), now() + interval '5 ms', 'worker', false, 0 FROM again
"""

PREPARE = """
TRUNCATE jobs, attempts CASCADE;
DELETE FROM subscriptions WHERE tenant_id LIKE 'bench-%%';
INSERT INTO tenants (tenant_id, name, region, storage_url, state)
SELECT 'bench-' || n, 'bench', 'local', 'file:///nowhere', 'active' FROM generate_series(1, {tenants}) n
    ON CONFLICT DO NOTHING;
INSERT INTO subscriptions (tenant_id, plan_id, state)
SELECT 'bench-' || n, 'gold', 'active' FROM generate_series(1, {tenants}) n ON CONFLICT DO NOTHING;
INSERT INTO jobs (job_id, tenant_id, type, status, priority, environment_id, region, params, params_digest, trigger,
                  submitted_by, timeout_s, max_attempts, obligations, attempt, retries, fence, unclaimed, submitted_at,
                  queued_at)
SELECT uuidv7(), 'bench-' || (1 + n %% {tenants}), CASE WHEN n %% 3 = 0 THEN 'ops.sleep' ELSE 'ops.noop' END, 'queued',
       2, 'default', 'local', '{{}}', 'sha256:0', 'user', 'bench', 600, 3, '{{}}', 0, 0, 0, 0, clock_timestamp(),
       clock_timestamp() FROM generate_series(1, {jobs}) n;
"""


class Cost(NamedTuple):
    """Milliseconds of a decision with so many jobs queued by so many tenants."""

    jobs: int
    tenants: int
    p50_ms: float
    p95_ms: float


def rows(*, folder: Path, quick: bool) -> list[Row]:
    """Measure in a process of its own, draw the picture unless `quick`, and return the table's rows."""
    command = [sys.executable, "-m", "benchmarks.decision", "15" if quick else "60"]
    environment = {**os.environ, "OPS_HOME": str(folder / "decision"), **AS_SCHEDULER}
    done = subprocess.run(command, cwd=CHECKOUT, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    costs = [Cost(*each) for each in json.loads(done.stdout.splitlines()[-1])]
    if not quick:
        PICTURE.write_text(picture(costs), encoding="utf-8")
    least = min(cost.p50_ms for cost in costs)
    return [
        Row(
            claim=f"decision for {LEASES} leases, {cost.jobs:,} jobs of {cost.tenants:,} tenants, p50 / p95 ms",
            plane=f"{cost.p50_ms:.1f} / {cost.p95_ms:.1f}",
            baseline=f"{least:.1f} (the cheapest)",
            ratio=cost.p50_ms / least,
        )
        for cost in costs
    ]


def main() -> None:
    """Start a PostgreSQL in `OPS_HOME`, measure every pair, and print the costs as JSON."""
    home = Path(os.environ["OPS_HOME"])
    started = embedded.start(home=home, variables={})
    try:
        plain = {name: value for name, value in os.environ.items() if name not in AS_SCHEDULER}
        manage = [sys.executable, "manage.py", "set_up"]
        subprocess.run(manage, cwd=CHECKOUT, env=plain, check=True, stdout=sys.stderr, timeout=120)
        django.setup()
        url = (started.superuser_url or "").rsplit("/", 1)[0] + "/ops"
        with psycopg.connect(url, autocommit=True) as session:
            pairs = [(jobs, tenants) for tenants in TENANTS for jobs in JOBS if jobs >= tenants]
            costs = [measure(session, looks=int(sys.argv[1]), jobs=jobs, tenants=tenants) for jobs, tenants in pairs]
    finally:
        embedded.stop(home=home)
    sys.stdout.write(json.dumps(costs) + "\n")


def measure(session: psycopg.Connection[Any], *, looks: int, jobs: int, tenants: int) -> Cost:
    """Fill the queue and time whole looks; the first ones, in which the scheduler gets to know who waits, count not."""
    from apps.jobs import queries  # noqa: PLC0415 - Django is set up by now
    from apps.jobs.scheduling import Held, Pool  # noqa: PLC0415
    from apps.tenancy.context import across_tenants  # noqa: PLC0415
    from workers.selector import KnownShares, Selector  # noqa: PLC0415

    session.execute(PREPARE.format(jobs=jobs, tenants=tenants).replace("%%", "%").encode())
    session.execute("VACUUM ANALYZE jobs")
    selector, known, times = Selector(limits={}), KnownShares(), list[float]()
    pool = Pool(name="default", capacity=1000)
    with across_tenants():
        for _ in range(looks + WARM):
            began = time.perf_counter()
            holding = queries.holding()
            selector.observe(holding=holding, known=known.now())
            held = Held(holding)
            selector.discover([pool.name], held=held)
            chosen = selector.choose(pool=pool, free=LEASES, held=held).jobs
            times.append((time.perf_counter() - began) * 1000)
            assert len(chosen) >= min(LEASES, tenants), "too little was chosen"
            fences = dict(session.execute(DISPATCH.encode(), [[job.job_id for job in chosen]]).fetchall())
            dispatched = [((job.job_id, fences[job.job_id]), job) for job in chosen]
            selector.handed_out(dispatched, environment="default")
            session.execute(QUEUE_AGAIN.encode())
    counted = sorted(times[WARM:])
    return Cost(jobs, tenants, statistics.median(counted), counted[int(len(counted) * 0.95)])


def picture(costs: Sequence[Cost]) -> str:
    """Return the costs as an SVG: a group of bars for each number of tenants, a bar for each length of the queue."""
    top = max(10.0, max(cost.p95_ms for cost in costs) * 1.15)
    width, height, left, base = 640, 300, 56, 250
    group = (width - left - 20) / len(TENANTS)
    shades = ("#9ec5e8", "#4f8fc4", "#1f5f96")
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        'font-size="12" role="img" aria-label="Milliseconds of a decision">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        f'<text x="{left}" y="18">A decision for {LEASES} leases, ms: median; the line is the 95th percentile</text>',
    ]
    for tick in range(5):
        value = top * tick / 4
        y = base - 210 * tick / 4
        lines.append(f'<line x1="{left}" y1="{y:.0f}" x2="{width - 20}" y2="{y:.0f}" stroke="#ddd"/>')
        lines.append(f'<text x="{left - 8}" y="{y + 4:.0f}" text-anchor="end">{value:.0f}</text>')
    for place, tenants in enumerate(TENANTS):
        x = left + place * group
        lines.append(f'<text x="{x + group / 2:.0f}" y="{base + 18}" text-anchor="middle">{tenants:,} tenants</text>')
        for bar, jobs in enumerate(JOBS):
            cost = next((each for each in costs if (each.jobs, each.tenants) == (jobs, tenants)), None)
            if cost is None:
                continue
            at, tall, tip = x + 20 + bar * 46, 210 * cost.p50_ms / top, 210 * cost.p95_ms / top
            lines.append(
                f'<rect x="{at:.0f}" y="{base - tall:.0f}" width="36" height="{tall:.0f}" fill="{shades[bar]}"/>'
                f'<line x1="{at + 18:.0f}" x2="{at + 18:.0f}" y1="{base - tall:.0f}" y2="{base - tip:.0f}" '
                f'stroke="#333"/><text x="{at + 18:.0f}" y="{base - tip - 4:.0f}" text-anchor="middle">'
                f"{cost.p50_ms:.1f}</text>"
            )
    for bar, jobs in enumerate(JOBS):
        at = left + bar * 130
        lines.append(f'<rect x="{at}" y="{base + 30}" width="12" height="12" fill="{shades[bar]}"/>')
        lines.append(f'<text x="{at + 18}" y="{base + 40}">{jobs:,} queued</text>')
    return "\n".join([*lines, "</svg>"]) + "\n"


if __name__ == "__main__":
    main()

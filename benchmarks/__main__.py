"""`python -m benchmarks [--quick] [--only drain,submission,start,…]`: run, print the table, keep it as JSON."""

from __future__ import annotations

import argparse
import http.client
import json
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks import decision, drain, idle, neighbour, start, submission
from benchmarks.figures import Row, document, table
from benchmarks.ground import Ground, facts, ground
from opsplatform import os_processes
from opsplatform.demo import place
from opsplatform.plane import CHECKOUT

RESULTS = CHECKOUT / "benchmarks" / "results"
CLAIMS = ("drain", "submission", "start", "idle", "neighbour", "decision")


def main() -> None:
    """Run what was asked for; exit 0 whether or not targets were met: the table says which."""
    words = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    words.add_argument("--quick", action="store_true", help="a minute's look; its figures are not for quoting")
    words.add_argument("--only", default=",".join(CLAIMS), help=f"some of {', '.join(CLAIMS)}, comma between")
    asked = words.parse_args()
    only = set(asked.only.split(","))
    if unknown := only - set(CLAIMS):
        words.error(f"there is no benchmark {min(unknown)!r}")
    place.forget_surroundings()
    began, about = time.monotonic(), facts()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="ops-bench-") as temporary:
        folder = Path(temporary)
        folder.chmod(0o711)  # PostgreSQL may run under an account of its own
        with place.reserved(folder=folder) as home:
            try:
                run(rows, folder=folder, only=only, quick=asked.quick)
            finally:
                place.erase(home=home)
    about.append(f"{'quick run, ' if asked.quick else ''}{time.monotonic() - began:.0f} s in all")
    sys.stdout.write(f"\n{table(rows=rows, facts=about)}\n")
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "latest.md").write_text(f"{table(rows=rows, facts=about)}\n", encoding="utf-8")
    (RESULTS / "latest.json").write_text(json.dumps(document(rows=rows, facts=about), indent=1), encoding="utf-8")


def run(rows: list[Row], *, folder: Path, only: set[str], quick: bool) -> None:
    """Run the benchmarks of `only` in `folder`, adding their rows as they are known."""

    def tell(row: Row) -> None:
        rows.append(row)
        sys.stdout.write(f"{row.markdown()}\n")
        sys.stdout.flush()

    if "decision" in only:
        for row in decision.rows(folder=folder, quick=quick):
            tell(row)
    if only == {"decision"}:
        return
    jobs, pairs = (1000, 1) if quick else (4000, 3)
    with ground(folder=folder) as at:
        token = at.token()
        sample = first_job(at, token=token)
        if "idle" in only:
            for row in idle.measure(at, seconds=3 if quick else 15):
                tell(row)
        if "start" in only:
            tell(start.measure(at, times=20 if quick else 100, token=token))
        if "submission" in only:
            for rate in (10, 50, 100):
                tell(submission.measure(at, rate=rate, seconds=3 if quick else 12, token=token))
                settle(at)
        if "neighbour" in only:
            tell(neighbour.measure(at, times=12 if quick else 40, token=token))
            settle(at)
        if "drain" in only:
            tell(drain.measure(at, jobs=jobs, pairs=pairs, sample=sample, events=True))
    if "drain" in only and not quick:
        with ground(folder=folder, events=False) as at:
            sample = first_job(at, token=at.token())
            tell(drain.measure(at, jobs=jobs, pairs=pairs, sample=sample, events=False))


def first_job(at: Ground, *, token: str) -> str:
    """Submit a no-op, wait until it is over, and return its id."""
    connection = http.client.HTTPConnection(urlsplit(at.plane.url).netloc, timeout=30)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    job_id = str(submission.submit(connection, headers=headers, body=submission.BODY)["job_id"])
    settle(at)
    return job_id


def settle(at: Ground) -> None:
    """Wait until the plane has nothing left to do."""
    idle_again = "SELECT NOT EXISTS (SELECT 1 FROM jobs WHERE outcome IS NULL)"
    if not os_processes.wait_until(lambda: bool(at.one(idle_again)), within_s=90, every_s=0.1):
        raise RuntimeError("the plane did not come to rest")


if __name__ == "__main__":
    main()

"""`python -m benchmarks [--quick] [--only drain,submission,start,…]`: run, print the table, keep it as JSON."""

from __future__ import annotations

import argparse
import http.client
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from benchmarks import decision, drain, evidence, idle, limits, neighbour, rates, start, submission
from benchmarks.figures import Row, document, table
from benchmarks.ground import Ground, facts, ground
from opsplatform import os_processes
from opsplatform.demo import place
from opsplatform.plane import CHECKOUT

RESULTS = CHECKOUT / "benchmarks" / "results"
CLAIMS = ("drain", "submission", "start", "idle", "neighbour", "limits", "rates", "evidence", "decision")


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
    sizes = QUICK if quick else FULL
    if only - {"decision", "evidence"}:
        with ground(folder=folder) as at:
            token = at.token()
            sample = first_job(at, token=token)
            for name, measured in claims(at, sizes=sizes, token=token, sample=sample).items():
                if name in only:
                    for row in measured:
                        tell(row)
                        settle(at)
    if "drain" in only and not quick:
        with ground(folder=folder, events=False) as at:
            sample = first_job(at, token=at.token())
            tell(drain.measure(at, jobs=sizes.drain, pairs=sizes.pairs, sample=sample, events=False))
    if "evidence" in only:
        with ground(folder=folder, variables=evidence.variables(folder=folder)) as at:
            sample = first_job(at, token=at.token())
            tell(evidence.measure(at, jobs=sizes.proven, rounds=sizes.rounds, sample=sample, folder=folder))


class Sizes(NamedTuple):
    """How much is measured: seconds, times, jobs of a backlog, turns."""

    idle_s: int
    starts: int
    rate_s: int
    light: int
    limited: int
    rated: int
    drain: int
    pairs: int
    proven: int
    rounds: int


FULL = Sizes(
    idle_s=15, starts=100, rate_s=12, light=40, limited=200, rated=500, drain=4000, pairs=3, proven=12_000, rounds=6
)
QUICK = Sizes(
    idle_s=3, starts=20, rate_s=3, light=12, limited=40, rated=100, drain=1000, pairs=1, proven=3000, rounds=2
)


def claims(at: Ground, *, sizes: Sizes, token: str, sample: str) -> dict[str, Iterator[Row]]:
    """Return the measuring of each claim on a running plane, none begun, in the order in which they disturb least."""
    return {
        "idle": (row for seconds in (sizes.idle_s,) for row in idle.measure(at, seconds=seconds)),
        "start": (start.measure(at, times=times, token=token) for times in (sizes.starts,)),
        "submission": (submission.measure(at, rate=rate, seconds=sizes.rate_s, token=token) for rate in (10, 50, 100)),
        "neighbour": (neighbour.measure(at, times=times, token=token) for times in (sizes.light,)),
        "limits": limits.rows(at, jobs=sizes.limited, token=token),
        "rates": (rates.measure(at, jobs=jobs, sample=sample) for jobs in (sizes.rated,)),
        "drain": (
            drain.measure(at, jobs=jobs, pairs=sizes.pairs, sample=sample, events=True) for jobs in (sizes.drain,)
        ),
    }


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

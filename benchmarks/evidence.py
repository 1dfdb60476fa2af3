"""Claim: evidence costs less than 20 % of the drain's throughput; baseline: the same plane without it.

Turns of one backlog each, in rounds: with all of it (written, sealed, signed, emitted to the built-in sink), with the
sealer stopped, and with no evidence made or written at all. Every round begins with another, so that neither a drifting
machine nor growing tables favour one; a ratio is the median of the rounds'. What was written is sealed and emitted
before the next turn. So long a backlog is taken that most of that happens within the turn; how much is told.
"""

from __future__ import annotations

import contextlib
import os
import signal
import statistics
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from benchmarks.drain import LONGEST_S, drain_plane
from benchmarks.figures import Row, middle
from benchmarks.ground import Ground
from opsplatform import os_processes

ALL, WRITTEN, NONE = "all", "written", "none"
RECORDS = "SELECT count(*) FROM evidence_records"
UNSEALED = "SELECT count(*) FROM evidence_records WHERE number IS NULL"
NOT_EMITTED = """
SELECT count(*) FROM evidence_records r LEFT JOIN evidence_outlets o USING (tenant_id, region)
 WHERE r.number IS NULL OR r.number >= coalesce(o.emitted, 0)
"""
LEFT_OUT = """
CREATE FUNCTION bench_left_out() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER bench_left_out BEFORE INSERT ON evidence_records FOR EACH ROW EXECUTE FUNCTION bench_left_out();
ALTER TABLE evidence_records DISABLE TRIGGER bench_left_out;
"""


def variables(*, folder: Path) -> dict[str, str]:
    """Return what a plane needs in its environment for evidence to be switched off by a file in `folder`."""
    return {"BENCH_WITHOUT_EVIDENCE": str(folder / "without-evidence")}


def measure(at: Ground, *, jobs: int, rounds: int, sample: str, folder: Path) -> Row:
    """Return the drain's rates with evidence and without, jobs a second; `folder` is that of `variables`."""
    at.database.execute(LEFT_OUT)
    drain_plane(at, jobs=jobs // 4, sample=sample)  # the scheduler learns that these are short
    settle(at)
    rates: dict[str, list[float]] = {ALL: [], WRITTEN: [], NONE: []}
    sealed: list[float] = []
    emitted: list[float] = []
    order = deque(rates)
    for _ in range(rounds):
        for how in order:
            before = at.one(RECORDS)
            with _evidence(at, how=how, switch=folder / "without-evidence"):
                rates[how].append(drain_plane(at, jobs=jobs, sample=sample))
                unsealed, owed, written = at.one(UNSEALED), at.one(NOT_EMITTED), at.one(RECORDS) - before
            if written != (0 if how == NONE else jobs) or (how == WRITTEN and unsealed != jobs):
                raise RuntimeError(f"{how}: {written} records were written, {unsealed} of them not sealed")
            if how == ALL:
                sealed.append(1 - unsealed / jobs)
                emitted.append(1 - owed / jobs)
            settle(at)
        order.rotate()
    done = f"{statistics.median(sealed):.0%} sealed and {statistics.median(emitted):.0%} emitted by the last end"
    unproven = statistics.median(a / b for a, b in zip(rates[WRITTEN], rates[NONE], strict=True))
    ratio = statistics.median(a / b for a, b in zip(rates[ALL], rates[NONE], strict=True))
    claim = f"evidence: drain of {jobs}, jobs/s; median of {rounds} rounds"
    return Row(
        claim=f"{claim} ({done}; sealer stopped: {middle(rates[WRITTEN])}, {unproven:.2f})",
        plane=middle(rates[ALL]),
        baseline=f"{middle(rates[NONE])} (this plane, none written)",
        ratio=ratio,
        target="≥ 0.8",
        met=ratio >= 0.8,
    )


def settle(at: Ground) -> None:
    """Wait until every record is sealed and emitted."""
    if not os_processes.wait_until(lambda: at.one(NOT_EMITTED) == 0, within_s=LONGEST_S, every_s=0.1):
        raise RuntimeError("sealer and emitter did not come to rest")


@contextlib.contextmanager
def _evidence(at: Ground, *, how: str, switch: Path) -> Iterator[None]:
    """Have the plane do all it does with evidence, write it only, or neither, while the context lasts."""
    sealer = at.plane.pid("sealer")
    if how == WRITTEN:
        os.kill(sealer, signal.SIGSTOP)
    if how == NONE:
        switch.touch()
        at.database.execute("ALTER TABLE evidence_records ENABLE TRIGGER bench_left_out")
    try:
        yield
    finally:
        os.kill(sealer, signal.SIGCONT)
        at.database.execute("ALTER TABLE evidence_records DISABLE TRIGGER bench_left_out")
        switch.unlink(missing_ok=True)

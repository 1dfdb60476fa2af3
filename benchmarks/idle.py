"""Claim: what the plane costs while nothing happens: processor and memory; baseline: bare Celery and its Valkey."""

from __future__ import annotations

import time
from pathlib import Path

import psutil

from benchmarks.figures import Row
from benchmarks.ground import Ground, bare_worker, tree

MIB = 2**20


def measure(at: Ground, *, seconds: float) -> list[Row]:
    """Return what each side uses of a core, and its memory (PSS: shared pages divided among their sharers)."""
    ours = at.processes()
    busy = _busy(ours, seconds=seconds)
    memory = {name: sum(map(_pss, pids)) / MIB for name, pids in ours.items()}
    with bare_worker(at) as worker:
        theirs = {"worker": tree(worker.pid), "valkey": ours["valkey"]}
        bare_busy = _busy(theirs, seconds=seconds)
        bare_memory = sum(_pss(pid) for pids in theirs.values() for pid in pids) / MIB
    share, bare_share = sum(busy.values()), sum(bare_busy.values())
    dearest = sorted(busy, key=lambda name: -busy[name])[:5]
    return [
        Row(
            claim=f"idle, % of a core ({', '.join(f'{name} {busy[name]:.1f}' for name in dearest)})",
            plane=f"{share:.1f}",
            baseline=f"{bare_share:.1f}",
            ratio=share / bare_share if bare_share else None,
        ),
        Row(
            claim=f"memory, MiB PSS ({', '.join(f'{name} {mib:.0f}' for name, mib in memory.items())})",
            plane=f"{sum(memory.values()):.0f}",
            baseline=f"{bare_memory:.0f}",
            ratio=sum(memory.values()) / bare_memory,
        ),
    ]


def _busy(groups: dict[str, list[int]], *, seconds: float) -> dict[str, float]:
    """Return each group's use of a core, in percent, over `seconds`."""
    before = {name: sum(map(_cpu_s, pids)) for name, pids in groups.items()}
    began = time.monotonic()
    time.sleep(seconds)
    took = time.monotonic() - began
    return {name: max(0.0, (sum(map(_cpu_s, pids)) - before[name]) / took * 100) for name, pids in groups.items()}


def _cpu_s(pid: int) -> float:
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)


def _pss(pid: int) -> int:
    """Return a process's proportional set in bytes; its resident set where the kernel does not tell."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
        return int(psutil.Process(pid).memory_info().rss)
    except (OSError, psutil.NoSuchProcess):
        return 0

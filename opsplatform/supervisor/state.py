"""What a supervisor writes of itself (`OPS_HOME/run/supervisor.json`) and how others read, find and end it."""

import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from opsplatform import embedded, os_processes
from opsplatform.embedded import home as homes
from opsplatform.embedded.external import masked
from opsplatform.settings.environment import Environment

STOP_S = 75  # a supervisor's own grace and its servers' stop, and a little
LEFTOVER_S = 10
KILL_ROUNDS = 5


def path(*, home: Path) -> Path:
    """Return where the supervisor of `home` writes."""
    return home / "run" / "supervisor.json"


def read(*, home: Path) -> dict[str, Any]:
    """Return what was last written: pid, mark, started_at, ready, addresses, processes; empty if nothing was."""
    return homes.read_json(path=path(home=home))


def living(*, home: Path) -> tuple[int, str] | None:
    """Return (pid, mark) of the supervisor that runs on `home`; None when none does."""
    written = read(home=home)
    if written and os_processes.is_same(pid=written["pid"], mark=written["mark"]):
        return written["pid"], written["mark"]
    return None


def addresses(*, environment: Environment, variables: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return where everything is: embedded servers' addresses whole, given ones with the password masked."""
    services = embedded.find(home=environment.home) or embedded.Services()
    host = reachable(environment.host)
    host = f"[{host}]" if ":" in host else host
    web = f"http://{host}:{environment.port}"
    database, broker = variables.get("DATABASE_URL"), variables.get("BROKER_URL")
    return {
        "api": f"{web}/operations",
        "docs": f"{web}/operations/docs",
        "console": f"{web}/console/",
        "admin": f"{web}/admin/",
        "flower": f"http://{host}:{environment.flower_port}",
        "database": masked(url=database) if database else services.database_url or "",
        "broker": masked(url=broker) if broker else services.broker_url or "",
    }


def reachable(host: str) -> str:
    """Return the host to connect to for one that is listened on."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound


def leftovers(*, home: Path) -> list[tuple[int, str]]:
    """Return (pid, mark) of every process that a supervisor of `home` started, by what it was told at its start.

    Not by the pids written down: their children, and what these started, are ours as well.
    """
    found = []
    for process in psutil.process_iter():
        try:
            told = process.environ()
        except (psutil.Error, OSError):
            continue
        if told.get("OPS_PROCESS") and told.get("OPS_HOME") == str(home) and process.pid != os.getpid():
            mark = os_processes.birth_mark(pid=process.pid)
            if mark is not None:
                found.append((process.pid, mark))
    return found


def end_leftovers(*, home: Path, within_s: float = LEFTOVER_S) -> int:
    """End what a killed supervisor left behind; return how many processes that were."""
    left = leftovers(home=home)
    os_processes.end(processes=left, steps=[(signal.SIGTERM, within_s)])
    for _ in range(KILL_ROUNDS):  # one that starts others may have done so while we looked
        remaining = leftovers(home=home)
        if not remaining:
            break
        os_processes.end(processes=remaining, steps=[(signal.SIGKILL, 5.0)])
    return len(left)


def down(*, home: Path) -> bool:
    """Stop the supervisor of `home`, whatever it left, and the servers; return whether anything ran."""
    if not (home / homes.MARKER).exists():
        return False
    ran = embedded.find(home=home) is not None
    supervisor = living(home=home)
    if supervisor is not None:
        os_processes.end(processes=[supervisor], steps=[(signal.SIGTERM, STOP_S), (signal.SIGKILL, 5.0)])
    left = end_leftovers(home=home)
    embedded.stop(home=home)
    path(home=home).unlink(missing_ok=True)
    return ran or supervisor is not None or left > 0

"""What the two embedded servers have in common: how one is described, launched as a daemon, and recognised again."""

import atexit
import contextlib
import os
import secrets
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from opsplatform import os_processes

# Kept so that a server that dies while its starter lives is reaped when next looked at, and never warned about.
_launched: dict[int, "subprocess.Popen[bytes]"] = {}


@dataclass(frozen=True, kw_only=True)
class Server:
    """A running server: its process (pid and birth mark), TCP port on 127.0.0.1, data folder, start (RFC 3339, UTC)."""

    pid: int
    mark: str
    port: int
    data: str
    started_at: str

    def lives(self) -> bool:
        """Return whether this very process still runs."""
        if self.pid in _launched:
            _launched[self.pid].poll()
        return os_processes.is_same(pid=self.pid, mark=self.mark)


def observe(*, pid: int, port: int, data: Path) -> Server | None:
    """Return the server that runs as `pid` now; None if no process does."""
    mark = os_processes.birth_mark(pid=pid)
    if mark is None:
        return None
    with contextlib.suppress(psutil.NoSuchProcess):
        started_at = datetime.fromtimestamp(psutil.Process(pid).create_time(), UTC).isoformat(timespec="milliseconds")
        return Server(pid=pid, mark=mark, port=port, data=str(data), started_at=started_at)
    return None


def launch(*, command: Sequence[str], log: Path, popen: dict[str, Any]) -> "subprocess.Popen[bytes]":
    """Start a server in a session of its own, so that neither Ctrl-C nor its starter's end reaches it."""
    with open(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as output:  # noqa: PTH123
        process = subprocess.Popen(
            command,
            cwd="/",
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            umask=0o077,
            **popen,
        )
    _launched[process.pid] = process
    return process


@atexit.register
def _let_go() -> None:
    """Servers outlive whoever started them; their Popen would complain of that at our end."""
    for process in _launched.values():
        if process.poll() is None:
            process.returncode = 0


def last_words(log: Path) -> str:
    """Return the last line of a log, for the sentence that says why."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 4096))
        lines = file.read().decode(errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else "it said nothing"


def random_port() -> int:
    """Return a port below the range the system gives to outgoing connections: none of those can take it meanwhile."""
    return 15_000 + secrets.randbelow(15_000)

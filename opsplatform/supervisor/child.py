"""One kept process: started in a session of its own, restarted with backoff, ended with all it started.

Touches processes and their log files. The session keeps the terminal's Ctrl-C from reaching it: the supervisor alone
says when it ends, so that a worker can finish what it holds.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from opsplatform import os_processes
from opsplatform.supervisor.procfile import Line

FIRST_BACKOFF_S = 0.1
LONGEST_BACKOFF_S = 5.0
STEADY_S = 10.0  # having lived this long, it is no longer failing to start
LOG_LIMIT_BYTES = 20 * 2**20
PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


@dataclass(kw_only=True)
class Child:
    """A Procfile line and its process of the moment."""

    line: Line
    variables: Mapping[str, str]
    folder: Path
    log: Path
    restarts: int = 0
    started_at: datetime | None = None
    mark: str | None = None
    due: float | None = 0.0  # on the monotonic clock: when to start (again); None while it runs
    _process: "subprocess.Popen[bytes] | None" = None
    _backoff_s: float = FIRST_BACKOFF_S
    _since: float = field(default=0.0)

    @property
    def pid(self) -> int | None:
        """The process's pid, None between two lives."""
        return self._process.pid if self._process else None

    def start(self) -> str | None:
        """Start it; return None, or why it could not be started (then it is due again later)."""
        arguments = self.line.arguments(variables=self.variables)
        try:
            self._process = spawn(arguments=arguments, variables=self.variables, folder=self.folder, log=self.log)
        except OSError as error:
            self._again_later()
            return f"{arguments[0]}: {error.strerror}"
        self.mark = os_processes.birth_mark(pid=self._process.pid)
        self.started_at = datetime.now(UTC)
        self._since = time.monotonic()
        self.due = None
        return None

    def died(self) -> int | None:
        """Return None while it lives; once, when it has died, its exit code (negative: the signal).

        What it left behind in its group goes with it: a pool child whose parent is gone would run on under nobody's
        eyes. (The group's number cannot be another's yet: the kernel hands pids out in turn.)
        """
        if self._process is None or (code := self._process.poll()) is None:
            return None
        _kill_group(self._process.pid)
        self._process = None
        if time.monotonic() - self._since >= STEADY_S:
            self._backoff_s = FIRST_BACKOFF_S
        self._again_later()
        self.restarts += 1
        return code

    def ask_to_stop(self) -> None:
        """Send SIGTERM to the process itself; its own children are its own to stop."""
        if self._process is not None:
            os_processes.send(pid=self._process.pid, sign=signal.SIGTERM)

    def kill(self) -> None:
        """Kill it and all of its group, and collect it."""
        if self._process is not None:
            _kill_group(self._process.pid)
            self._process.wait()
            self._process = None

    def _again_later(self) -> None:
        self.due = time.monotonic() + self._backoff_s
        self._backoff_s = min(self._backoff_s * 2, LONGEST_BACKOFF_S)


def spawn(*, arguments: list[str], variables: Mapping[str, str], folder: Path, log: Path) -> "subprocess.Popen[bytes]":
    """Start a process in its own session, its output going to `log`; on Linux it is told to stop when we die."""
    with open(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as output:  # noqa: PTH123
        return subprocess.Popen(
            arguments,
            cwd=folder,
            env=dict(variables),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            **_followed(),
        )


def rotate(*, log: Path) -> None:
    """Set a log aside that has grown past the limit; one older is kept."""
    with contextlib.suppress(FileNotFoundError):
        if log.stat().st_size > LOG_LIMIT_BYTES:
            log.replace(log.with_name(f"{log.name}.1"))


def _followed() -> dict[str, Any]:
    """Return what makes the child follow our death; safe between fork and exec since the supervisor has one thread."""
    return {"preexec_fn": partial(_follow, os.getpid(), _libc.prctl)} if _libc is not None else {}


def _follow(parent: int, prctl: Callable[[int, int], int]) -> None:
    prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # we died before the line above
        os._exit(1)


def _kill_group(leader: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)

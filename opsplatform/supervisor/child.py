"""One kept process: started in a session of its own, restarted with backoff, ended with all it started.

Touches processes and their log files. The session keeps the terminal's Ctrl-C from reaching it: the supervisor alone
says when it ends, so that a worker can finish what it holds.
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Protocol

from opsplatform import os_processes
from opsplatform.supervisor.procfile import Line

FIRST_BACKOFF_S = 0.1
LONGEST_BACKOFF_S = 5.0
STEADY_S = 10.0  # having lived this long, it is no longer failing to start
LOG_LIMIT_BYTES = 20 * 2**20


class Process(Protocol):
    """A child process of ours, as `subprocess.Popen` shows one."""

    @property
    def pid(self) -> int:
        """Its pid."""

    def poll(self) -> int | None:
        """Return None while it runs, then its exit code (negative: the signal)."""

    def wait(self) -> int:
        """Wait until it has ended and return its exit code."""


class Forks(Protocol):
    """What can start a process by forking instead."""

    @property
    def loading(self) -> bool:
        """Whether it soon will be able to."""

    def fork(self, *, arguments: list[str], variables: Mapping[str, str], folder: Path, log: Path) -> Process | None:
        """Start a process; return None if that cannot be had now."""


@dataclass(kw_only=True)
class Child:
    """A Procfile line and its process of the moment."""

    line: Line
    variables: Mapping[str, str]
    folder: Path
    log: Path
    forks: Forks | None = None
    restarts: int = 0
    started_at: datetime | None = None
    mark: str | None = None
    due: float | None = 0.0  # on the monotonic clock: when to start (again); None while it runs
    _process: Process | None = None
    _backoff_s: float = FIRST_BACKOFF_S
    _since: float = field(default=0.0)

    @property
    def pid(self) -> int | None:
        """The process's pid, None between two lives."""
        return self._process.pid if self._process else None

    def starts_at(self) -> float | None:
        """Return when it is to be started, on the monotonic clock; None while it runs or waits to be forked."""
        return None if self.forks is not None and self.forks.loading else self.due

    def start(self) -> str | None:
        """Start it; return None, or why it could not be started (then it is due again later)."""
        arguments = self.line.arguments(variables=self.variables)
        try:
            self._process = self._launch(arguments)
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

    def _launch(self, arguments: list[str]) -> Process:
        forked = None
        if self.forks is not None:
            forked = self.forks.fork(arguments=arguments, variables=self.variables, folder=self.folder, log=self.log)
        return forked or spawn(arguments=arguments, variables=self.variables, folder=self.folder, log=self.log)

    def _again_later(self) -> None:
        self.due = time.monotonic() + self._backoff_s
        self._backoff_s = min(self._backoff_s * 2, LONGEST_BACKOFF_S)


def spawn(
    *, arguments: list[str], variables: Mapping[str, str], folder: Path, log: Path, handing: Sequence[int] = ()
) -> "subprocess.Popen[bytes]":
    """Start a process in its own session, its output going to `log`; on Linux it is told to stop when we die.

    `handing` are file descriptors that it gets from us. (What comes before its exec is safe: we have one thread.)
    """
    with open(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as output:  # noqa: PTH123
        return subprocess.Popen(
            arguments,
            cwd=folder,
            env=dict(variables),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=partial(os_processes.follow, parent=os.getpid()) if os_processes.ON_LINUX else None,  # noqa: PLW1509
            pass_fds=handing,
        )


def rotate(*, log: Path) -> None:
    """Set a log aside that has grown past the limit; one older is kept."""
    with contextlib.suppress(FileNotFoundError):
        if log.stat().st_size > LOG_LIMIT_BYTES:
            log.replace(log.with_name(f"{log.name}.1"))


def _kill_group(leader: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)

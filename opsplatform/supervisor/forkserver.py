"""The supervisor's end of the fork server (`opsplatform/forkserver`): keeps it, and asks it for processes.

Everything here may fail: then a process is started by its Procfile line, as anybody else would start it.
"""

import json
import os
import shlex
import signal
import socket
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from manage import ROLE_OF_COMMAND
from opsplatform import os_processes
from opsplatform.supervisor.child import Child, Process, spawn
from opsplatform.supervisor.procfile import Line

NAME = "forkserver"
LOADING_S = 30.0  # longer than this nobody waits for it
ANSWER_S = 5.0
LONGEST_MESSAGE = 2**20


def command_of(line: Line) -> str | None:
    """Return which command of Celery or of `manage.py` a line runs; None if it is not one of the control role's."""
    match shlex.split(line.command):
        case ["python", "manage.py", command, *_] if ROLE_OF_COMMAND.get(command) == "control":
            return command
        case ["celery", "-A", "opsplatform", command, *_]:
            return command
    return None


def line_for(lines: Iterable[Line]) -> Line:
    """Return the line that starts a server for `lines`; the dash stands for its socket."""
    commands = " ".join(dict.fromkeys(command for line in lines if (command := command_of(line)) is not None))
    return Line(name=NAME, command=f"{shlex.quote(sys.executable)} -m opsplatform.forkserver - {commands}")


@dataclass(kw_only=True)
class ForkServer(Child):
    """The server's process, and what it is asked."""

    _channel: socket.socket | None = None
    _ready: bool = False

    @property
    def loading(self) -> bool:
        """Whether it runs and will soon fork; reads whether it has said that it can."""
        if self.pid is None or self._ready or self._channel is None:
            return False
        self._ready = bool((self._heard(within_s=0) or {}).get("ready"))
        return not self._ready and time.monotonic() - self._since < LOADING_S

    def listened_to(self) -> list[socket.socket]:
        """Return the socket on which it will say that it can fork, if it has not."""
        return [self._channel] if self._channel is not None and self.loading else []

    def fork(self, *, arguments: list[str], variables: Mapping[str, str], folder: Path, log: Path) -> Process | None:
        """Have a process forked that is our own child; return None if that fails. A server that is silent is ended."""
        if self.pid is None or not self._ready or self._channel is None:
            return None
        asked = {"arguments": arguments, "variables": dict(variables), "folder": str(folder), "log": str(log)}
        try:
            self._channel.send(json.dumps(asked).encode())
        except OSError:
            return None
        answer = self._heard(within_s=ANSWER_S)
        if answer is None:  # whom it may yet fork finds it dead, and ends
            self._ready = False
            os_processes.send(pid=self.pid, sign=signal.SIGKILL)
        return Forked(pid=answer["pid"]) if answer and "pid" in answer else None

    def died(self) -> int | None:
        """As any child's; whoever is to be started meanwhile does not wait for the next."""
        code = super().died()
        if code is not None:
            self._ready = False
            if self._channel is not None:
                self._channel.close()
                self._channel = None
        return code

    def _launch(self, arguments: list[str]) -> Process:
        """Start it with one end of a new channel; the other is ours."""
        self._channel, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with its:
            arguments = [str(its.fileno()) if word == "-" else word for word in arguments]
            return spawn(
                arguments=arguments, variables=self.variables, folder=self.folder, log=self.log, handing=[its.fileno()]
            )

    def _heard(self, *, within_s: float) -> dict[str, Any] | None:
        """Return its next message; None if there is none in time."""
        if self._channel is None:
            return None
        self._channel.settimeout(within_s)
        try:
            answer: dict[str, Any] = json.loads(self._channel.recv(LONGEST_MESSAGE) or b"{}")
        except (OSError, ValueError):
            return None
        return answer


class Forked:
    """A process that somebody else forked and the kernel made our child."""

    def __init__(self, *, pid: int) -> None:
        self.pid = pid
        self._code: int | None = None

    def poll(self) -> int | None:
        """Return None while it runs, then its exit code (negative: the signal)."""
        if self._code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self._code = os.waitstatus_to_exitcode(status) if pid else None
        return self._code

    def wait(self) -> int:
        """Wait until it has ended and return its exit code."""
        if self._code is None:
            self._code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self._code

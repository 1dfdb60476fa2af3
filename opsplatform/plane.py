"""A whole plane as a context: `make demo` and the tests start one, talk to it, hurt it, and stop it.

Starts `python -m opsplatform.supervisor up` as a process of its own, just as a person's terminal would. Imports no
Django, and knows the plane only by what it writes under its OPS_HOME.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from opsplatform import os_processes

CHECKOUT = Path(__file__).resolve().parents[1]


class PlaneError(RuntimeError):
    """The plane did not come up, or did not stop in time; the message holds its last words."""


class Plane:
    """One plane on `home`, serving on `port`; `with Plane(...) as plane:` waits until it is ready.

    `variables` are added to our own environment; `only` limits which Procfile lines start (all if empty); `procfile`
    and `set_up` serve tests that bring processes of their own. The plane ends by itself when this process does.
    """

    def __init__(
        self,
        *,
        home: Path,
        port: int,
        flower_port: int,
        variables: Mapping[str, str] | None = None,
        only: Sequence[str] = (),
        procfile: Path = CHECKOUT / "Procfile",
        set_up: bool = True,
        ready_within_s: float = 120,
    ) -> None:
        self.home = home.expanduser().resolve()
        self.port = port
        self.procfile = procfile
        self.set_up = set_up
        self.ready_within_s = ready_within_s
        self.variables = {
            **os.environ,
            **(variables or {}),
            "OPS_HOME": str(self.home),
            "OPS_PORT": str(port),
            "OPS_FLOWER_PORT": str(flower_port),
            "OPS_ONLY": ",".join(only),
        }
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start it and wait until it is ready; raise `PlaneError` if it ends before, or is not ready in time."""
        self.launch()
        process = self.supervisor
        if not os_processes.wait_until(
            lambda: self.is_ready() or process.poll() is not None, within_s=self.ready_within_s, every_s=0.05
        ):
            self.stop()
            raise PlaneError(f"the plane was not ready within {self.ready_within_s:.0f} s: {self.output()[-2000:]}")
        if process.returncode is not None:
            raise PlaneError(f"the plane ended with code {process.returncode}: {self.output()[-2000:]}")

    def launch(self) -> None:
        """Start it without waiting."""
        command = [sys.executable, "-m", "opsplatform.supervisor", "up", "--procfile", str(self.procfile)]
        command += ["--with-parent", str(os.getpid())]
        command += [] if self.set_up else ["--no-set-up"]
        self._output.parent.mkdir(parents=True, exist_ok=True)
        # The lines say where the database is, password included: nobody else may read them.
        self._output.touch(mode=0o600)
        self._output.chmod(0o600)
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                cwd=CHECKOUT,
                env=self.variables,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def supervisor(self) -> "subprocess.Popen[bytes]":
        """The supervisor's process; raise `PlaneError` before it was launched."""
        if self._process is None:
            raise PlaneError("the plane was not started")
        return self._process

    @property
    def _output(self) -> Path:
        return self.home.with_name(f"{self.home.name}.output")  # beside: OPS_HOME must begin empty

    def output(self) -> str:
        """Return what the supervisor has printed."""
        return self._output.read_text(encoding="utf-8", errors="replace")

    def state(self) -> dict[str, Any]:
        """Return what the supervisor last wrote of itself: ready, addresses, processes; empty if it has not."""
        with contextlib.suppress(FileNotFoundError):
            written: dict[str, Any] = json.loads((self.home / "run" / "supervisor.json").read_text(encoding="utf-8"))
            if written["pid"] == self.supervisor.pid:
                return written
        return {}

    def is_ready(self) -> bool:
        """Return whether every process runs and the API says so too."""
        return bool(self.state().get("ready"))

    @property
    def addresses(self) -> dict[str, str]:
        """Where it is: api, docs, admin, flower, database, broker."""
        return dict(self.state()["addresses"])

    @property
    def url(self) -> str:
        """The address of the web process, without a path."""
        return self.addresses["api"].removesuffix("/operations")

    def processes(self) -> dict[str, dict[str, Any]]:
        """Return name → {pid, started_at, restarts}; pid is None between two lives."""
        return {process["name"]: process for process in self.state().get("processes", [])}

    def pid(self, name: str) -> int:
        """Return the pid of the Procfile's `name` at this moment; raise `PlaneError` if it does not run."""
        pid = self.processes().get(name, {}).get("pid")
        if pid is None:
            raise PlaneError(f"{name} does not run")
        return int(pid)

    def kill(self, name: str, *, within_s: float = 30) -> int:
        """Kill the process `name` (SIGKILL) and return the pid of the one started in its place."""
        before = self.pid(name)
        os.kill(before, signal.SIGKILL)

        def replaced() -> bool:
            return self.processes().get(name, {}).get("pid") not in {None, before}

        if not os_processes.wait_until(replaced, within_s=within_s):
            raise PlaneError(f"{name} was not started again within {within_s:.0f} s: {self.output()[-2000:]}")
        return self.pid(name)

    def stop(self, *, within_s: float = 80) -> int:
        """Stop it as Ctrl-C would; return its exit code; raise `PlaneError` if it does not stop in time."""
        process = self.supervisor
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            return process.wait(within_s)
        except subprocess.TimeoutExpired as error:
            process.kill()
            process.wait()
            raise PlaneError(f"the plane did not stop within {within_s:.0f} s: {self.output()[-2000:]}") from error

"""`up`: servers, set-up, processes; then watching until told to stop. One thread: a signal wakes the loop."""

import contextlib
import http.client
import os
import select
import shutil
import signal
import socket
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

from opsplatform import embedded, os_processes
from opsplatform.embedded import home as homes
from opsplatform.embedded.server import last_words
from opsplatform.settings.environment import CHECKOUT, Environment
from opsplatform.supervisor import forkserver, state
from opsplatform.supervisor.child import Child, rotate, spawn
from opsplatform.supervisor.forkserver import ForkServer
from opsplatform.supervisor.procfile import Line

GRACE_S = 45.0  # a worker's grace (20 s), and time enough for whoever has to write its last words to a slow database
TICK_S = 1.0
AGAIN_S = 1.0  # a second Ctrl-C within this is the same one, told twice (terminal and make)
READY_TRY_S = 0.2
SLOW_START_S = 60.0
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Supervisor:
    """The processes of one plane. `run` returns the exit code once nothing of it runs any more."""

    def __init__(
        self, *, environment: Environment, lines: list[Line], folder: Path, set_up: list[str], parent: int | None
    ) -> None:
        """`set_up` is run before the processes; with `parent`, the plane ends when that process is no longer ours."""
        self.environment = environment
        self.home = environment.home
        self.folder = folder
        self.set_up = set_up
        self.parent = parent
        self.lines = lines
        self.children: list[Child] = []
        self.forkserver: ForkServer | None = None
        self.ready = False
        self.began = datetime.now(UTC)
        self._asked_at: float | None = None
        self._asked_again = False
        self._servers_due = 0.0
        self._ready_due = 0.0
        self._woken, self._waker = socket.socketpair()

    def run(self) -> int:
        """Bring everything up, keep it up, and take it down; raise `EmbeddedError` if it cannot be brought up."""
        homes.prepare(home=self.home)
        with contextlib.ExitStack() as stack:
            stack.enter_context(contextlib.closing(self._woken))
            stack.enter_context(contextlib.closing(self._waker))
            self._listen()
            stack.callback(self._listen_no_more)
            try:
                stack.enter_context(homes.locked(home=self.home, name="supervisor", within_s=0))
            except embedded.EmbeddedError:
                pid = state.read(home=self.home).get("pid", "starting")
                raise embedded.EmbeddedError(
                    f"a plane already runs on {self.home} (pid {pid}): make down, or name another OPS_HOME and OPS_PORT"
                ) from None
            return self._run()

    def _run(self) -> int:
        left = state.end_leftovers(home=self.home)
        if left:
            self._say("supervisor", f"ended {left} processes that an earlier one had left")
        self._check_ports()
        try:
            embedded.start(home=self.home)
            self._write()
            code = self._set_up()
            if code == 0 and self._asked_at is None:
                self._begin()
                self._watch()
            return code
        finally:
            self._end()

    # -- before

    def _check_ports(self) -> None:
        wanted = {
            "web": ("OPS_PORT", self.environment.port),
            "flower": ("OPS_FLOWER_PORT", self.environment.flower_port),
        }
        for line in self.lines:
            if line.name in wanted:
                variable, port = wanted[line.name]
                why = os_processes.why_not_listen(host=self.environment.host, port=port)
                if why is not None:
                    at = f"{self.environment.host}:{port}"
                    raise embedded.EmbeddedError(f"{at} cannot be listened on ({why}): set {variable} to a free port")

    def _set_up(self) -> int:
        """Run the set-up, its output in our log; say its last words if it fails. Stops early when asked to."""
        if not self.set_up:
            return 0
        log = self.home / "logs" / "set_up.log"
        rotate(log=log)
        variables = self._variables("set_up")
        process = spawn(arguments=self.set_up, variables=variables, folder=self.folder, log=log)
        while process.poll() is None:
            self._wait(TICK_S)
            if self._asked_at is not None:
                process.terminate()
        if process.returncode and self._asked_at is None:
            sys.stderr.write(f"set-up failed with code {process.returncode}: {last_words(log)} (see {log})\n")
            return 2 if process.returncode == 2 else 1  # noqa: PLR2004 - 2: the surroundings, 1: ours
        return 0

    def _begin(self) -> None:
        metrics = self.home / "run" / "metrics"
        shutil.rmtree(metrics, ignore_errors=True)
        metrics.mkdir(mode=0o700)
        forkable = [line for line in self.lines if forkserver.command_of(line) is not None]
        if len(forkable) > 1 and self.folder == CHECKOUT and os_processes.adopt_orphans():
            self.forkserver = ForkServer(**self._surroundings(forkserver.line_for(forkable)))
        for line in self.lines:
            forks = self.forkserver if line in forkable else None
            child = Child(**self._surroundings(line), forks=forks)
            line.arguments(variables=child.variables)  # a defect in any line shows before anything starts
            self.children.append(child)

    def _surroundings(self, line: Line) -> dict[str, Any]:
        log = self.home / "logs" / f"{line.name}.log"
        rotate(log=log)
        return {"line": line, "variables": self._variables(line.name), "folder": self.folder, "log": log}

    def _variables(self, name: str) -> dict[str, str]:
        """Return the surroundings of the process `name`."""
        own = {
            "OPS_HOME": str(self.home),
            "OPS_HOST": self.environment.host,
            "OPS_PORT": str(self.environment.port),
            "OPS_FLOWER_PORT": str(self.environment.flower_port),
            "OPS_PROCESS": name,
            "PROMETHEUS_MULTIPROC_DIR": str(self.home / "run" / "metrics"),
            "PYTHONUNBUFFERED": "1",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        }
        if name == "set_up":
            del own["PROMETHEUS_MULTIPROC_DIR"]
        if name == "flower":
            own["FLOWER_BASIC_AUTH"] = self._flower_login()
        return {**os.environ, **own}

    def _flower_login(self) -> str:
        """Return Flower's `user:password`, handed over by its environment: the arguments are there for all to see."""
        written = self.environment.keys / "flower.auth"
        try:
            return written.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise embedded.EmbeddedError(f"Flower's login cannot be read: {written}: {error.strerror}") from error

    # -- while

    def _watch(self) -> None:
        began = time.monotonic()
        slow = False
        while self._asked_at is None:
            self._keep()
            self._revive_servers()
            if not self.ready and time.monotonic() >= self._ready_due:
                self._look_whether_ready()
                self._ready_due = time.monotonic() + READY_TRY_S
            if not self.ready and not slow and time.monotonic() - began > SLOW_START_S:
                slow = True
                self._say("supervisor", f"not ready after {SLOW_START_S:.0f} s; the logs are in {self.home / 'logs'}")
            if self.parent is not None and os.getppid() != self.parent:
                self._asked_at = time.monotonic()
            self._wait(self._pause())

    def _keep(self) -> None:
        """Note what died, start what is due."""
        changed = False
        for child in self._kept():
            code = child.died()
            if code is not None:
                changed = True
                how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"died with code {code}"
                said = last_words(child.log) if code > 0 else ""
                self._say(child.line.name, f"{how}{f': {said[:200]}' if said else ''}")
            due = child.starts_at()
            if due is not None and time.monotonic() >= due:
                changed = True
                why = child.start()
                what = "restarted" if child.restarts else "started"
                self._say(child.line.name, f"cannot be started: {why}" if why else f"{what} (pid {child.pid})")
        os_processes.collect_orphans(kept=[child.pid for child in self._kept() if child.pid])
        if changed:
            self._write()

    def _kept(self) -> list[Child]:
        """Return what is kept running, the fork server first: others wait for it."""
        return [*([self.forkserver] if self.forkserver else []), *self.children]

    def _revive_servers(self) -> None:
        if time.monotonic() < self._servers_due:
            return
        self._servers_due = time.monotonic() + TICK_S
        try:
            for name in embedded.revive(home=self.home):
                self._say(name, "had died; started again")
        except embedded.EmbeddedError as error:
            self._say("supervisor", str(error))
            self._servers_due = time.monotonic() + 5 * TICK_S

    def _look_whether_ready(self) -> None:
        if any(child.pid is None for child in self.children):
            return
        if any(child.line.name == "web" for child in self.children) and not self._web_is_ready():
            return
        self.ready = True
        self._write()
        where = state.addresses(environment=self.environment)
        self._say("supervisor", "ready")
        width = max(len(name) for name in where)
        lines = [f"  {name:{width}}  {address}" for name, address in where.items()]
        lines.append(f"  {'login':{width}}  {self.home / 'operator'}")
        self._print("\n".join(lines))

    def _web_is_ready(self) -> bool:
        host = state.reachable(self.environment.host)
        connection = http.client.HTTPConnection(host, self.environment.port, timeout=2)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _pause(self) -> float:
        """Return how long nothing is due; a dying child or a signal wakes us before."""
        dues = [due for child in self._kept() if (due := child.starts_at()) is not None]
        if not self.ready:
            dues.append(self._ready_due)
        return max(0.0, min([due - time.monotonic() for due in dues] + [TICK_S]))

    # -- after

    def _end(self) -> None:
        """Ask all to stop, kill what has not within the grace (or when asked again), the servers last."""
        if self.children:
            self._say("supervisor", "stopping")
        self.ready = False
        for child in self._kept():
            child.ask_to_stop()
        deadline = time.monotonic() + GRACE_S
        running = [child for child in self._kept() if child.pid is not None]
        while running and time.monotonic() < deadline and not self._asked_again:
            running = [child for child in running if child.died() is None]
            if running:
                self._wait(TICK_S)
        for child in running:
            self._say(child.line.name, "killed: it had not stopped in time")
            child.kill()
        state.end_leftovers(home=self.home)
        embedded.stop(home=self.home)
        state.path(home=self.home).unlink(missing_ok=True)
        if self.children:
            self._say("supervisor", "stopped; nothing is left running")

    # -- signals and telling

    def _listen(self) -> None:
        self._woken.setblocking(False)
        self._waker.setblocking(False)
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for sign in STOPPING:
            signal.signal(sign, self._asked)

    def _listen_no_more(self) -> None:
        """All is stopped: being told once more, while Python itself ends, must not turn the exit code into a signal."""
        for sign in STOPPING:
            signal.signal(sign, signal.SIG_IGN)
        signal.set_wakeup_fd(-1)

    def _asked(self, _sign: int, _frame: FrameType | None) -> None:
        if self._asked_at is None:
            self._asked_at = time.monotonic()
        elif time.monotonic() - self._asked_at > AGAIN_S:
            self._asked_again = True

    def _wait(self, seconds: float) -> None:
        listening = self.forkserver.listened_to() if self.forkserver else []
        if self._woken in select.select([self._woken, *listening], [], [], seconds)[0]:
            with contextlib.suppress(BlockingIOError):
                self._woken.recv(4096)

    def _write(self) -> None:
        document: Mapping[str, Any] = {
            "pid": os.getpid(),
            "mark": os_processes.birth_mark(pid=os.getpid()),
            "started_at": _stamp(self.began),
            "ready": self.ready,
            "addresses": state.addresses(environment=self.environment),
            "forkserver": _told(self.forkserver) if self.forkserver else None,
            "processes": [_told(child) for child in self.children],
        }
        homes.write_json(path=state.path(home=self.home), document=document)

    def _say(self, name: str, what: str) -> None:
        self._print(f"{datetime.now(UTC):%H:%M:%S} {name:<16} {what}")

    def _print(self, text: str) -> None:
        path = self.home / "logs" / "supervisor.log"
        path.touch(mode=0o600)  # its lines name the database, password included
        with path.open("a", encoding="utf-8") as log:
            log.write(f"{text}\n")
        with contextlib.suppress(OSError):  # the terminal may be gone; that is when stopping well matters most
            sys.stdout.write(f"{text}\n")
            sys.stdout.flush()


def _told(child: Child) -> dict[str, Any]:
    return {
        "name": child.line.name,
        "pid": child.pid,
        "mark": child.mark if child.pid else None,
        "started_at": _stamp(child.started_at),
        "restarts": child.restarts,
    }


def _stamp(moment: datetime | None) -> str | None:
    return moment.isoformat(timespec="milliseconds") if moment else None

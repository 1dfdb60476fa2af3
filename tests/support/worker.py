"""A worker beside the plane's own, with surroundings of the test's making."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urlsplit

import psutil

from opsplatform import embedded
from opsplatform.plane import CHECKOUT, Plane


@contextmanager
def extra_worker(
    plane: Plane, *, name: str, database_port: int | None = None, variables: Mapping[str, str] | None = None
) -> Iterator[psutil.Process]:
    """Run a worker `name` of the batch environment; it reaches PostgreSQL on `database_port`, if that is given."""
    services = embedded.find(home=plane.home)
    assert services is not None
    url = urlsplit(services.database_url or "")
    port = database_port or url.port
    environment = {
        **os.environ,
        "OPS_HOME": str(plane.home),
        "OPS_PROCESS": f"worker-{name}",
        "DATABASE_URL": url._replace(netloc=f"{url.username}:{url.password}@127.0.0.1:{port}").geturl(),
        "BROKER_URL": services.broker_url or "",
        **(variables or {}),
    }
    command = [".venv/bin/celery", "-A", "opsplatform", "worker", "-Q", "ops.batch", "-c", "1", "-n", f"{name}@%h"]
    command += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    process = subprocess.Popen(
        command, cwd=CHECKOUT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield psutil.Process(process.pid)
    finally:
        if process.poll() is None:
            for each in psutil.Process(process.pid).children(recursive=True):
                each.kill()
            process.kill()
        process.wait()

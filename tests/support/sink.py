"""The built-in evidence sink as a process of its own, in a folder of a test's."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from opsplatform.os_processes import wait_until

CHECKOUT = Path(__file__).resolve().parents[2]


@dataclass
class SinkProcess:
    """A sink that can be stopped and started again on the same folder."""

    folder: Path
    published: Path
    process: subprocess.Popen[bytes] | None = field(default=None)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        (self.folder / "address.json").unlink(missing_ok=True)
        served = ["workers.sink:application", "--config", "opsplatform/gunicorn_sink.py"]
        variables = {"OPS_SINK_HOME": str(self.folder), "OPS_SINK_KEYS": str(self.published), "OPS_SINK_BIND": ""}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", *served], cwd=CHECKOUT, env={**os.environ, **variables}
        )
        assert wait_until(lambda: (self.folder / "witness.key").exists() and self.url() is not None, within_s=20)

    def stop(self) -> None:
        """End it, and wait until it is gone."""
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(timeout=20)
            self.process = None

    def forget(self) -> None:
        """Let it lose all that it saw, but for its key."""
        for path in (self.folder / "logs").glob("*/*"):
            path.unlink()

    def url(self) -> str | None:
        """Return its address, once it has one."""
        path = self.folder / "address.json"
        return str(json.loads(path.read_text())["url"]) if path.exists() else None

    def checkpoint(self, origin: str) -> str:
        """Return the checkpoint of a log that it last cosigned."""
        return str(httpx.get(f"{self.url()}checkpoint", params={"origin": origin}, timeout=5).json()["checkpoint"])

    def post(self, body: bytes, path: str = "") -> tuple[int, dict[str, Any]]:
        """Send anything to it; return the status and what it said."""
        answer = httpx.post(f"{self.url()}{path}", content=body, timeout=5)
        return answer.status_code, dict(answer.json())


@contextmanager
def sinking(*, folder: Path, published: Path) -> Iterator[SinkProcess]:
    """Run a sink."""
    made = SinkProcess(folder=folder, published=published)
    made.start()
    try:
        yield made
    finally:
        made.stop()

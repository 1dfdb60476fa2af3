"""Decision points as processes of their own."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tests.support.client import wait_for

CHECKOUT = Path(__file__).resolve().parents[2]


class Stranger:
    """The process of `tests.support.stranger` on `port`; started again after `stop` it forgets how to behave."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = [sys.executable, "-m", "tests.support.stranger", str(self.port)]
        self._process = subprocess.Popen(command, cwd=CHECKOUT, stdin=subprocess.PIPE)
        wait_for(self._answers, what="the stranger answers", within_s=20)

    def stop(self) -> None:
        """Kill it."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def behave(self, **behaviour: Any) -> None:
        """Say how it shall answer from now on."""
        self._call("PUT", behaviour)

    def state(self) -> dict[str, Any]:
        """Return what it was asked since it was last told how to behave."""
        return self._call("GET", None)

    def _answers(self) -> bool:
        try:
            self.state()
        except (urllib.error.URLError, OSError):
            return False
        return True

    def _call(self, method: str, body: Any) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/behaviour", data=data, method=method)  # noqa: S310 - loopback
        with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310
            return dict(json.loads(answer.read()))

"""Claim: how long a submission takes through HTTP until the job is queued; baseline: Celery's `send_task` from Python.

An open loop: requests leave when they are due, whether or not those before were answered, and each is timed from when
it was due, so that a stall counts for all whom it kept waiting. Connections are kept. The jobs run meanwhile.
"""

from __future__ import annotations

import http.client
import json
import queue
import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from benchmarks.figures import Row, spread
from benchmarks.ground import Ground, bare_app

CALLERS = 16
BODY = json.dumps({"type": "ops.noop", "tenant_id": "acme", "params": {}}).encode()


def measure(at: Ground, *, rate: int, seconds: float, token: str) -> Row:
    """Return the spread of submissions at `rate` a second, in ms, p50 / p95 / p99."""
    address = urlsplit(at.plane.url).netloc
    ours = spread(open_loop(rate=rate, seconds=seconds, caller=lambda: http_caller(address=address, token=token)))
    theirs = spread(open_loop(rate=rate, seconds=seconds, caller=lambda: bare_caller(bare_app(at))))
    return Row(
        claim=f"submission → queued at {rate}/s, ms p50 / p95 / p99 (n={ours.count})",
        plane=str(ours),
        baseline=f"{theirs} (from Python)",
        ratio=ours.p95 / theirs.p95,
        target="p95 < 25, p99 < 60" if rate == 100 else "",
        met=ours.p95 < 25 and ours.p99 < 60 if rate == 100 else None,
    )


def open_loop(*, rate: int, seconds: float, caller: Callable[[], Callable[[], None]]) -> list[float]:
    """Call at `rate` a second for `seconds`; return how long each took from when it was due.

    `caller` makes, for each thread, what is called. The first tenth warms up and is left out.
    """
    due: queue.SimpleQueue[float | None] = queue.SimpleQueue()
    took: list[tuple[float, float]] = []
    failed: list[BaseException] = []

    def work() -> None:
        call = caller()
        while (at := due.get()) is not None:
            try:
                call()
            except BaseException as error:  # noqa: BLE001 - told by the main thread
                failed.append(error)
                return
            took.append((at, time.monotonic() - at))

    threads = [threading.Thread(target=work, daemon=True) for _ in range(CALLERS)]
    for thread in threads:
        thread.start()
    began = time.monotonic() + 0.2
    for number in range(int(rate * seconds)):
        at = began + number / rate
        time.sleep(max(0.0, at - time.monotonic()))
        due.put(at)
    for _ in threads:
        due.put(None)
    for thread in threads:
        thread.join(timeout=30)
    if failed:
        raise failed[0]
    return [seconds for _, seconds in sorted(took)][int(rate * seconds / 10) :]


def http_caller(*, address: str, token: str) -> Callable[[], None]:
    """Return a caller that submits one job over a connection it keeps, and wants it queued."""
    connection = http.client.HTTPConnection(address, timeout=30)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def call() -> None:
        submit(connection, headers=headers, body=BODY)

    return call


def submit(connection: http.client.HTTPConnection, *, headers: dict[str, str], body: bytes) -> dict[str, Any]:
    """Submit a job and return it as answered; raise `RuntimeError` if it was not queued."""
    connection.request("POST", "/operations/jobs", body, headers)
    answer = connection.getresponse()
    content = answer.read()
    if answer.status != http.HTTPStatus.ACCEPTED:
        raise RuntimeError(f"not accepted: {answer.status} {content[:300]!r}")
    return dict(json.loads(content))


def bare_caller(app: Any) -> Callable[[], None]:
    """Return a caller that publishes one no-op."""
    return lambda: app.send_task("bare.noop", queue="bare-unread")

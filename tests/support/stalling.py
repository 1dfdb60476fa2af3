"""A worker that lives, beats and answers, and consumes nothing any more: told so by a file, once a file.

Loaded into the plane's processes beside the test's job types; only a worker's main process ever listens.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

from celery import signals


def order_to(home: Path, node: str) -> Path:
    """Return the file by which a worker (`batch`) is told to stop consuming."""
    return home / f"stall-{node}"


def listen(consumer: Any) -> None:
    """Wait for the file; then take it away, and consume nothing from here on."""
    order = order_to(Path(os.environ["OPS_HOME"]), str(consumer.hostname).partition("@")[0])
    while not order.exists():
        time.sleep(0.2)  # the pause of a wait on a condition
    order.unlink()
    consumer.call_soon(consumer.task_consumer.cancel)


@signals.worker_ready.connect(weak=False)
def on_ready(sender: Any, **_: Any) -> None:
    threading.Thread(target=listen, args=(sender,), name="stalling", daemon=True).start()

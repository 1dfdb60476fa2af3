"""The baseline: the smallest Celery app, by Celery's own defaults; no results, no events, no governance."""

from __future__ import annotations

import os
import time
from typing import Any

from celery import Celery

QUEUE = "bare"
STAMPS = "bare.stamps"
LIMITED = "bare.limited.times"
RATE_S = 50

app = Celery("bare", broker=os.environ.get("BARE_BROKER_URL"))
app.conf.update(
    task_ignore_result=True,
    result_backend=None,
    task_default_queue=QUEUE,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
)


@app.task(name="bare.noop", ignore_result=True)
def noop() -> None:
    """Do nothing."""


@app.task(name="bare.nap", ignore_result=True)
def nap(seconds: float) -> None:
    """Do nothing for a while."""
    time.sleep(seconds)


@app.task(name="bare.stamp", ignore_result=True, bind=True)
def stamp(self: Any, sent_at: float) -> None:
    """Say how long it took from `sent_at` (this machine's clock) until here."""
    delay = time.time() - sent_at
    with self.app.connection_or_acquire() as connection:
        connection.default_channel.client.rpush(STAMPS, repr(delay))


@app.task(name="bare.limited", ignore_result=True, bind=True, rate_limit=f"{RATE_S}/s")
def limited(self: Any) -> None:
    """Say when it began."""
    with self.app.connection_or_acquire() as connection:
        connection.default_channel.client.rpush(LIMITED, repr(time.time()))

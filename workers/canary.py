"""The canary's two ends: the watcher puts it into a queue, a worker's process takes it out, as jobs go and come."""

from __future__ import annotations

import hashlib
import hmac
import os
from typing import Any
from uuid import UUID

import structlog
from kombu.exceptions import KombuError

from apps.core import metrics
from apps.health import canary
from apps.health.operations import canaries
from apps.tenancy import keys
from workers.broker import refusals
from workers.execute import WORKER_ID_VARIABLE

log = structlog.get_logger(__name__)

TASK = "ops.canary"


def send(app: Any, *, canary_id: UUID, queue: str) -> bool:
    """Put a canary into a queue; return whether the broker took it. At most the broker's time-outs long."""
    args = (str(canary_id), _mac(str(canary_id)))
    try:
        with app.producer_or_acquire() as producer:
            app.send_task(
                TASK,
                args=args,
                task_id=str(canary_id),
                queue=queue,
                producer=producer,
                expires=canary.PATIENCE_S * 3,
                argsrepr="-",
                kwargsrepr="-",
                retry=False,
            )
    except (KombuError, OSError, *refusals(app)) as error:
        log.info("canary_unsent", queue=queue, error=type(error).__name__)
        return False
    return True


def take(*args: object) -> str:
    """Answer in a worker's process: note that it has started, and that it can commit. What is not ours does nothing."""
    match args:
        case (str(canary_id), str(mac)) if _is_ours(canary_id, mac):
            released = UUID(canary_id)
        case _:
            log.error("message_forged", task=TASK)
            metrics.message_refused(task=TASK)
            return "forged"
    worker = os.environ.get(WORKER_ID_VARIABLE)
    if not canaries.started(released, process_id=UUID(worker) if worker else None):
        return "stale"
    canaries.committed(released)
    return "ok"


def _is_ours(canary_id: str, mac: str) -> bool:
    return hmac.compare_digest(mac.encode(errors="replace"), _mac(canary_id).encode())


def _mac(canary_id: str) -> str:
    text = f"ops-canary-1\n{canary_id}".encode(errors="replace")
    return hmac.new(keys.message_key(), text, hashlib.sha256).hexdigest()

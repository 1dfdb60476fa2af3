"""Repairs of Celery 5.7.0 and kombu 5.7.0 that this plane cannot run without: each with its reason and its end.

`tests/unit/workers/test_celery_patches.py` holds the digest of every function repaired here. When an upgrade changes
one, that test fails and says which repair to look at again: perhaps it can go.
"""

from __future__ import annotations

import base64
import time
from typing import Any

import celery.fixups.django
import kombu.transport.redis
import structlog
from celery.worker.consumer import Consumer
from celery.worker.control import Panel
from django.db import close_old_connections
from redis.exceptions import ConnectionError as BrokerGoneError

from apps.core import metrics

log = structlog.get_logger(__name__)

_loads = kombu.transport.redis.loads
_deliver = kombu.transport.redis.Transport._deliver
# How long task events (-E) may be gathered before they leave together: for Flower's eyes that is at once.
GATHER_EVENTS_S = 0.1

_connparams = kombu.transport.redis.Channel._connparams


def connparams(self: Any, asynchronous: bool = False) -> Any:
    """Return the channel's connection parameters; a closed channel is a lost connection, not an AttributeError.

    Without this a worker exits with code 1 when the broker goes away while a message is unacknowledged: closing its
    connection asks a channel whose connection is gone for its parameters, and kombu dereferences None.
    """
    if self.connection is None or self.connection.client is None:
        raise BrokerGoneError("the channel is closed")
    return _connparams(self, asynchronous)


class Junk(dict[str, Any]):
    """What stood in a queue and is no JSON: it is dropped where every other malformed message is."""


def loads(text: Any, *more: Any, **options: Any) -> Any:
    """Return the JSON of a queue's entry, or `Junk`: kombu would let the error end the worker."""
    try:
        return _loads(text, *more, **options)
    except ValueError:
        return Junk()


def deliver(self: Any, message: Any, queue: str) -> None:
    """Deliver a message that is one; count and drop any other.

    Without this a single malformed entry, put into a queue by whoever can write to the broker, ends the whole worker
    ("unrecoverable error"): kombu takes the shape of what it reads for granted.
    """
    if is_message(message):
        _deliver(self, message, queue)
        return
    log.error("message_malformed", queue=queue)
    metrics.message_refused(task="malformed")


def is_message(message: Any) -> bool:
    """Say whether a queue's entry has the shape that kombu and Celery read without looking, and is not compressed.

    The plane compresses nothing; kombu would unpack what anybody compressed, 200 MB out of 200 KB, before a task's
    arguments are looked at.
    """
    match message:
        case {
            "body": str(body),
            "headers": dict(headers),
            "content-type": str(),
            "content-encoding": str(),
            "properties": {"delivery_tag": str(), "delivery_info": dict(), "body_encoding": "base64"},
        } if not headers.get("compression"):
            try:
                base64.b64decode(body, validate=True)
            except ValueError:
                return False
            return True
        case _:
            return False


# What an operator's tools ask of a worker. Everything else that Celery lets anybody order who can write to the broker
# (shut down, limit the rate of a task, stop consuming, kill) is taken away: PostgreSQL tells the plane such things.
ASKED = frozenset(
    {"ping", "hello", "active", "reserved", "scheduled", "revoked", "stats", "registered", "conf", "active_queues"}
    | {"query_task", "report", "clock", "enable_events"}
)


def close_database(self: Any, **_: Any) -> None:  # noqa: ARG001 - Celery's signature
    """Close only the database connections that are unusable or past their age.

    Celery closes every connection before and after each task, which costs a PostgreSQL session a task (measured at a
    third of the throughput); Django's own rule, with health checks on, recovers from a restarted server just as well.
    """
    close_old_connections()


def on_send_event_buffered(self: Any) -> None:
    """Send the buffered task events a little later, together.

    Celery sends them at the next turn of its loop, so a message for each task and a wait for the broker's answer to
    each: a third of the worker's main process, which is what bounds its rate. A full buffer (24) still leaves at once.
    """
    now = time.monotonic()
    if self.hub and now >= getattr(self, "ops_events_leave_at", 0.0):
        # An instant, not a flag: losing the connection clears the hub's timers, and the next event must set another.
        self.ops_events_leave_at = now + GATHER_EVENTS_S
        self.hub.call_later(GATHER_EVENTS_S, self._flush_events)


def install() -> None:
    """Lay the repairs. Repeating it changes nothing."""
    kombu.transport.redis.Channel._connparams = connparams
    kombu.transport.redis.loads = loads
    kombu.transport.redis.Transport._deliver = deliver
    Consumer.on_send_event_buffered = on_send_event_buffered
    celery.fixups.django.DjangoWorkerFixup.close_database = close_database
    for command in set(Panel.data) - ASKED:
        del Panel.data[command]

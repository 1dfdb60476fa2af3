"""The breaker's keeper: asks the broker each second whether it would take a message, and writes down what it learns.

A row of PostgreSQL holds the state, so a submission reads it without touching the broker, and a restarted scheduler
finds it as it was left. Two failures open it, at once: one may be a connection that a restarted broker forgot, so what
failed is asked again over a new one. Opening wrongly would cost a submission the second until the next question;
waiting longer would cost each dispatch a time-out. The scheduler is its only caller, under its advisory lock.
"""

from __future__ import annotations

import time
from typing import Any

import structlog
from kombu.exceptions import KombuError
from redis.exceptions import TimeoutError as SilentError

from apps.jobs.operations import deferral

log = structlog.get_logger(__name__)

ASK_EVERY_S = 1.0
# Shorter than publishing's: an outage that does not even refuse is known within two seconds.
ANSWER_WITHIN_S = 1.0
# What is released in one step: a fifth of a second's work, then jobs are dispatched again.
CHUNK = 2_000


class Broker:
    """Whether the broker takes messages, as last asked; `away` until it was asked for the first time."""

    def __init__(self, *, app: Any) -> None:
        self._app = app
        self._connection: Any = None
        self._channel: Any = None
        self._asked_at: float | None = None
        self.away = True
        self.releasing = False

    def look(self, *, now: bool = False) -> None:
        """Ask when it is time (or `now`) and keep the breaker by the answer; release what the outage deferred.

        Closed only when nothing deferred is left: until then new jobs line up behind, and none is overtaken. One that
        was being submitted while it closed is released by the next look.
        """
        due = self._asked_at is None or time.monotonic() - self._asked_at >= ASK_EVERY_S
        if not (now or due or self.releasing):
            return
        error = self._ask()
        self._asked_at = time.monotonic()
        self.away = error is not None
        if error is not None:
            self.releasing = False
            if deferral.open_breaker(reason=type(error).__name__):
                log.warning("broker_away", error=type(error).__name__)
            return
        released = deferral.release_deferred(limit=CHUNK)
        self.releasing = released == CHUNK
        closed = not self.releasing and deferral.close_breaker()
        if released or closed:
            log.warning("broker_back", released=released, closed=closed)

    def _ask(self) -> Exception | None:
        """Write a key that is gone in a minute, as publishing writes; return what failed, over a new connection too.

        A PING would not do: a broker that is full or a replica answers it and takes nothing.
        """
        fresh = self._channel is None
        error = self._write()
        if error is not None and not fresh and not isinstance(error, TimeoutError | SilentError):
            error = self._write()
        return error

    def _write(self) -> Exception | None:
        try:
            if self._channel is None:
                self._connection = self._app.connection(
                    self._app.conf.broker_write_url or self._app.conf.broker_url,
                    transport_options={"socket_timeout": ANSWER_WITHIN_S, "socket_connect_timeout": ANSWER_WITHIN_S},
                )
                self._channel = self._connection.default_channel  # by the transport options: no second try
            self._channel.client.set("probe", "", ex=60)
        except (OSError, KombuError, *refusals(self._app)) as error:
            self._forget()
            failed: Exception = error
            return failed
        return None

    def _forget(self) -> None:
        """Drop the connection: what is left of it may answer the wrong question."""
        connection, self._connection, self._channel = self._connection, None, None
        try:
            if connection is not None:
                connection.close()
        except (OSError, KombuError, *refusals(self._app)) as error:
            log.info("broker_connection_dropped", error=type(error).__name__)


def refusals(app: Any) -> tuple[type[Exception], ...]:
    """Return what this broker's client raises when the broker is away or takes nothing: full, a replica, loading."""
    transport = app.connection_for_write()
    return (*transport.connection_errors, *transport.channel_errors)

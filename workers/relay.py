"""The relay: gives committed events their numbers and delivers them to the stream, at least once and in order."""

from __future__ import annotations

import time

import orjson
import redis
import structlog
from django.conf import settings

from apps.events import operations, queries
from apps.events.cloudevents import envelope
from apps.tenancy.context import across_tenants
from workers import loop

log = structlog.get_logger(__name__)

STREAM = "operations.events"
STREAM_LENGTH = 100_000
BATCH = 500
LOOK_EVERY_S = 0.25
AWAY_PAUSE_S = (0.5, 10.0)


class Relay:
    """One process's state between looks: its connection, and how long to leave a stream alone that is away."""

    def __init__(self, *, url: str) -> None:
        self._stream = redis.Redis.from_url(
            url, socket_timeout=2, socket_connect_timeout=1, health_check_interval=10, retry_on_timeout=False
        )
        self._pause_s = 0.0
        self._back_at = 0.0

    def run(self) -> None:
        """Relay until SIGTERM."""
        with across_tenants():
            loop.run(role="relay", step=self.step)

    def step(self) -> float:
        """Number what was committed, deliver what is due; return the seconds to rest."""
        numbered = operations.number_committed(limit=BATCH)
        delivered = self.deliver() if time.monotonic() >= self._back_at else 0
        return 0.0 if BATCH in (numbered, delivered) else LOOK_EVERY_S

    def deliver(self) -> int:
        """Add the next events to the stream and note how far it came; return how many were added.

        A crash between the two adds them again: a consumer knows an event by its id.
        """
        due = queries.after(position=queries.position_of(consumer=STREAM), limit=BATCH)
        if not due:
            return 0
        try:
            pipe = self._stream.pipeline(transaction=False)
            for event in due:
                pipe.xadd(STREAM, {"event": orjson.dumps(envelope(event))}, maxlen=STREAM_LENGTH, approximate=True)
            pipe.execute()
        except redis.RedisError as error:
            self._pause_s = min(max(self._pause_s * 2, AWAY_PAUSE_S[0]), AWAY_PAUSE_S[1])
            self._back_at = time.monotonic() + self._pause_s
            log.warning("stream_away", error=type(error).__name__, events=len(due), pause_s=self._pause_s)
            return 0
        self._pause_s = 0.0
        operations.advance(consumer=STREAM, position=due[-1].sequence or 0)
        return len(due)


def main() -> None:
    """Relay with this process's settings."""
    Relay(url=settings.ENVIRONMENT.events_url).run()

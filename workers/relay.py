"""The relay: gives committed events their numbers, delivers them to the stream, and has usage added up from them.

Delivered at least once and in order. Usage is counted here, and not by a tick of beat's: what tenants owe must not
stand still because the broker or a worker does.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import redis
import structlog
from django.conf import settings
from django.db import DataError, IntegrityError, connection

from apps.core import metrics
from apps.core.clock import DatabaseClock
from apps.events import operations, queries
from apps.events.cloudevents import encoded
from apps.events.models import Event
from apps.jobs.operations import metering
from apps.tenancy.context import across_tenants
from workers import loop

log = structlog.get_logger(__name__)

STREAM = "operations.events"
STREAM_LENGTH = 100_000
BATCH = 500
LOOK_EVERY_S = 0.25
CLOCK_GOOD_FOR_S = 60.0
METER_EVERY_S = 2.0
AWAY_PAUSE_S = (0.5, 10.0)


class Relay:
    """One process's state between looks: its connection, and how long to leave a stream alone that is away."""

    def __init__(self, *, url: str) -> None:
        self._stream = redis.Redis.from_url(
            url, socket_timeout=2, socket_connect_timeout=1, health_check_interval=10, retry_on_timeout=False
        )
        self._clock: DatabaseClock | None = None
        self._pause_s = 0.0
        self._back_at = 0.0
        self._meter_at = 0.0

    def run(self) -> None:
        """Relay until SIGTERM."""
        with across_tenants():
            loop.run(role="relay", step=self.step)

    def step(self) -> float:
        """Number what was committed, deliver what is due; return the seconds to rest."""
        numbered = operations.number_committed(limit=BATCH)
        delivered = self.deliver() if time.monotonic() >= self._back_at else 0
        self.meter()
        return 0.0 if BATCH in (numbered, delivered) else LOOK_EVERY_S

    def meter(self) -> None:
        """Add up usage, when it is time: a chunk a step, so that a long log holds no event up."""
        if time.monotonic() < self._meter_at:
            return
        more = False
        try:
            more = metering.meter()
        except (DataError, IntegrityError):  # what cannot be added up must not hold up the events; the doctor tells
            log.exception("usage_not_added_up")
        self._meter_at = time.monotonic() + (0.0 if more else METER_EVERY_S)

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
                pipe.xadd(STREAM, {"event": encoded(event)}, maxlen=STREAM_LENGTH, approximate=True)
            pipe.execute()
        except redis.RedisError as error:
            self._pause_s = min(max(self._pause_s * 2, AWAY_PAUSE_S[0]), AWAY_PAUSE_S[1])
            self._back_at = time.monotonic() + self._pause_s
            log.warning("stream_away", error=type(error).__name__, events=len(due), pause_s=self._pause_s)
            return 0
        self._pause_s = 0.0
        last = due[-1].sequence or 0
        operations.advance(consumer=STREAM, position=last)
        self._count(due, last=last)
        return len(due)

    def _count(self, due: Sequence[Event], *, last: int) -> None:
        """Tell how late the events were, by the database's clock, and how many are still to come."""
        if self._clock is None or self._clock.age_s() > CLOCK_GOOD_FOR_S:
            self._clock = DatabaseClock.ask(connection)
        now = self._clock.now()
        for event in due:
            metrics.event_delivered(seconds=(now - event.occurred_at).total_seconds(), consumer=STREAM)
        metrics.events_behind(count=queries.head() - last, consumer=STREAM)


def main() -> None:
    """Relay with this process's settings."""
    Relay(url=settings.ENVIRONMENT.events_url).run()

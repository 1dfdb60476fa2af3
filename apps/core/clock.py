"""Time: the database's clock, carried between questions by the monotonic clock.

Truth lives in PostgreSQL, and so does time: a host whose clock is an hour off must change nothing. Whoever needs "now"
without a round trip anchors a `DatabaseClock` to an instant that the database told and lets the monotonic clock, which
no one can set, carry it on. `system_now` is the only place in the project that reads the host's wall clock, for what
has no database at hand: judging a token's lifetime at the edge, stamping log lines.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper


class DatabaseClock:
    """A clock set once by the database; it runs on the host's monotonic clock and cannot be set back.

    Monotonic clocks drift apart by some milliseconds an hour, so a long-running process asks again now and then
    (`age_s` tells how long ago it did) and replaces its clock by the new one: a clock itself never changes.
    """

    def __init__(self, *, instant: datetime, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Anchor the clock: it is `instant` (aware) now. Raises `ValueError` for an instant without a time zone."""
        if instant.tzinfo is None:
            raise ValueError("a database instant has a time zone; this one has none")
        self._monotonic: Final = monotonic
        self._anchor: Final = monotonic()
        self._instant: Final = instant.astimezone(UTC)

    @classmethod
    def ask(cls, connection: BaseDatabaseWrapper) -> Self:
        """Return a clock set by the database behind `connection`; its error is at most half the round trip."""
        asked = time.monotonic()
        with connection.cursor() as cursor:
            cursor.execute("select clock_timestamp()")
            row = cursor.fetchone()
        if row is None:
            raise RuntimeError("the database did not answer the question for its time")
        half_trip_s = (time.monotonic() - asked) / 2
        return cls(instant=row[0] + timedelta(seconds=half_trip_s))

    def now(self) -> datetime:
        """Return the database's time, UTC."""
        return self._instant + timedelta(seconds=self.age_s())

    def age_s(self) -> float:
        """Return the seconds since the database was asked."""
        return self._monotonic() - self._anchor


def after(*, instant: datetime, seconds: float | None) -> datetime | None:
    """Return the instant `seconds` later; None for no limit."""
    return None if seconds is None else instant + timedelta(seconds=seconds)


def system_now() -> datetime:
    """Return the host's wall clock, UTC. For token lifetimes and log lines only; never for a job's life."""
    return datetime.now(tz=UTC)

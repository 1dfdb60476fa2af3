"""The frame of a long-running loop: leads, steps, rests, survives a dead database, stops on SIGTERM.

Two processes of one loop do no harm: only the holder of an advisory lock steps, the other waits to take over. The lock
lives in a session, so a killed leader's is free as soon as PostgreSQL notices, which for a local death is at once.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Sequence
from types import FrameType

import psycopg
import structlog
from django.conf import settings
from django.db import DataError, Error, ProgrammingError, connection

from workers.heart import Heart

log = structlog.get_logger(__name__)

LOCKS = {
    "scheduler": 0x6F707301,
    "relay": 0x6F707302,
    "sealer": 0x6F707303,
    "submitter": 0x6F707304,
    "webhooks": 0x6F707306,
    "reactor": 0x6F707307,
    "emitter": 0x6F707308,
    "watcher": 0x6F707309,
    "notifier": 0x6F70730A,
    "clerk": 0x6F70730B,
    "migrator": 0x6F70730C,
}


# A statement that PostgreSQL cannot make sense of is no outage.
DEFECTS = (DataError, ProgrammingError, psycopg.DataError, psycopg.ProgrammingError)

Lull = Callable[[Sequence[str]], float]


class Leadership:
    """A session of its own that holds the loop's lock and, for loops that are woken, listens to a channel."""

    def __init__(self, *, role: str, channel: str | None = None) -> None:
        self._key = LOCKS[role]
        self._channel = channel
        self._session: psycopg.Connection[tuple[object, ...]] | None = None

    def held(self) -> bool:
        """Return whether this process leads, after trying to; raises `psycopg.Error` when the database is away."""
        if self._session is None or self._session.closed:
            self._session = psycopg.connect(
                **connection.get_connection_params() | {"autocommit": True, "cursor_factory": None}
            )
            (leads,) = self._session.execute("SELECT pg_try_advisory_lock(%s)", [self._key]).fetchone() or (False,)
            if not leads:
                self.release()
                return False
            if self._channel is not None:
                self._session.execute(f"LISTEN {self._channel}")
        elif self._channel is None:
            # Nothing else speaks over this session: one that was lost, and its lock with it, would go unnoticed.
            self._session.execute("SELECT 1")
        return True

    def rest(self, *, seconds: float, stop: threading.Event, lull: Lull | None = None) -> None:
        """Wait up to `seconds`, or until the channel speaks; all that was said meanwhile counts as one word.

        Then for as long as `lull` says of what was heard, asked again after each word.
        """
        if self._session is None or self._channel is None:
            stop.wait(seconds)
            return
        said = [word.payload for word in self._session.notifies(timeout=seconds, stop_after=1)]
        while said and lull is not None and not stop.is_set() and (wait_s := lull(said)) > 0:
            said += [word.payload for word in self._session.notifies(timeout=wait_s, stop_after=1)]

    def release(self) -> None:
        """Give up the lock, if held."""
        if self._session is not None:
            self._session.close()
            self._session = None


def run(
    *,
    role: str,
    step: Callable[[], float],
    channel: str | None = None,
    lull: Lull | None = None,
    away: Callable[[], None] | None = None,
) -> None:
    """Call `step` while this process leads; it returns the seconds to rest before the next, sooner if woken.

    `lull`: how many seconds more may come before the step, by the words with which it was woken. `away` is called
    whenever the database did not answer. A step that meets a
    dead database is tried again after a pause that doubles from 0.2 to 2 s. Returns on SIGTERM.
    """
    stop = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    heart = Heart(role=role, name=settings.ENVIRONMENT.process if settings.ENVIRONMENT.process != "manage" else role)
    leadership = Leadership(role=role, channel=channel)
    registered, leading, pause_s = False, False, 0.2
    while not stop.is_set():
        try:
            if not registered:
                heart.register()
                heart.start()
                registered = True
            if not leadership.held():
                leading = False
                stop.wait(1.0)
                continue
            if not leading:
                log.info("leading", role=role)
                leading = True
            rest_s = step()
            pause_s = 0.2
            leadership.rest(seconds=rest_s, stop=stop, lull=lull)
        except DEFECTS:
            # Asked again it would fail again, unseen: end, and let the supervisor's restarts be seen.
            log.exception("loop_failed", role=role)
            raise
        except (Error, psycopg.Error) as error:
            log.warning(
                "database_away", role=role, error=type(error).__name__, detail=str(error).strip()[:200], pause_s=pause_s
            )
            if away is not None:
                away()
            connection.close()
            leadership.release()
            stop.wait(pause_s)
            pause_s = min(pause_s * 2, 2.0)
        except Exception:
            # A defect of ours: end, say why, and let the supervisor start afresh with nothing half-known.
            log.exception("loop_failed", role=role)
            raise
    leadership.release()
    if registered:
        heart.stop()
    log.info("stopped", role=role)

"""How a step's work is done on a session: watched by the attempt, and again where a lock was not to be had.

The work runs in a thread beside the attempt's own, which goes on asking whether to stop: a cancelled attempt ends its
statement at once, and a long statement is no silence.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from threading import Thread
from typing import Final, TypeVar

import psycopg

from apps.jobs.types import Context
from workers.migrations.ledger import Session
from workers.migrations.target import CONTENDED, failure

T = TypeVar("T")


TRIES: Final = 10
_FIRST_PAUSE_S: Final = 0.2
_LONGEST_PAUSE_S: Final = 5.0
_LOOK_S: Final = 0.2
_GIVE_UP_S: Final = 5.0


def watched(ctx: Context, connection: Session, work: Callable[[], T]) -> T:
    """Return what `work` returns, or raise what it raises; when the attempt is told to stop, its statement is ended."""
    outcome: Future[T] = Future()

    def run() -> None:
        try:
            outcome.set_result(work())
        except BaseException as error:  # noqa: BLE001 - carried over to the attempt's own thread, and raised there
            outcome.set_exception(error)

    Thread(target=run, name="migration-step", daemon=True).start()
    try:
        while not wait([outcome], timeout=_LOOK_S).done:
            ctx.checkpoint()
    except BaseException:
        connection.cancel_safe(timeout=_GIVE_UP_S)
        if not wait([outcome], timeout=_GIVE_UP_S).done:
            connection.close()  # work that is not waiting for the server: the next it asks of it fails
        raise
    return outcome.result()


def contended(ctx: Context, attempt: Callable[[], T]) -> T:
    """Return what `attempt` returns, made again where it lost to others' locks; each try gives its place up at once.

    Raises what a target's error means, the last one's after `TRIES`.
    """
    for tried in range(1, TRIES + 1):
        try:
            return attempt()
        except psycopg.Error as error:
            if error.sqlstate not in CONTENDED or tried == TRIES:
                raise failure(error) from error
            ctx.log("a lock was not to be had: again", level="warning", tries=tried, sqlstate=error.sqlstate)
        longest_s = min(_FIRST_PAUSE_S * 2 ** (tried - 1), _LONGEST_PAUSE_S)
        pause(ctx, longest_s * random.uniform(0.5, 1.0))  # noqa: S311 - so that two do not meet again, no secret
    raise AssertionError("the last try returns or raises")


def pause(ctx: Context, seconds: float) -> None:
    """Wait, and hear at once if told to stop."""
    until = time.monotonic() + seconds
    while True:
        ctx.checkpoint()
        left_s = until - time.monotonic()
        if left_s <= 0:
            return
        time.sleep(min(left_s, _LOOK_S))

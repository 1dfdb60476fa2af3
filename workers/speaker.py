"""A worker process's speaker: the one thread that talks to the plane while a handler has the main thread.

It speaks for the attempt that runs, and when that one takes long, sees to it that what waits behind it does not: the
bundle's other jobs are let go. It outlives attempts: a thread for each would cost a short one more than its handler.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import structlog
from django.db import connection

from apps.tenancy.context import across_tenants
from workers.attempt import AttemptLine

log = structlog.get_logger(__name__)

SPEAK_EVERY_S = 1.0
LOOK_EVERY_S = 0.25
# Longer than this, and a job is no longer what its bundle was measured for.
OVERSTAYED_S = 0.5


class Speaker:
    """Speaks for one attempt at a time, between `open` and `close`."""

    def __init__(self) -> None:
        self._busy = threading.Lock()
        self._opened = threading.Event()
        self._line: AttemptLine | None = None
        self._let_go: Callable[[], bool] | None = None
        self._since = self._spoke_at = 0.0
        threading.Thread(target=self._run, name="speaker", daemon=True).start()

    def open(self, line: AttemptLine, *, let_go: Callable[[], bool] | None = None) -> None:
        """Speak for `line` from now on, each second; call `let_go`, until it says done, if that takes long."""
        self._since = self._spoke_at = time.monotonic()
        self._let_go = let_go
        self._line = line
        if not self._opened.is_set():
            self._opened.set()

    def close(self) -> None:
        """Speak for nobody; when this returns no word is under way."""
        self._line = None
        with self._busy:
            pass

    def rest(self) -> None:
        """Be still until the next `open`: the process has nothing to run."""
        self._opened.clear()

    def _run(self) -> None:
        while True:
            if not self._opened.is_set():
                connection.close()  # an idle process holds no session
                self._opened.wait()
            threading.Event().wait(timeout=LOOK_EVERY_S)
            with self._busy, across_tenants():
                try:
                    self._look()
                except Exception:  # the thread is the next attempts' too: an attempt that is not heard ends by itself
                    log.exception("speaker_failed")
                    connection.close()

    def _look(self) -> None:
        line, now = self._line, time.monotonic()
        if line is None:
            return
        if self._let_go is not None and now - self._since > OVERSTAYED_S:
            self._let_go = None if self._let_go() else self._let_go
        if now - self._spoke_at >= SPEAK_EVERY_S:
            self._spoke_at = now
            line.speak(over=lambda: self._line is not line)


_speakers: list[Speaker] = []


def speaker() -> Speaker:
    """Return this process's speaker, made when its first attempt begins: threads do not survive a fork."""
    if not _speakers:
        _speakers.append(Speaker())
    return _speakers[0]

"""One look for many: a thread of a process that asks the database what moved, for every stream that waits for it.

A stream lives for minutes and must hold no connection meanwhile. So the streams of a process share one: this thread's.
It looks at the marks of what is watched, wakes those whose mark moved, and reads for them, one question after another.
It starts with the first watcher and ends, connection and all, when the last one has gone.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

import structlog
from django.db import Error, connection

log = structlog.get_logger(__name__)

LOOK_EVERY_S = 0.25
AWAY_PAUSE_S = 1.0
ANSWER_WITHIN_S = 20.0

Key = TypeVar("Key")
Mark = TypeVar("Mark")
Answer = TypeVar("Answer")


class Poller(Generic[Key, Mark]):
    """Watches keys by `look`, which returns the mark of each key asked for (a missing one has none)."""

    def __init__(self, look: Callable[[Collection[Key]], Mapping[Key, Mark]], *, name: str) -> None:
        self._look = look
        self._name = name
        self._moved = threading.Condition()
        self._watched: dict[Key, int] = {}
        self._marks: dict[Key, Mark] = {}
        self._asked: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    @contextmanager
    def watching(self, key: Key) -> Iterator[None]:
        """Have `key` looked at while the context is open."""
        with self._moved:
            self._watched[key] = self._watched.get(key, 0) + 1
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._moved:
                self._watched[key] -= 1
                if not self._watched[key]:
                    del self._watched[key]
                    self._marks.pop(key, None)  # nobody looks at it any more: it would grow old unnoticed

    def wait(self, key: Key, *, until: Callable[[Mark], bool], timeout_s: float) -> Mark | None:
        """Return the mark of `key` once it satisfies `until`; None if it does not within `timeout_s`."""
        with self._moved:
            there = self._moved.wait_for(lambda: key in self._marks and until(self._marks[key]), timeout=timeout_s)
            return self._marks[key] if there else None

    def ask(self, question: Callable[[], Answer]) -> Answer:
        """Return the answer of `question`, asked on the thread's connection; raises what it raises.

        Only while a key is watched: that is what keeps the thread alive.
        """
        answer: Future[Answer] = Future()
        self._asked.put((question, answer))
        return answer.result(timeout=ANSWER_WITHIN_S)

    def _run(self) -> None:
        due, failing = 0.0, False
        while True:
            try:
                question, answer = self._asked.get(timeout=max(0.0, due - time.monotonic()))
            except queue.Empty:
                with self._moved:
                    keys = list(self._watched)
                    if not keys:
                        self._thread = None
                        break
                away = self._look_at(keys, failing=failing)
                failing, due = away, time.monotonic() + (AWAY_PAUSE_S if away else LOOK_EVERY_S)
            else:
                self._answer(question, answer)
        connection.close()

    def _look_at(self, keys: Collection[Key], *, failing: bool) -> bool:
        """Look at `keys` and wake whoever waits; return whether the database was away."""
        try:
            marks = self._look(keys)
        except Error as error:
            connection.close()
            if not failing:
                log.warning("live_database_away", poller=self._name, error=type(error).__name__)
            return True
        with self._moved:
            fresh = {key: mark for key, mark in marks.items() if key in self._watched}
            if any(self._marks.get(key) != mark for key, mark in fresh.items()):
                self._marks.update(fresh)
                self._moved.notify_all()
        return False

    def _answer(self, question: Callable[[], Any], answer: Future[Any]) -> None:
        try:
            answer.set_result(question())
        except Exception as error:  # noqa: BLE001 - it is the asker's: raised again where it waits
            if isinstance(error, Error):
                connection.close()
            answer.set_exception(error)

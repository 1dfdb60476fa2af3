"""Questions to others, each asked in a thread of its own and its answer picked up at a later look."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple


class Answer(NamedTuple):
    """What a question came to: a value, or the error that it raised."""

    value: Any = None
    error: Exception | None = None


class Errands:
    """What is under way, by name; a name is asked once at a time."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool = pool
        self._under_way: dict[Hashable, Future[Any]] = {}

    def ask(self, name: Hashable, question: Callable[[], Any]) -> Answer | None:
        """Return the answer to the question of this name, None until there is one; then it is forgotten.

        `question` may touch nothing of the plane's database: a thread here has no context and no connection to keep.
        """
        future = self._under_way.get(name)
        if future is None:
            self._under_way[name] = self._pool.submit(question)
            return None
        if not future.done():
            return None
        del self._under_way[name]
        error = future.exception()
        if error is not None and not isinstance(error, Exception):
            raise error
        return Answer(error=error) if error is not None else Answer(value=future.result())

    def named(self, kind: str) -> list[Any]:
        """Return what is under way of a kind: the second part of names that begin with it."""
        return [name[1] for name in self._under_way if isinstance(name, tuple) and name[0] == kind]

"""Situations in which a job waits, or does not, and the gates that hold it there."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from tests.support.scene import Scene

Situation = Callable[[Scene], UUID]
SITUATIONS: list[tuple[str, list[str], Situation]] = []


def situation(*gates_shut: str) -> Callable[[Situation], Situation]:
    def add(build: Situation) -> Situation:
        SITUATIONS.append((build.__name__, list(gates_shut), build))
        return build

    return add

"""What the reactor has to know of a reaction: which events it wants, and how patient to be when it fails. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

# Given a window of the log, numbers after the first up to the second: a condition on its events, or None for no event.
Interest = Callable[[int, int], Any]
React = TypeVar("React", bound=Callable[..., None])

# A deadlock or a row that comes a moment later is over within these; what still fails then is a defect, and waits
# for a person while everything behind it goes on.
PAUSES_S: Final = (0.5, 2.0, 5.0, 15.0)


def interested(interest: Interest) -> Callable[[React], React]:
    """Say of a reaction which of its events it wants, asked once for a window: the others cost it nothing.

    For what would hear of every job that succeeds, and seldom cares.
    """

    def mark(react: React) -> React:
        react.interest = interest  # type: ignore[attr-defined]
        return react

    return mark


def pause_after(failures: int) -> float | None:
    """Return the seconds until the next try after so many failed ones in a row (1 or more); None: set it aside."""
    return PAUSES_S[failures - 1] if failures <= len(PAUSES_S) else None

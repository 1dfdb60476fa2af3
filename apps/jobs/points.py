"""The decision points in force: put here once, at start, by the composition root."""

from __future__ import annotations

from apps.jobs.operations.submit import DecisionPoints

_installed: list[DecisionPoints] = []


def install(points: DecisionPoints) -> None:
    """Make `points` the ones every submission asks."""
    _installed[:] = [points]


def in_force() -> DecisionPoints:
    """Return the decision points; raises `LookupError` before the plane was wired."""
    if not _installed:
        raise LookupError("the plane is not wired: no decision points are installed")
    return _installed[0]

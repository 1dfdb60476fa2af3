"""The bulk band held back: what a plane that is not well sheds first. A row of `breakers`, `bulk`, as the broker's.

While it is open no bulk job is dispatched; they stay queued, in their order, and what runs goes on. The watcher opens
and closes it (`workers/watcher.py`), the scheduler obeys it, `why` tells of it.
"""

from __future__ import annotations

from apps.core.database import preparing
from apps.jobs.lifecycle import Priority
from apps.jobs.operations import deferral
from apps.jobs.operations.wake import wake_scheduler
from apps.jobs.scheduling import Gate, Lane

NAME = "bulk"
GATE = "bulk_shed"
IN_FORCE = f"SELECT 1 FROM breakers WHERE name = '{NAME}' AND opened_at IS NOT NULL"


def shed(*, reason: str) -> bool:
    """Hold the bulk band back from now on; return whether that is new."""
    return deferral.open_breaker(reason=reason, name=NAME)


def let_go() -> bool:
    """Let the bulk band go on; return whether that is new."""
    changed = deferral.close_breaker(name=NAME)
    if changed:
        wake_scheduler()
    return changed


def in_force() -> bool:
    """Say whether the bulk band is held back."""
    with preparing() as cursor:
        cursor.execute(IN_FORCE)
        return cursor.fetchone() is not None


def gate() -> Gate | None:
    """Return the gate by which the scheduler passes over bulk jobs, or None where nothing is shed."""
    return by_shedding if in_force() else None


def by_shedding(lane: Lane) -> str | None:
    """Return why a lane is held back."""
    return GATE if lane.priority == Priority.BULK else None

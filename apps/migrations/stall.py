"""Whether a step has stalled: judged by how fast its cursor moves, never by its age. Pure.

A mark is laid where a step begins, and moved whenever the step came as far since the mark as its rate demands. So a
backfill of a week is no stall while it advances, and one that stopped after a minute is, `within_s` later. While the
migration is paused or the step's job waits in a queue, no mark grows old.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from apps.migrations.definition import Stall


class Mark(NamedTuple):
    """When a step had come how far."""

    at: datetime
    done: int


def moved(mark: Mark, *, done: int, now: datetime, stall: Stall) -> Mark:
    """Return the mark after a look: a new one where the step came as far as `stall` asks of the time since.

    A step that begins anew, as another attempt may, has to come as far from there; its time goes on.
    """
    if done < mark.done:
        return Mark(mark.at, done)
    wanted = max(1.0, stall.min_rate * (now - mark.at).total_seconds())
    return Mark(now, done) if done - mark.done >= wanted else mark


def stalled(mark: Mark, *, now: datetime, stall: Stall) -> bool:
    """Say whether the step came too little far for too long."""
    return (now - mark.at).total_seconds() > stall.within_s

"""How long a migration may still take: a figure for people, made of how far it came and for how long it ran. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from apps.migrations.lifecycle import State

# Below it a campaign's own pace says less than what its rehearsal measured.
TELLING: Final = 0.05


def ran_s(*, started_at: datetime, now: datetime, stopped_s: float, stopped_at: datetime | None) -> float:
    """Return the seconds that it ran until `now`, without those in which it was paused or waited for a person."""
    until = now if stopped_at is None else min(stopped_at, now)
    return max(0.0, (until - started_at).total_seconds() - stopped_s)


def eta_s(*, status: State, progress: float, ran_s: float | None, plan: Mapping[str, Any] | None) -> float | None:
    """Return the seconds it may still take; None where it does not run, or where nobody can say.

    By its own pace once that is telling, before that by its plan's estimate; what the plan expected and is over is 0.
    """
    if status is not State.RUNNING or ran_s is None:
        return None
    if progress >= 1:
        return 0.0
    if progress > TELLING:
        return ran_s * (1 - progress) / progress
    likely = expected_s(plan)
    return None if likely is None else max(0.0, likely - ran_s)


def expected_s(plan: Mapping[str, Any] | None) -> float | None:
    """Return the seconds that a plan thinks likely for all of it; None where it does not say."""
    found: Any = plan
    for name in ("estimate", "duration_s", "likely"):
        found = found.get(name) if isinstance(found, Mapping) else None
    return float(found) if isinstance(found, int | float) and not isinstance(found, bool) else None

"""What the scheduler remembers of how long jobs take."""

from __future__ import annotations

import time

from apps.jobs import flight

PACE_EVERY_S, PACE_SOON_S = 2.0, 0.1


class Paces:
    """How long jobs of each type take, as last read; what was once known is kept until something newer is."""

    def __init__(self) -> None:
        self._known: dict[str, float] = {}
        self._read_at = 0.0
        self._every_s = PACE_EVERY_S

    def known(self) -> dict[str, float]:
        """Return the paces, read again when it is time."""
        now = time.monotonic()
        if now - self._read_at >= self._every_s:
            self._read_at, self._every_s = now, PACE_EVERY_S
            self._known |= flight.paces()
        return self._known

    def wanted(self) -> None:
        """Read again soon: a type was sent off whose pace nobody knows."""
        self._every_s = PACE_SOON_S

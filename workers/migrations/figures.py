"""The figures of migrations that are read in the database every few seconds, for whoever scrapes them."""

from __future__ import annotations

import time
from typing import Final

from apps.core import metrics
from apps.migrations import standing

TELL_EVERY_S: Final = 5.0


class Figures:
    """When they were told last."""

    def __init__(self) -> None:
        self._due = 0.0

    def tell(self) -> None:
        """Tell them if it is time; across tenants."""
        if time.monotonic() >= self._due:
            metrics.migrations_stand(progress=standing.newest_by_module(), targets=standing.targets_under_way())
            self._due = time.monotonic() + TELL_EVERY_S

"""The clerk: does what time alone does to tickets, and counts those that are open.

Overdue promises, acknowledgements that expire, escalations, closing what is resolved: all of it is computed from each
ticket's log when it is looked at, so that a clerk who was away does the same, later.
"""

from __future__ import annotations

import time

from apps.core import metrics
from apps.tenancy.context import across_tenants
from apps.tickets.operations import upkeep
from workers import loop

LOOK_EVERY_S = 1.0
BATCH = 100
COUNT_EVERY_S = 5.0


class Clerk:
    """One process's state between looks: which modules it has counted, and when it counts again."""

    def __init__(self) -> None:
        self._count_at = 0.0
        self._modules: set[str] = set()

    def run(self) -> None:
        """Look after tickets until SIGTERM."""
        with across_tenants():
            loop.run(role="clerk", step=self.step)

    def step(self) -> float:
        """Look after what is due; return the seconds to rest."""
        looked = upkeep.look_after_due(limit=BATCH)
        self._count()
        if looked == BATCH:
            return 0.0
        next_in_s = upkeep.next_in_s()
        return LOOK_EVERY_S if next_in_s is None else min(max(next_in_s, 0.05), LOOK_EVERY_S)

    def _count(self) -> None:
        """Say how many tickets are open, by module; none, of a module whose last one is over."""
        if time.monotonic() < self._count_at:
            return
        counts = upkeep.open_by_module()
        for module in self._modules | set(counts):
            metrics.tickets_open(module=module, count=counts.get(module, 0))
        self._modules = set(counts)
        self._count_at = time.monotonic() + COUNT_EVERY_S


def main() -> None:
    """Look after tickets with this process's settings."""
    Clerk().run()

"""Who waits in one environment, in the order of virtual time. In memory: a look at ten or ten thousand costs the same.

The roster is told who waits slice by slice, walking round all tenants; whoever is found to have nothing queued leaves
it. A tenant whose every job is held back for now is parked: it stands in nobody's way, and is looked at again in its
turn, soon after one of its own leases ends, and before an environment is left with free slots. Values in, values out.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Collection, Iterable

SLICE = 64
PARKED_A_LOOK = 32


class Roster:
    """The tenants that wait, each either in line, parked, or taken by whoever examines it."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, str]] = []
        self._line: dict[str, float] = {}
        self._parked: dict[str, None] = {}
        self._newcomers: set[str] = set()
        self._unseen = 0
        self._walked = True
        self.after = ""

    def __contains__(self, tenant_id: str) -> bool:
        return tenant_id in self._line or tenant_id in self._parked

    def __len__(self) -> int:
        return len(self._line) + len(self._parked)

    @property
    def newcomers(self) -> frozenset[str]:
        """Return who began to wait, holding no slot, and had no turn since."""
        return frozenset(self._newcomers)

    def enter(self, tenant_id: str, *, tag: float, busy: bool) -> None:
        """Note that a tenant begins to wait; `busy`: it holds slots here already."""
        if not busy:
            self._newcomers.add(tenant_id)
        self.line_up(tenant_id, tag=tag)

    def found(self, tenants: Collection[str]) -> None:
        """Note the slice of waiting tenants that was read from `after` on; at its end the walk begins anew.

        A round is a whole walk, and a look at each who was parked as it began.
        """
        if not self.unfinished:
            self._walked, self._unseen = False, len(self._parked)
        self.after = max(tenants) if len(tenants) >= SLICE else ""
        self._walked = self._walked or not self.after

    def line_up(self, tenant_id: str, *, tag: float) -> None:
        """Put a tenant in line by its virtual time, or move it there."""
        self._parked.pop(tenant_id, None)
        self._line[tenant_id] = tag
        heapq.heappush(self._heap, (tag, tenant_id))
        if len(self._heap) > 4 * len(self._line) + 64:
            self._heap = [(tag, name) for name, tag in self._line.items()]
            heapq.heapify(self._heap)

    def moved(self, tenants: Iterable[str], *, tag: Callable[[str], float]) -> None:
        """Put those of `tenants` that are in line where they now belong: their virtual time has changed."""
        for tenant_id in tenants:
            if self._line.get(tenant_id) not in (None, tag(tenant_id)):
                self.line_up(tenant_id, tag=tag(tenant_id))

    def take(self, count: int) -> list[str]:
        """Take the first `count` tenants out of line: to be lined up, parked or dropped by the caller."""
        taken: list[str] = []
        while self._heap and len(taken) < count:
            tag, tenant_id = heapq.heappop(self._heap)
            if self._line.get(tenant_id) == tag:
                del self._line[tenant_id]
                taken.append(tenant_id)
        return taken

    def take_newcomers(self, count: int) -> list[str]:
        """Take up to `count` newcomers out of line."""
        taken = [tenant_id for tenant_id in sorted(self._newcomers) if tenant_id in self._line][:count]
        for tenant_id in taken:
            del self._line[tenant_id]
        return taken

    def park(self, tenant_id: str) -> None:
        """Let a tenant wait aside: nothing of it may run now."""
        self._parked[tenant_id] = None

    def unpark(self, count: int = PARKED_A_LOOK, *, tag: Callable[[str], float]) -> None:
        """Line up again those who were parked first, up to `count`."""
        for tenant_id in list(_first(self._parked, count)):
            self._unseen -= 1
            self.line_up(tenant_id, tag=tag(tenant_id))

    def unpark_these(self, tenants: Iterable[str], *, tag: Callable[[str], float]) -> None:
        """Line up again those of `tenants` that are parked."""
        for tenant_id in tenants:
            if tenant_id in self._parked:
                self.line_up(tenant_id, tag=tag(tenant_id))

    def served(self, tenants: Iterable[str]) -> None:
        """Note that these had their turn."""
        self._newcomers.difference_update(tenants)

    def gone(self, tenant_id: str) -> None:
        """Drop a tenant that was taken: nothing of it waits."""
        self._newcomers.discard(tenant_id)

    @property
    def first_tag(self) -> float:
        """Return the virtual time of the first in line; infinity when nobody is."""
        while self._heap and self._line.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else math.inf

    @property
    def unfinished(self) -> bool:
        """Say whether the round is under way: somebody may wait, or be able to run, who was not looked at in it."""
        return not self._walked or (self._unseen > 0 and bool(self._parked))


def _first(parked: dict[str, None], count: int) -> Iterable[str]:
    return (tenant_id for tenant_id, _ in zip(parked, range(count), strict=False))

"""How many requests each webhook may begin now, so that one slow or dead receiver delays no other. Pure.

Threads are few, and a request may hold one for all of its time-out. So nobody has many, and those that are slow, that
fail, or that share a host or a tenant have few together; whoever has the fewest under way comes first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

THREADS: Final = 16
OF_A_WEBHOOK: Final = 4
OF_A_HOST: Final = 4
OF_A_TENANT: Final = 8
OF_ALL_SLOW: Final = 8
QUICK_MS: Final = 1000


class Owing(NamedTuple):
    """A webhook that something is owed to now, and how its receiver has done."""

    webhook_id: UUID
    tenant_id: str
    host: str
    failures: int
    usual_ms: int | None
    due_at: datetime

    @property
    def slow(self) -> bool:
        """Whether its requests may take long: they did, or they fail."""
        return self.failures > 0 or (self.usual_ms or 0) > QUICK_MS

    @property
    def most(self) -> int:
        """How many of its requests may be under way: one until it has been quick."""
        return 1 if self.slow or self.usual_ms is None else OF_A_WEBHOOK


def allowances(owing: Sequence[Owing], *, under_way: Collection[Owing], threads: int = THREADS) -> dict[UUID, int]:
    """Return webhook → requests that may begin now, beside those `under_way` (one entry for each)."""
    webhooks = Counter(each.webhook_id for each in under_way)
    hosts = Counter(each.host for each in under_way)
    tenants = Counter(each.tenant_id for each in under_way)
    slow = sum(each.slow for each in under_way)
    given: Counter[UUID] = Counter()
    for _ in range(threads - len(under_way)):
        possible = [
            each
            for each in owing
            if webhooks[each.webhook_id] < each.most
            and hosts[each.host] < OF_A_HOST
            and tenants[each.tenant_id] < OF_A_TENANT
            and not (each.slow and slow >= OF_ALL_SLOW)
        ]
        if not possible:
            break
        chosen = min(possible, key=lambda each: (tenants[each.tenant_id], webhooks[each.webhook_id], each.due_at))
        given[chosen.webhook_id] += 1
        webhooks[chosen.webhook_id] += 1
        hosts[chosen.host] += 1
        tenants[chosen.tenant_id] += 1
        slow += chosen.slow
    return dict(given)

"""What runs next: the choice among waiting jobs. Decisions only, values in, values out.

A tenant's share is its weight: the next slot goes to the waiting tenant that holds the fewest slots for its weight.
Every limit that applies is kept on the way: the pool's slots, the tenant's, the type's, the concurrency key's.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID


class Waiting(NamedTuple):
    """A job that waits, in its tenant's own order."""

    job_id: UUID
    tenant_id: str
    type: str
    concurrency_key: str | None


class Holding(NamedTuple):
    """A slot that is held, in whatever environment."""

    environment: str
    tenant_id: str
    type: str
    concurrency_key: str | None


@dataclass(frozen=True, kw_only=True)
class TenantShare:
    """A tenant's part: `weight` beside other tenants, and the slots it may hold at any instant."""

    weight: int
    max_running: int


@dataclass(frozen=True, kw_only=True)
class TypeLimits:
    """How many of a type may run at any instant: in all, and of one tenant; None is no limit."""

    running: int | None = None
    running_per_tenant: int | None = None


@dataclass(frozen=True, kw_only=True)
class Pool:
    """An environment as the choice sees it: `capacity` is how many jobs it may hold, by slots and workers."""

    name: str
    capacity: int
    reserved_slots: int = 0


@dataclass(frozen=True, kw_only=True)
class Barred:
    """Which waiting jobs nothing could be done for now: types, a tenant's types and keys that are at their limit."""

    types: frozenset[str] = frozenset()
    tenant_types: frozenset[tuple[str, str]] = frozenset()
    tenant_keys: frozenset[tuple[str, str]] = frozenset()


NO_LIMITS = TypeLimits()
NOTHING_BARRED = Barred()
NO_SHARE = TenantShare(weight=1, max_running=0)


class _Held:
    """Slots counted every way a limit may ask, and counted on as choices are made."""

    def __init__(self, holding: Iterable[Holding]) -> None:
        self.pool: Counter[str] = Counter()
        self.pool_tenant: Counter[tuple[str, str]] = Counter()
        self.tenant: Counter[str] = Counter()
        self.type: Counter[str] = Counter()
        self.type_tenant: Counter[tuple[str, str]] = Counter()
        self.key: Counter[tuple[str, str]] = Counter()
        for held in holding:
            self.add(held)

    def add(self, held: Holding) -> None:
        """Count one slot more."""
        self.pool[held.environment] += 1
        self.pool_tenant[held.environment, held.tenant_id] += 1
        self.tenant[held.tenant_id] += 1
        self.type[held.type] += 1
        self.type_tenant[held.type, held.tenant_id] += 1
        if held.concurrency_key is not None:
            self.key[held.tenant_id, held.concurrency_key] += 1

    def allows(self, job: Waiting, *, limits: TypeLimits) -> bool:
        """Say whether the job's own limits leave room: its type's, and its key's, of which one runs at a time."""
        if limits.running is not None and self.type[job.type] >= limits.running:
            return False
        per_tenant = limits.running_per_tenant
        if per_tenant is not None and self.type_tenant[job.type, job.tenant_id] >= per_tenant:
            return False
        return job.concurrency_key is None or self.key[job.tenant_id, job.concurrency_key] < 1


def barred(*, holding: Iterable[Holding], limits: Mapping[str, TypeLimits]) -> Barred:
    """Return what is at its limit: looking past it finds the jobs behind, however many wait for the same."""
    held = _Held(holding)
    return Barred(
        types=frozenset(
            name for name, limit in limits.items() if limit.running is not None and held.type[name] >= limit.running
        ),
        tenant_types=frozenset(
            (tenant_id, name)
            for (name, tenant_id), count in held.type_tenant.items()
            if (most := limits.get(name, NO_LIMITS).running_per_tenant) is not None and count >= most
        ),
        tenant_keys=frozenset(held.key),
    )


def choose(
    *,
    pool: Pool,
    waiting: Sequence[Waiting],
    holding: Iterable[Holding],
    shares: Mapping[str, TenantShare],
    limits: Mapping[str, TypeLimits],
) -> list[Waiting]:
    """Return the jobs of `pool` to dispatch now, in order. `waiting` keeps each tenant's own order."""
    held = _Held(holding)
    queues: dict[str, deque[Waiting]] = defaultdict(deque)
    for job in waiting:
        queues[job.tenant_id].append(job)
    chosen: list[Waiting] = []
    while queues and held.pool[pool.name] < pool.capacity:
        tenant_id = min(queues, key=lambda name: _claim(name, held=held, shares=shares))
        found = _next(queues[tenant_id], pool=pool, held=held, share=shares.get(tenant_id, NO_SHARE), limits=limits)
        if found is None:
            del queues[tenant_id]
            continue
        chosen.append(found)
        held.add(Holding(pool.name, found.tenant_id, found.type, found.concurrency_key))
    return chosen


def _claim(tenant_id: str, *, held: _Held, shares: Mapping[str, TenantShare]) -> tuple[float, str]:
    """Return how full the tenant's share would be with one slot more; the smallest is served first."""
    return (held.tenant[tenant_id] + 1) / max(shares.get(tenant_id, NO_SHARE).weight, 1), tenant_id


def _next(
    queue: deque[Waiting], *, pool: Pool, held: _Held, share: TenantShare, limits: Mapping[str, TypeLimits]
) -> Waiting | None:
    """Take the tenant's first job that every limit lets pass, or None when the tenant has none now."""
    tenant_id = queue[0].tenant_id if queue else ""
    if held.tenant[tenant_id] >= share.max_running:
        return None
    free = pool.capacity - held.pool[pool.name]
    if held.pool_tenant[pool.name, tenant_id] > 0 and free <= pool.reserved_slots:
        return None
    while queue:
        job = queue.popleft()
        if held.allows(job, limits=limits.get(job.type, NO_LIMITS)):
            return job
    return None

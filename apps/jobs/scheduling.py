"""What runs next: the choice among waiting jobs. Decisions only, values in, values out.

The next lease goes to the waiting tenant whose virtual time is lowest (`fairness.py`); within a tenant, to the job
whose turn is earliest. Every limit that applies is kept on the way: the pool's slots, the tenant's, the type's, the
concurrency key's, and what is left in the token buckets of rates.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter, deque
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

from apps.core.rate import Rate

# A band is worth so many seconds of waiting: a job is passed by one of a higher band only if that was queued within
# so many seconds, for each band between them, after it. A bulk job's turn is therefore that of a critical job queued
# an hour after it, and what can pass it is what was queued in that hour: it cannot starve.
AGEING_S = 900.0


class Waiting(NamedTuple):
    """A job that waits; `queued_at` in seconds of the epoch. `alone`: it may not travel with others."""

    job_id: UUID
    tenant_id: str
    type: str
    concurrency_key: str | None
    priority: int = 2
    queued_at: float = 0.0
    alone: bool = False


class Holding(NamedTuple):
    """A slot that is held, in whatever environment; `running_s` is how long its attempt has run.

    `bundle_id`: what it travelled in; the job's own id for one that travelled in none.
    """

    environment: str
    tenant_id: str
    type: str
    concurrency_key: str | None
    job_id: UUID = UUID(int=0)
    fence: int = 0
    running_s: float = 0.0
    bundle_id: UUID = UUID(int=0)


class Lane(NamedTuple):
    """A tenant's queued jobs of one type and band in an environment: those with a concurrency key, or those without."""

    environment: str
    tenant_id: str
    type: str
    priority: int
    keyed: bool = False


@dataclass(frozen=True, kw_only=True)
class TenantShare:
    """A tenant's part: `weight` beside other tenants, the slots it may hold at any instant, its rate if it has one."""

    weight: int
    max_running: int
    rate: Rate | None = None


@dataclass(frozen=True, kw_only=True)
class TypeLimits:
    """How many of a type may run at any instant: in all, and of one tenant; None is no limit."""

    running: int | None = None
    running_per_tenant: int | None = None


@dataclass(frozen=True, kw_only=True)
class Pool:
    """An environment as a look sees it: `capacity` is how many jobs it may hold.

    `queue`: the Celery queue of its workers; `children`: how many of their processes live.
    """

    name: str
    capacity: int
    reserved_slots: int = 0
    queue: str = ""
    children: int = 0


# What may hold a whole lane back, whatever its jobs: the first gate that gives its name does. A paused type or tenant,
# a decision point that is away; one function each, in the order of `GATES` in the scheduler.
Gate = Callable[[Lane], str | None]

NO_LIMITS = TypeLimits()
NO_SHARE = TenantShare(weight=1, max_running=0)


class Held:
    """Slots counted every way a limit may ask, and counted on as choices are made; and the tokens that are left."""

    def __init__(self, holding: Iterable[Holding], *, tokens: Mapping[str, int] | None = None) -> None:
        self.pool: Counter[str] = Counter()
        self.pool_tenant: Counter[tuple[str, str]] = Counter()
        self.tenant: Counter[str] = Counter()
        self.type: Counter[str] = Counter()
        self.type_tenant: Counter[tuple[str, str]] = Counter()
        self.key: Counter[tuple[str, str]] = Counter()
        self.tokens = dict(tokens or {})
        for held in holding:
            self._count(held.environment, held.tenant_id, held.type, held.concurrency_key)

    def add(self, environment: str, job: Waiting) -> None:
        """Count one slot more, and take its tokens."""
        self._change(environment, job, by=1)

    def take_back(self, environment: str, job: Waiting) -> None:
        """Uncount a job that was chosen and then not dispatched."""
        self._change(environment, job, by=-1)

    def _change(self, environment: str, job: Waiting, *, by: int) -> None:
        self._count(environment, job.tenant_id, job.type, job.concurrency_key, by=by)
        for bucket in buckets(tenant_id=job.tenant_id, job_type=job.type):
            if bucket in self.tokens:
                self.tokens[bucket] -= by

    def _count(self, environment: str, tenant_id: str, job_type: str, key: str | None, *, by: int = 1) -> None:
        self.pool[environment] += by
        self.pool_tenant[environment, tenant_id] += by
        self.tenant[tenant_id] += by
        self.type[job_type] += by
        self.type_tenant[job_type, tenant_id] += by
        if key is not None:
            self.key[tenant_id, key] += by

    def closed(self, *, tenant_id: str, job_type: str, limits: TypeLimits) -> str | None:
        """Return which limit keeps a tenant's jobs of a type back, whatever their keys; None if none does."""
        if limits.running is not None and self.type[job_type] >= limits.running:
            return "type_limit"
        per_tenant = limits.running_per_tenant
        if per_tenant is not None and self.type_tenant[job_type, tenant_id] >= per_tenant:
            return "type_limit_tenant"
        if self.spent(type_bucket(job_type)):
            return "rate"
        return "tenant_rate" if self.spent(tenant_bucket(tenant_id)) else None

    def spent(self, bucket: str) -> bool:
        """Say whether a bucket has no token left; one that is not known here has no rate."""
        return self.tokens.get(bucket, 1) < 1

    def key_taken(self, job: Waiting) -> bool:
        """Say whether a job of the same concurrency key holds a slot: one does at a time."""
        return job.concurrency_key is not None and self.key[job.tenant_id, job.concurrency_key] > 0


def tenant_bucket(tenant_id: str) -> str:
    """Return the name of a tenant's token bucket."""
    return f"tenant:{tenant_id}"


def type_bucket(job_type: str) -> str:
    """Return the name of a job type's token bucket."""
    return f"type:{job_type}"


def buckets(*, tenant_id: str, job_type: str) -> tuple[str, str]:
    """Return the names of the token buckets a job draws from, where they have a rate: its tenant's and its type's."""
    return tenant_bucket(tenant_id), type_bucket(job_type)


def bucket_names(jobs: Iterable[Waiting]) -> set[str]:
    """Return the names of the buckets that any of these jobs may draw from."""
    return {bucket for job in jobs for bucket in buckets(tenant_id=job.tenant_id, job_type=job.type)}


def rates_of(tenants: Iterable[str], *, shares: Mapping[str, TenantShare]) -> dict[str, Rate]:
    """Return the rates of those of `tenants` that have one, by bucket."""
    return {
        tenant_bucket(tenant_id): share.rate
        for tenant_id in tenants
        if (share := shares.get(tenant_id)) is not None and share.rate is not None
    }


def turn(job: Waiting) -> tuple[float, UUID]:
    """Return a job's place among its tenant's: by band and waiting together, the smallest first."""
    return job.queued_at + job.priority * AGEING_S, job.job_id


def tenant_may(tenant_id: str, *, pool: Pool, held: Held, share: TenantShare) -> str | None:
    """Return why a tenant may hold no further slot of `pool` now, or None if it may."""
    free = pool.capacity - held.pool[pool.name]
    if free <= 0:
        return "environment_full"
    if held.tenant[tenant_id] >= share.max_running:
        return "tenant_limit"
    if held.spent(tenant_bucket(tenant_id)):
        return "tenant_rate"
    if held.pool_tenant[pool.name, tenant_id] > 0 and free <= pool.reserved_slots:
        return "reserved"
    return None


@dataclass(kw_only=True)
class Shares:
    """Who may have how much: tenants' shares, types' limits, tenants' virtual times, and what a job costs."""

    tenants: Mapping[str, TenantShare]
    limits: Mapping[str, TypeLimits]
    tag: Callable[[str], float]
    cost_s: Callable[[Waiting], float]

    def of(self, tenant_id: str) -> TenantShare:
        """Return a tenant's share; who has no subscription has none."""
        return self.tenants.get(tenant_id, NO_SHARE)

    def limits_of(self, job_type: str) -> TypeLimits:
        """Return a type's limits."""
        return self.limits.get(job_type, NO_LIMITS)


class Chosen(NamedTuple):
    """The jobs to dispatch, in order; the virtual times after that; the tenants of whom nothing further may run now.

    `short`: whose turn it is, where more of its jobs wait than were at hand; nobody may be chosen before they are.
    """

    jobs: list[Waiting]
    tags: dict[str, float]
    exhausted: set[str]
    short: str | None = None


def choose(
    *,
    pool: Pool,
    free: int,
    waiting: Iterable[Waiting],
    held: Held,
    shares: Shares,
    horizon: float = math.inf,
    partly: Container[str] = (),
) -> Chosen:
    """Choose up to `free` jobs of `pool` to dispatch now, and count them in `held`.

    It ends at virtual time `horizon`: from there on it is the turn of a tenant whose jobs are not among `waiting`; and
    as soon as a tenant of `partly`, of whose jobs only the first are at hand, has no more of them. A step costs the
    logarithm of the tenants that wait; each job is looked at once.
    """
    queues = in_turn(waiting)
    line = [(shares.tag(tenant_id), tenant_id) for tenant_id in queues]
    heapq.heapify(line)
    chosen = Chosen([], {}, set())
    while line and len(chosen.jobs) < free and line[0][0] <= horizon:
        tag, tenant_id = line[0]
        queue = queues[tenant_id]
        job = _next(queue, pool=pool, held=held, shares=shares)
        if job is None:
            if not queue and tenant_id in partly and _may(tenant_id, pool=pool, held=held, shares=shares):
                return chosen._replace(short=tenant_id)
            heapq.heappop(line)
            chosen.exhausted.add(tenant_id)
            continue
        chosen.jobs.append(job)
        held.add(pool.name, job)
        tag += shares.cost_s(job) / max(shares.of(tenant_id).weight, 1)
        chosen.tags[tenant_id] = tag
        heapq.heapreplace(line, (tag, tenant_id))
    return chosen


def in_turn(waiting: Iterable[Waiting]) -> dict[str, deque[Waiting]]:
    """Return each tenant's jobs in the order of their turns, each job once."""
    by_tenant: dict[str, dict[UUID, Waiting]] = {}
    for job in waiting:
        by_tenant.setdefault(job.tenant_id, {})[job.job_id] = job
    return {tenant_id: deque(sorted(jobs.values(), key=turn)) for tenant_id, jobs in by_tenant.items()}


def _may(tenant_id: str, *, pool: Pool, held: Held, shares: Shares) -> bool:
    return tenant_may(tenant_id, pool=pool, held=held, share=shares.of(tenant_id)) is None


def _next(queue: deque[Waiting], *, pool: Pool, held: Held, shares: Shares) -> Waiting | None:
    """Take the tenant's first job that every limit lets pass, or None when the tenant has none now."""
    while queue:
        job = queue.popleft()
        if not _may(job.tenant_id, pool=pool, held=held, shares=shares):
            return None
        limits = shares.limits_of(job.type)
        if held.closed(tenant_id=job.tenant_id, job_type=job.type, limits=limits) is None and not held.key_taken(job):
            return job
    return None


def gate_of(lane: Lane, *, gates: Sequence[Gate]) -> str | None:
    """Return the first gate that holds a lane back, or None."""
    return next((name for gate in gates if (name := gate(lane)) is not None), None)

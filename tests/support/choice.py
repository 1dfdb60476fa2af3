"""Jobs that wait, slots that are held, and the choice among them, for tests of who runs next."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from apps.jobs.scheduling import Held, Holding, Pool, Shares, TenantShare, TypeLimits, Waiting, choose

TENANTS = ("acme", "globex", "initech", "sandbox")
TYPES = ("kpi", "sql", "noop")
KEYS = (None, None, "one", "two")


def jobs(tenant: str, count: int, *, type: str = "noop", key: str | None = None, first: int = 1) -> list[Waiting]:  # noqa: A002
    """Return `count` waiting jobs of `tenant`, numbered in its own order."""
    base = (TENANTS.index(tenant) + 1) * 1_000_000
    return [Waiting(UUID(int=base + n), tenant, type, key, 2, float(n)) for n in range(first, first + count)]


def held(
    tenant: str, count: int, *, pool: str = "default", job_type: str = "noop", key: str | None = None
) -> list[Holding]:
    return [Holding(pool, tenant, job_type, key)] * count


def share(weight: int = 100, max_running: int = 1000) -> TenantShare:
    return TenantShare(weight=weight, max_running=max_running)


def shares_of(
    tenants: dict[str, TenantShare], limits: dict[str, TypeLimits], *, tags: dict[str, float] | None = None
) -> Shares:
    return Shares(tenants=tenants, limits=limits, tag=lambda name: (tags or {}).get(name, 0.0), cost_s=lambda _: 1.0)


def picked(
    waiting: Sequence[Waiting],
    *,
    capacity: int,
    reserved: int = 0,
    holding: Sequence[Holding] = (),
    shares: dict[str, TenantShare] | None = None,
    limits: dict[str, TypeLimits] | None = None,
    tags: dict[str, float] | None = None,
    tokens: dict[str, int] | None = None,
    free: int = 1000,
    horizon: float = float("inf"),
) -> list[Waiting]:
    return choose(
        pool=Pool(name="default", capacity=capacity, reserved_slots=reserved),
        free=free,
        waiting=waiting,
        held=Held(holding, tokens=tokens),
        shares=shares_of({name: share() for name in TENANTS} if shares is None else shares, limits or {}, tags=tags),
        horizon=horizon,
    ).jobs


def tenants(chosen: Sequence[Waiting]) -> list[str]:
    return [job.tenant_id for job in chosen]

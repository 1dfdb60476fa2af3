"""Notes, each second, which gates are shut: what `why` tells of now, and of then."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

from django.db import connection

from apps.core.rate import Rate
from apps.jobs import bundling, flight, queries
from apps.jobs.environments import pauses_in_force
from apps.jobs.operations import gates, rates
from apps.jobs.operations.gates import Load, ShutGate
from apps.jobs.scheduling import Held, Holding, TenantShare, TypeLimits
from workers.selector import Selector

SLOTS = "SELECT name, slots, reserved_slots, coalesce(paused_until > clock_timestamp(), false) FROM environments"


def note(
    *,
    away: bool,
    awaited: Mapping[tuple[str, str], str],
    limits: Mapping[str, TypeLimits],
    rates_of_types: Mapping[str, Rate],
    shares: Mapping[str, TenantShare],
    selector: Selector,
    paces: Mapping[str, float],
    most: int = bundling.MOST_JOBS,
) -> None:
    """Look at every gate once and write what changed; forget the buckets that are full and idle.

    `awaited`: by (tenant, type), the gate of what is held until a decision point answers. `paces` and `most`: by what
    the scheduler makes bundles.
    """
    holding = queries.holding()
    held, children = Held(holding), flight.children()
    with connection.cursor() as cursor:
        cursor.execute(SLOTS)
        pools = cursor.fetchall()
    shut = {ShutGate("broker_down")} if away else set()
    short = bundling.short_types(paces, most=most)
    long = {name: _long(holding, environment=name, short=short) for name, *_ in pools}
    for name, slots, reserved, paused in pools:
        if paused:
            shut.add(ShutGate("paused", environment=name))
        if not children.get(name):
            shut.add(ShutGate("no_workers", environment=name))
        if held.pool[name] >= slots:
            shut.add(ShutGate("environment_full", environment=name))
        at_long = [each.tenant_id for each in long[name]]
        shut |= _workers(
            at_long, environment=name, children=children.get(name, 0), reserved=reserved, types=limits, short=short
        )
    shut |= {
        ShutGate("paused", environment=each.environment, tenant_id=each.tenant_id, type=each.type)
        for each in pauses_in_force()
    }
    shut |= {
        ShutGate("tenant_limit", tenant_id=tenant_id)
        for tenant_id, share in shares.items()
        if held.tenant[tenant_id] >= share.max_running
    }
    for job_type, limit in limits.items():
        if limit.running is not None and held.type[job_type] >= limit.running:
            shut.add(ShutGate("type_limit", type=job_type))
        of_tenant = limit.running_per_tenant
        if of_tenant is not None:
            shut |= {
                ShutGate("type_limit_tenant", tenant_id=tenant_id, type=name)
                for (name, tenant_id), count in held.type_tenant.items()
                if name == job_type and count >= of_tenant
            }
    shut |= {
        ShutGate("rate", type=bucket.partition(":")[2])
        for bucket, left in rates.left(rates_of_types).items()
        if left < 1
    }
    shut |= {ShutGate("tenant_rate", tenant_id=tenant_id) for tenant_id in rates.spent(shares)}
    shut |= {ShutGate(gate, tenant_id=tenant_id, type=name) for (tenant_id, name), gate in awaited.items()}
    loads = {
        name: Load(
            Counter(each.type for each in holding if each.environment == name),
            children.get(name, 0),
            selector.waiting_weight(name),
            short,
            bundling.first_end_s([(each.type, each.running_s) for each in long[name]], paces=paces),
        )
        for name, *_ in pools
    }
    gates.note(shut, loads=loads)
    rates.forget_full(rates_of_types, shares=shares)


def _long(holding: Iterable[Holding], *, environment: str, short: Collection[str]) -> Sequence[Holding]:
    """Return the long jobs of an environment: each holds a worker process until it ends."""
    found = {each.bundle_id: each for each in holding if each.environment == environment and each.type not in short}
    return list(found.values())


def _workers(
    at_long: Collection[str],
    *,
    environment: str,
    children: int,
    reserved: int,
    types: Iterable[str],
    short: Collection[str],
) -> set[ShutGate]:
    """Return the gates that long jobs keep shut; `at_long`: whose they are. One that holds every type names none."""
    if not children:
        return set()
    if len(at_long) >= children:
        return {ShutGate("workers_busy", environment=environment)}
    shut: set[ShutGate] = set()
    for tenant_id in set(at_long):
        held = {
            is_long: bundling.kept_by_long_jobs(
                long=at_long, children=children, reserved=reserved, tenant_id=tenant_id, is_long=is_long
            )
            for is_long in (True, False)
        }
        of = [None] if all(held.values()) else [name for name in types if held[name not in short]]
        shut |= {ShutGate("reserved_worker", environment, tenant_id, name) for name in of}
    return shut

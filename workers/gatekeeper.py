"""Notes, each second, which gates are shut: what `why` tells of now, and of then."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from django.db import connection

from apps.core.rate import Rate
from apps.jobs import flight, queries
from apps.jobs.environments import pauses_in_force
from apps.jobs.operations import gates, rates
from apps.jobs.operations.gates import Load, ShutGate
from apps.jobs.scheduling import Held, TenantShare, TypeLimits
from workers.selector import Selector

SLOTS = "SELECT name, slots, coalesce(paused_until > clock_timestamp(), false) FROM environments"


def note(
    *,
    away: bool,
    awaited: Mapping[tuple[str, str], str],
    limits: Mapping[str, TypeLimits],
    rates_of_types: Mapping[str, Rate],
    shares: Mapping[str, TenantShare],
    selector: Selector,
) -> None:
    """Look at every gate once and write what changed.

    `awaited`: by (tenant, type), the gate of what is held until a decision point answers.
    """
    holding = queries.holding()
    held, children = Held(holding), flight.children()
    with connection.cursor() as cursor:
        cursor.execute(SLOTS)
        pools = cursor.fetchall()
    shut = {ShutGate("broker_down")} if away else set()
    for name, slots, paused in pools:
        if paused:
            shut.add(ShutGate("paused", environment=name))
        if not children.get(name):
            shut.add(ShutGate("no_workers", environment=name))
        if held.pool[name] >= slots:
            shut.add(ShutGate("environment_full", environment=name))
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
        most = limit.running_per_tenant
        if most is not None:
            shut |= {
                ShutGate("type_limit_tenant", tenant_id=tenant_id, type=name)
                for (name, tenant_id), count in held.type_tenant.items()
                if name == job_type and count >= most
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
        )
        for name, _, _ in pools
    }
    gates.note(shut, loads=loads)

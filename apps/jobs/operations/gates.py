"""What the scheduler notes each second for `why`: which gates are shut, and how loaded each environment is."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Set
from typing import Any, NamedTuple

import orjson
from django.db import connection

KEPT_DAYS = 7
PREDICTIONS_KEPT_DAYS = 30

# Of ten thousand tenants at their rates each has a gate: compared by `=`, which PostgreSQL can hash, not pair by pair.
CLOSE = """
UPDATE gate_intervals g SET ended_at = clock_timestamp()
 WHERE ended_at IS NULL AND NOT EXISTS (
       SELECT 1 FROM unnest(%(gates)s::text[], %(environments)s::text[], %(tenants)s::text[], %(types)s::text[])
              AS s(gate, environment, tenant_id, type)
        WHERE s.gate = g.gate AND coalesce(s.environment, '') = coalesce(g.environment, '')
          AND coalesce(s.tenant_id, '') = coalesce(g.tenant_id, '') AND coalesce(s.type, '') = coalesce(g.type, ''))
"""
OPEN = """
INSERT INTO gate_intervals (gate, environment, tenant_id, type, started_at)
SELECT s.gate, s.environment, s.tenant_id, s.type, clock_timestamp()
  FROM unnest(%(gates)s::text[], %(environments)s::text[], %(tenants)s::text[], %(types)s::text[])
       AS s(gate, environment, tenant_id, type)
 WHERE NOT EXISTS (SELECT 1 FROM gate_intervals g WHERE g.ended_at IS NULL AND s.gate = g.gate
          AND coalesce(s.environment, '') = coalesce(g.environment, '')
          AND coalesce(s.tenant_id, '') = coalesce(g.tenant_id, '') AND coalesce(s.type, '') = coalesce(g.type, ''))
"""
PURGE = "DELETE FROM gate_intervals WHERE ended_at < clock_timestamp() - make_interval(days => %s)"
FORGET = "DELETE FROM start_predictions WHERE predicted_at < clock_timestamp() - make_interval(days => %s)"
LOAD = """
INSERT INTO pool_loads (environment, by_type, children, waiting_weight, short_types, worker_in_s, seen_at)
VALUES (%s, %s, %s, %s, %s, %s, clock_timestamp())
ON CONFLICT (environment) DO UPDATE SET by_type = excluded.by_type, children = excluded.children,
       waiting_weight = excluded.waiting_weight, short_types = excluded.short_types,
       worker_in_s = excluded.worker_in_s, seen_at = excluded.seen_at
"""


class ShutGate(NamedTuple):
    """A gate that is shut now, and for whom; None: for all."""

    gate: str
    environment: str | None = None
    tenant_id: str | None = None
    type: str | None = None


class Load(NamedTuple):
    """An environment's leases by type, its worker processes, the weight of those who wait.

    `short_types`: those that hold no process for long; `worker_in_s`: when the first long job may end, None: none runs.
    """

    by_type: Mapping[str, int]
    children: int
    waiting_weight: float
    short_types: Collection[str] = ()
    worker_in_s: float | None = None


def note(shut: Set[ShutGate], *, loads: Mapping[str, Load]) -> None:
    """Begin an interval for each gate newly shut, end it for each that opened; write each environment's load.

    Intervals older than `KEPT_DAYS` and forecasts older than `PREDICTIONS_KEPT_DAYS` are purged.
    """
    rows = sorted(shut, key=str)
    values: dict[str, Any] = {
        "gates": [each.gate for each in rows],
        "environments": [each.environment for each in rows],
        "tenants": [each.tenant_id for each in rows],
        "types": [each.type for each in rows],
    }
    with connection.cursor() as cursor:
        cursor.execute(CLOSE, values)
        if rows:
            cursor.execute(OPEN, values)
        cursor.execute(PURGE, [KEPT_DAYS])
        cursor.execute(FORGET, [PREDICTIONS_KEPT_DAYS])
        for environment, load in loads.items():
            by_type, short = (orjson.dumps(each).decode() for each in (dict(load.by_type), sorted(load.short_types)))
            cursor.execute(LOAD, [environment, by_type, load.children, load.waiting_weight, short, load.worker_in_s])

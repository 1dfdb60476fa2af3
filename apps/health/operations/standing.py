"""How a component's standing is read under its lock, and written with its flips, measures and events in one go."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from typing import Any, NamedTuple

import orjson
from django.conf import settings
from django.db import connection

from apps.core.database import clock
from apps.core.ids import uuid7
from apps.events import operations as event_log
from apps.health import events, lifecycle, windows
from apps.health.lifecycle import Flip, Signal, Standing, Status, Step, Terms
from apps.health.models import PLATFORM, Component
from apps.health.models import Flip as FlipRow
from apps.health.windows import Limits, Window
from apps.jobs import liveness
from apps.tenancy.context import acting_for

TELL = f"""
WITH asked AS (
    SELECT %(tenant)s::text AS tenant_id, e.event_id, e.event_type, e.event_subject, e.event_data
      FROM jsonb_to_recordset(%(events)s::jsonb)
           AS e(event_id uuid, event_type text, event_subject text, event_data jsonb)
)
{event_log.APPEND.format(source="asked")}
"""
# What a component depends on and is down, of its own tenant or of the platform; asked when it goes bad itself.
DOWN_ABOVE = """
SELECT DISTINCT module || '/' || component FROM health_status
 WHERE status = 'down' AND deleted_at IS NULL AND (tenant_id IS NULL OR tenant_id IS NOT DISTINCT FROM %(tenant)s)
   AND module || '/' || component = ANY (%(names)s)
"""
MEASURE = """
INSERT INTO health_windows AS w (tenant_id, component_id, minute, checks, errors, latencies)
VALUES (%(tenant)s, %(component)s, date_trunc('minute', %(at)s::timestamptz), %(checks)s, %(errors)s, %(latencies)s)
ON CONFLICT (component_id, minute) DO UPDATE
   SET checks = least(w.checks::bigint + excluded.checks, 2147483647),
       errors = least(w.errors::bigint + excluded.errors, 2147483647),
       latencies = coalesce((
           SELECT array_agg(coalesce(w.latencies[i], 0) + coalesce(excluded.latencies[i], 0) ORDER BY i)
             FROM generate_series(1, greatest(cardinality(w.latencies), cardinality(excluded.latencies))) AS i), '{}')
"""
RECENT = """
SELECT checks, errors, latencies FROM health_windows
 WHERE component_id = %(component)s AND minute > %(at)s::timestamptz - make_interval(mins => %(minutes)s)
"""

MOST_COUNTED = 2**31 - 1  # what a column holds; a module may say a thousand million at a time


class Measured(NamedTuple):
    """What a signal brings of numbers: how long it took, and of how many checks how many failed."""

    latency_ms: float | None = None
    checks: int = 1
    errors: int = 0


class ChangedMeanwhileError(Exception):
    """The row was written by another since it was read, which its lock should have kept from happening."""


def terms_of(row: Component) -> Terms:
    """Return what was agreed of a component. The interval of what the plane asks itself is its own: no deadline."""
    return Terms(
        interval_s=None if row.probe else row.interval_s,
        grace_s=row.grace_s,
        failures=row.failure_threshold,
        successes=row.success_threshold,
        expected=row.expected,
    )


def standing_of(row: Component) -> Standing:
    """Return how a component stands."""
    return Standing(
        status=Status(row.status),
        since=row.since,
        awaited_from=row.awaited_from,
        reason=row.reason,
        seen_at=row.last_check,
        failures=row.failures,
        successes=row.successes,
        alarms=tuple(row.alarms),
        alarmed_since=row.alarmed_since,
    )


def hear(
    row: Component,
    *,
    signal: Signal,
    at: datetime,
    reason: str = "",
    partial: bool = False,
    measured: Measured | None = None,
    more: Mapping[str, Any] | None = None,
) -> tuple[Flip, ...]:
    """Write what a signal makes of a component whose row is locked; return the flips. `more`: further columns."""
    values = dict(more or {})
    impaired = None
    if measured is not None:
        recent = _measure(row, measured=measured, at=at)
        impaired = windows.impairment(recent, limits=Limits(row.max_error_rate, row.max_latency_ms))
        values |= {
            "checks": min(recent.checks, MOST_COUNTED),
            "errors": min(recent.errors, MOST_COUNTED),
            "error_rate": recent.error_rate,
        }
        if measured.latency_ms is not None:
            values["latency"] = round(measured.latency_ms, 3)
    step = lifecycle.heard(
        standing_of(row), terms=terms_of(row), signal=signal, at=at, reason=reason, partial=partial, impaired=impaired
    )
    return write(row, step=step, more=values)


def write(row: Component, *, step: Step, more: Mapping[str, Any] | None = None) -> tuple[Flip, ...]:
    """Write a decided step over a locked row, with its flips and events; return the flips."""
    standing, flips = step
    values: dict[str, Any] = {
        "status": standing.status.value,
        "since": standing.since,
        "awaited_from": standing.awaited_from,
        "reason": standing.reason,
        "last_check": standing.seen_at,
        "failures": standing.failures,
        "successes": standing.successes,
        "alarms": list(standing.alarms),
        "alarmed_since": standing.alarmed_since,
        "due_at": lifecycle.due_at(standing, terms=terms_of(row)),
        **(more or {}),
    }
    if flips:
        values["muted_by"] = _down_above(row) if standing.status in lifecycle.ALARMS else []
    if standing.status not in lifecycle.ALARMS | {Status.UNKNOWN}:
        values |= {"affected_tenants": 0, "affected_jobs": 0}
    elif flips and (pool := pool_of(row)) is not None:
        hit = liveness.unfinished(environment=pool)
        values |= {"affected_tenants": len(hit), "affected_jobs": sum(hit.values())}
    written = Component.every.filter(component_id=row.component_id, revision=row.revision).update(
        **values, revision=row.revision + 1
    )
    if not written:
        raise ChangedMeanwhileError
    alarmed = row.alarmed_since is not None
    for name, value in values.items():
        setattr(row, name, value)
    row.revision += 1
    if flips:
        _keep(row, flips)
        tell(_told(row, flips, alarmed=alarmed), tenant_id=row.tenant_id)
    return flips


def forget(row: Component) -> None:
    """Forget a locked component until it is heard of again. What was told of it is over: nobody waits for its rise."""
    at = clock()
    write(
        row,
        step=lifecycle.stopped(standing_of(row), at=at),
        more={"deleted_at": at, "due_at": None, "probe_due_at": None},
    )


def tell(told: Sequence[Mapping[str, Any]], *, tenant_id: str | None) -> None:
    """Write events, each with event_type, event_subject and event_data, in this transaction."""
    if not told:
        return
    rows = [{"event_id": str(uuid7()), **each} for each in told]
    with connection.cursor() as cursor:
        cursor.execute(TELL, {"tenant": tenant_id, "events": orjson.dumps(rows).decode()})


def tell_unmuted(found: Iterable[Component]) -> None:
    """Tell of components whose excuse is over and that are not well still: nobody was, while they were muted."""
    told: dict[str | None, list[dict[str, Any]]] = {}
    for row in found:
        status = Status(row.status)
        again = _event(events.DEGRADED, row, Flip(status, status, row.reason, row.since))
        told.setdefault(row.tenant_id, []).append(again)
    for tenant_id, of_tenant in told.items():
        tell(of_tenant, tenant_id=tenant_id)


def owned_by(row: Component) -> AbstractContextManager[None]:
    """Return the context in which an operator's deed about a component is written.

    As its tenant would write it: an operator's own role writes no tenant's events. The loops' may write everything.
    """
    operator = row.tenant_id is not None and settings.ENVIRONMENT.database_role == "app"
    return acting_for(str(row.tenant_id)) if operator else nullcontext()


def pool_of(row: Component) -> str | None:
    """Return the worker pool that a part of the plane's is or serves; None for any other component."""
    kind, _, pool = row.component.partition("-")
    return pool if row.tenant_id is None and row.module == PLATFORM and kind in {"worker", "queue"} and pool else None


def identity(row: Component) -> dict[str, Any]:
    """Return how events name a component."""
    return {
        "component_id": str(row.component_id),
        "module": row.module,
        "component": row.component,
        "region": row.region,
        "classification": row.classification,
    }


def condition(row: Component) -> dict[str, Any]:
    """Return how a component stands, as receipts keep it."""
    return {"status": row.status, "reason": row.reason, "since": row.since.isoformat(), "failures": row.failures}


def _told(row: Component, flips: Sequence[Flip], *, alarmed: bool) -> list[dict[str, Any]]:
    """Return the events of these flips: into an alarm, and out of what others were told of."""
    found = []
    for flip in flips:
        if flip.new in lifecycle.ALARMS:
            event_type, alarmed = events.DEGRADED, True
        elif alarmed and flip.new in {Status.UP, Status.PAUSED, Status.NEW}:
            event_type, alarmed = events.RECOVERED, False
        else:
            continue
        found.append(_event(event_type, row, flip))
    return found


def _event(event_type: str, row: Component, flip: Flip) -> dict[str, Any]:
    data = {
        **identity(row),
        "status": flip.new.value,
        "previous": flip.old.value,
        "reason": flip.reason,
        "at": flip.at.isoformat().replace("+00:00", "Z"),
        "muted_by": row.muted_by,
        "affected": {"tenants": row.affected_tenants, "jobs": row.affected_jobs},
    }
    return {"event_type": event_type, "event_subject": str(row.component_id), "event_data": data}


def _keep(row: Component, flips: Sequence[Flip]) -> None:
    FlipRow.every.bulk_create(
        FlipRow(
            flip_id=uuid7(),
            tenant_id=row.tenant_id,
            component_id=row.component_id,
            old=flip.old.value,
            new=flip.new.value,
            reason=flip.reason,
            at=flip.at,
            muted_by=row.muted_by,
            region=row.region,
            classification=row.classification,
        )
        for flip in flips
    )


def _down_above(row: Component) -> list[str]:
    if not row.depends_on:
        return []
    with connection.cursor() as cursor:
        cursor.execute(DOWN_ABOVE, {"tenant": row.tenant_id, "names": list(row.depends_on)})
        return sorted(name for (name,) in cursor.fetchall())


def _measure(row: Component, *, measured: Measured, at: datetime) -> Window:
    """Add to the minute's window; return the component's last quarter of an hour, this included."""
    counts = [0] * windows.BUCKETS if measured.latency_ms is not None else []
    if measured.latency_ms is not None:
        counts[windows.bucket(measured.latency_ms)] = 1
    values = {"tenant": row.tenant_id, "component": row.component_id, "at": at}
    with connection.cursor() as cursor:
        cursor.execute(MEASURE, {**values, "checks": measured.checks, "errors": measured.errors, "latencies": counts})
        cursor.execute(RECENT, {**values, "minutes": windows.MINUTES})
        return windows.together(
            Window(checks, errors, tuple(found or ())) for checks, errors, found in cursor.fetchall()
        )

"""Components as callers read them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from apps.health import lifecycle, windows
from apps.health.models import Component, Flip, Receipt
from apps.health.windows import Window

SHOWN = (
    "module", "component", "tenant_id", "kind", "status", "since", "reason", "last_check", "latency", "error_rate",
    "checks", "expected", "depends_on", "muted_by", "version", "region", "classification",
)  # fmt: skip
TERMS = ("interval_s", "grace_s", "failure_threshold", "success_threshold", "max_error_rate", "max_latency_ms")
FLIP = ("old", "new", "reason", "at", "noticed_at", "muted_by")
RECEIPT = (
    "policy", "action", "condition", "outcome", "facts", "proof", "dry_run", "begun_at", "settled_at",
)  # fmt: skip
# From bad to good: the worst of a map is what its reader wants to know first.
WORST_FIRST = ("down", "degraded", "unknown", "grace", "new", "up", "paused")


def component(row: Component, *, now: datetime, mine: Mapping[UUID, int] | None) -> dict[str, Any]:
    """Return a component as it stands. `mine`: the caller's own jobs by component; None: he has none of his own."""
    affected: dict[str, Any] = {
        "tenants": row.affected_tenants,
        "jobs": row.affected_jobs,
        "your_jobs": None if mine is None else mine.get(row.component_id, 0),
    }
    shown: dict[str, Any] = {name: getattr(row, name) for name in SHOWN}
    return shown | {
        "failed": row.errors,
        "affected": affected,
        "flapping": lifecycle.flapping(row.alarms, at=now),
    }


def history(
    row: Component,
    *,
    by_tenant: Mapping[str, int] | None,
    hour: Window,
    flips: Iterable[Flip],
    receipts: Iterable[Receipt],
) -> dict[str, Any]:
    """Return what one component's page has beyond how it stands. `by_tenant`: for the platform's eyes alone."""
    shares = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
    latencies = {name: windows.percentile(hour.latencies, share=share) for name, share in shares.items()}
    return {
        "terms": {name: getattr(row, name) for name in TERMS},
        "due_at": row.due_at,
        "by_tenant": None if by_tenant is None else dict(by_tenant),
        "latencies": {**latencies, "count": sum(hour.latencies)},
        "flips": [{name: getattr(flip, name) for name in FLIP} for flip in flips],
        "receipts": [
            {"receipt_id": str(each.receipt_id), **{name: getattr(each, name) for name in RECEIPT}} for each in receipts
        ],
    }


def worst(rows: Iterable[Component]) -> str:
    """Return the worst status of a map, of what does not merely suffer from another's outage; `up` of nothing."""
    found = {row.status for row in rows if not row.muted_by and (row.expected or row.status != "new")}
    return next((status for status in WORST_FIRST if status in found), "up")


def modules(rows: Iterable[Component]) -> list[dict[str, Any]]:
    """Return each module of a map in one word, by name."""
    found: dict[str, list[Component]] = {}
    for row in rows:
        found.setdefault(row.module, []).append(row)
    return [{"module": name, "status": worst(own), "components": len(own)} for name, own in sorted(found.items())]

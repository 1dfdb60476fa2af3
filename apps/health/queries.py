"""Every read of health that others may use: the map, one component's history. In the caller's context."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from django.db.models import Q

from apps.core.database import ClockTimestamp, rows
from apps.health import windows
from apps.health.models import STATUSES, Component, Flip, Impact, MinuteWindow, Receipt, Watch
from apps.health.windows import Window

FLIPS_SHOWN, RECEIPTS_SHOWN = 50, 20
MOST_SHOWN = 5000
LATELY = timedelta(minutes=5)  # who was heard of since lives, whatever is said of it
# What the map shows of each: half of a row, which is most of what reading it costs.
MAPPED = (
    "component_id", "tenant", "module", "component", "kind", "status", "since", "reason", "last_check", "latency",
    "error_rate",
    "errors", "checks", "expected", "depends_on", "muted_by", "version", "region", "classification", "alarms",
    "affected_tenants", "affected_jobs",
)  # fmt: skip
WATCHED = """
SELECT clock_timestamp(), w.looked_at, w.distrusted_since,
       w.looked_at IS NULL OR w.looked_at < clock_timestamp() - interval '15 s'
  FROM (SELECT 1) AS one LEFT JOIN health_watch w ON w.name = 'watcher'
"""


COUNTED = "SELECT status, count(*) FROM health_status WHERE deleted_at IS NULL GROUP BY status"


class Watched(NamedTuple):
    """The watcher as it stands: when it looked, since when it distrusts its ears, whether it has not looked lately."""

    now: datetime
    looked_at: datetime | None
    distrusted_since: datetime | None
    stale: bool


def watched() -> Watched:
    """Return how the watcher stands."""
    (found,) = rows(WATCHED, [])
    return Watched(*found)


def components(visible: Q) -> Sequence[Component]:
    """Return the components that a caller may see, by module and name."""
    found = Component.every.filter(visible, deleted_at=None).only(*MAPPED)
    return list(found.order_by("module", "component")[:MOST_SHOWN])


def one(visible: Q, *, module: str, component: str) -> Component | None:
    """Return a component by its name: a tenant's own before the platform's."""
    found = Component.every.filter(visible, module=module, component=component, deleted_at=None)
    return found.order_by("tenant_id").first()  # NULLs come last


def jobs_hit(*, tenant_id: str) -> dict[UUID, int]:
    """Return component → how many of the tenant's unfinished jobs are where it is not well."""
    return dict(Impact.every.filter(tenant_id=tenant_id).values_list("component_id", "jobs"))


def hit(component_id: UUID) -> dict[str, int]:
    """Return tenant → its unfinished jobs where the component is not well; names, so for the platform alone."""
    return dict(Impact.every.filter(component_id=component_id).values_list("tenant_id", "jobs"))


def flips(component_id: UUID, *, limit: int = FLIPS_SHOWN) -> Sequence[Flip]:
    """Return a component's last changes, newest first."""
    return list(Flip.every.filter(component_id=component_id).order_by("-flip_id")[:limit])


def receipts(component_id: UUID, *, limit: int = RECEIPTS_SHOWN) -> Sequence[Receipt]:
    """Return what was done about a component lately, newest first."""
    return list(Receipt.every.filter(component_id=component_id).order_by("-receipt_id")[:limit])


def recovered_lately(visible: Q, *, limit: int) -> Sequence[Receipt]:
    """Return what was done about any component that a caller may see, newest first; rehearsals are left out."""
    rows = Receipt.every.filter(visible, dry_run=False).select_related("component")
    return list(rows.order_by("-receipt_id")[:limit])


def last_hour(component_id: UUID, *, now: datetime) -> Window:
    """Return the measures of a component's last hour, as one."""
    found = MinuteWindow.every.filter(component_id=component_id, minute__gt=now - timedelta(hours=1))
    return windows.together(
        Window(checks, errors, tuple(counts))
        for checks, errors, counts in found.values_list("checks", "errors", "latencies")
    )


def watch() -> Watch | None:
    """Return the watcher's own row."""
    return Watch.objects.filter(name="watcher").first()


def named(*, module: str, component: str) -> Component | None:
    """Return a component of the platform's own by its name."""
    return Component.every.filter(tenant=None, module=module, component=component, deleted_at=None).first()


def not_well() -> int:
    """Return how many components are not well, in the current context."""
    return Component.every.filter(status__in=["degraded", "down", "unknown"], deleted_at=None).count()


def by_status() -> dict[str, int]:
    """Return how many components are in each status, in the current context."""
    counted = dict(rows(COUNTED, []))
    return {status: int(counted.get(status, 0)) for status in STATUSES}


def standing_of(module: str) -> dict[str, str]:
    """Return component → status of a module's, a tenant's own by its tenant. Across tenants."""
    found = Component.every.filter(module=module, deleted_at=None).order_by("component", "tenant_id")
    return {_name(row): row.status for row in found.only("component", "tenant", "status")[:MOST_SHOWN]}


def reporting(module: str) -> list[tuple[str, str]]:
    """Return the components of a module that live, and the version that each last said it is of. Across tenants.

    One that is down or paused lives where it was heard of lately: it may say itself that it fails, and whoever nobody
    shall worry about goes on as it did.
    """
    silent = Q(last_check=None) | Q(last_check__lt=ClockTimestamp() - LATELY)
    found = Component.every.filter(module=module, deleted_at=None).exclude(version="")
    living = found.exclude(silent, status__in=["down", "paused"])
    return [(_name(row), row.version) for row in living.order_by("component", "tenant_id")]


def _name(row: Component) -> str:
    return row.component if row.tenant_id is None else f"{row.component} ({row.tenant_id})"

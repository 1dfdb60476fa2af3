"""What stands beside a tenant's jobs: its alerts, its tickets, and the health of what its work depends on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from django.db.models import Q

from apps.console.visits import Visit
from apps.core.ids import BadIdError, parse_id
from apps.governance.queries import prohibitions
from apps.health import queries as health_queries
from apps.health.representation import WORST_FIRST
from apps.notifications import queries as notification_queries
from apps.tickets import queries as ticket_queries

SHOWN: Final = 8
OVER_SHOWN: Final = 3
RECOVERIES_SHOWN: Final = 3
WELL: Final = frozenset({"up", "new", "paused"})


@dataclass(frozen=True, kw_only=True)
class Alert:
    """An alert, and the job that it is about, where it names one."""

    row: Any
    job_id: UUID | None


def alerts(visit: Visit) -> dict[str, Any]:
    """Return the tenant's alerts: the newest of those that stand, and of those that are over."""
    return {
        "standing": [_alert(row) for row in _notified(visit, resolved=False, limit=SHOWN)],
        "over": [_alert(row) for row in _notified(visit, resolved=True, limit=OVER_SHOWN)],
    }


def tickets(visit: Visit) -> dict[str, Any]:
    """Return the tenant's tickets: the newest of those that owe somebody something, and of those that do not."""
    return {"standing": _owed(visit, open_=True, limit=SHOWN), "over": _owed(visit, open_=False, limit=OVER_SHOWN)}


def tickets_about(visit: Visit, job_id: UUID) -> list[Any]:
    """Return the newest tickets that a job led to."""
    filters = ticket_queries.Filters(tenant_id=visit.tenant_id, job_id=job_id)
    return list(ticket_queries.page(filters, limit=OVER_SHOWN))


def health(visit: Visit) -> dict[str, Any]:
    """Return the tenant's own components, and of the plane's own those that are not well, the worst first.

    What a standing policy withholds from the tenant (`health.read.<classification>`) is not shown here either.
    """
    visible = Q(tenant_id=None) | Q(tenant_id=visit.tenant_id)
    found = health_queries.components(visible)
    hidden = _withheld(visit, sorted({row.classification for row in found}))
    found = [row for row in found if row.classification not in hidden]
    shown = [row for row in found if row.tenant_id is not None or row.status not in WELL]
    hit = health_queries.jobs_hit(tenant_id=visit.tenant_id)
    receipts = health_queries.recovered_lately(visible, limit=RECOVERIES_SHOWN) if found else []
    return {
        "shown": [(row, hit.get(row.component_id, 0)) for row in sorted(shown, key=_how_bad)],
        "well": sum(row.tenant_id is None and row.status in WELL for row in found),
        "recoveries": [each for each in receipts if each.classification not in hidden],
    }


def _how_bad(row: Any) -> tuple[int, str, str]:
    return WORST_FIRST.index(row.status), row.module, row.component


def _withheld(visit: Visit, classifications: Sequence[str]) -> set[str]:
    names = [f"health.read.{each}" for each in classifications]
    return {name.rpartition(".")[2] for name in prohibitions(tenant_id=visit.tenant_id, names=names)}


def _notified(visit: Visit, *, resolved: bool, limit: int) -> Sequence[Any]:
    filters = notification_queries.Filters(tenant_id=visit.tenant_id, category="alert", resolved=resolved)
    return notification_queries.page(before=None, limit=limit, filters=filters)


def _owed(visit: Visit, *, open_: bool, limit: int) -> list[Any]:
    return list(ticket_queries.page(ticket_queries.Filters(tenant_id=visit.tenant_id, open=open_), limit=limit))


def _alert(row: Any) -> Alert:
    return Alert(row=row, job_id=job_of(row.details))


def job_of(details: Any) -> UUID | None:
    """Return the job that details name; None where they name none."""
    try:
        return parse_id(str(details["job_id"]))
    except (BadIdError, KeyError, TypeError):
        return None

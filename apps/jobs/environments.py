"""Reads of environments and of the pauses in force."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple

from django.db.models import Q

from apps.core.database import ClockTimestamp, preparing
from apps.jobs.models import Environment, Pause
from apps.jobs.pausing import Target


class Standing(NamedTuple):
    """An environment as it stands: `in_use` counts held slots, whoever's; `open_to` None = every tenant."""

    name: str
    region: str
    slots: int
    reserved_slots: int
    open_to: list[str] | None
    paused_until: datetime | None
    in_use: int


STANDING = """
SELECT e.name, e.region, e.slots, e.reserved_slots, e.allowed_tenants::text[],
       CASE WHEN e.paused_until > clock_timestamp() THEN e.paused_until END,
       (SELECT count(*) FROM jobs WHERE status IN ('dispatched', 'running') AND environment_id = e.name)
  FROM environments e ORDER BY e.name
"""


def standings(*, tenants: Collection[str] | None) -> list[Standing]:
    """Return the environments that one of `tenants` may use, None = all; read across tenants, for the count."""
    with preparing() as cursor:
        cursor.execute(STANDING)
        found = [Standing(*row) for row in cursor.fetchall()]
    return [each for each in found if tenants is None or each.open_to is None or set(each.open_to) & set(tenants)]


# Asked in every look: built anew by the ORM it cost a sixth of it.
IN_FORCE = """
SELECT environment_id, tenant_id, type FROM pauses
 WHERE ended_at IS NULL AND (until IS NULL OR until > clock_timestamp())
"""


def pauses_in_force() -> list[Target]:
    """Return what is paused now, across tenants; for the loops. `pausing.held_by_pause` asks it about a job."""
    with preparing() as cursor:
        cursor.execute(IN_FORCE)
        return [Target(*row) for row in cursor.fetchall()]


def pauses_seen_by(*, tenants: Collection[str] | None) -> Sequence[Pause]:
    """Return the pauses in force that may hold jobs of `tenants` (None = anybody's), the oldest first."""
    rows = Pause.every.filter(_in_force()).order_by("started_at")
    if tenants is not None:
        rows = rows.filter(Q(tenant_id=None) | Q(tenant_id__in=list(tenants)))
    return list(rows)


def pauses_holding(*, environment: str, tenant_id: str, job_type: str) -> Sequence[Pause]:
    """Return the pauses in force that hold such a job, the one that lasts longest first."""
    rows = Pause.every.filter(
        _in_force(),
        Q(environment_id=None) | Q(environment_id=environment),
        Q(tenant_id=None) | Q(tenant_id=tenant_id),
        Q(type=None) | Q(type=job_type),
    )
    return sorted(rows, key=lambda pause: (pause.until is None, pause.until), reverse=True)


def _in_force() -> Q:
    return Q(ended_at=None) & (Q(until=None) | Q(until__gt=ClockTimestamp()))


def queue_of(*, environment: str) -> str | None:
    """Return the Celery queue of an environment; None where there is none."""
    return Environment.objects.filter(name=environment).values_list("queue", flat=True).first()

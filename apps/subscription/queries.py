"""Every read of Subscription's catalogue that others may use."""

from __future__ import annotations

from datetime import date
from typing import NamedTuple

from django.db.models import Q

from apps.core.database import preparing
from apps.subscription.models import UsageDaily


class Share(NamedTuple):
    """A tenant's weight beside others, the slots it may hold at any instant, and its rate in words, if it has one."""

    tenant_id: str
    weight: int
    max_running: int
    rate: str | None = None


SHARES = """
SELECT s.tenant_id, p.weight, p.max_running, p.rate
  FROM subscriptions s JOIN plans p USING (plan_id) WHERE s.state = 'active'
"""


def shares() -> list[Share]:
    """Return every subscribed tenant's share; for loops, whose database role sees all of them."""
    with preparing() as cursor:
        cursor.execute(SHARES)
        return [Share(*row) for row in cursor.fetchall()]


def usage_place(row: UsageDaily) -> tuple[int, str, str]:
    """Return where a row stands in the list: newest day first, then by tenant and job type."""
    return -row.day.toordinal(), row.tenant_id, row.job_type


def usage(
    *, first: date | None, last: date | None, after: tuple[date, str, str] | None, limit: int
) -> list[UsageDaily]:
    """Return the current context's usage of the days `first` to `last` (UTC), in the order of `usage_place`."""
    rows = UsageDaily.objects.order_by("-day", "tenant_id", "job_type")
    if first is not None:
        rows = rows.filter(day__gte=first)
    if last is not None:
        rows = rows.filter(day__lte=last)
    if after is not None:
        day, tenant_id, job_type = after
        behind = Q(tenant_id__gt=tenant_id) | Q(tenant_id=tenant_id, job_type__gt=job_type)
        rows = rows.filter(Q(day__lt=day) | (Q(day=day) & behind))
    return list(rows[:limit])

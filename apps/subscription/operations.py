"""Every write of the built-in catalogue of plans and subscriptions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from apps.core.database import ClockTimestamp
from apps.core.rate import parse_rate
from apps.subscription.models import Plan, Subscription, SubscriptionState


def put_plan(
    *,
    plan_id: str,
    job_types: Sequence[str],
    weight: int,
    max_running: int,
    jobs_per_day: int | None,
    backlog_cap: int,
    audit_debt: int = 10_000,
    rate: str | None = None,
) -> Plan:
    """Lay down what a plan entitles to, or replace it whole; return it. It holds from the next decision on.

    Raises `ValueError` for a `rate` that is none.
    """
    if rate is not None:
        parse_rate(rate)
    plan, _ = Plan.objects.update_or_create(
        plan_id=plan_id,
        defaults={
            "job_types": list(job_types),
            "weight": weight,
            "max_running": max_running,
            "jobs_per_day": jobs_per_day,
            "backlog_cap": backlog_cap,
            "audit_debt": audit_debt,
            "rate": rate,
            "changed_at": ClockTimestamp(),
        },
    )
    return plan


def remove_plan(*, plan_id: str) -> None:
    """Remove a plan that nobody is on; raises `django.db.models.ProtectedError` while somebody is."""
    Plan.objects.filter(plan_id=plan_id).delete()


def subscribe(
    *, tenant_id: str, plan_id: str, state: SubscriptionState | str, valid_until: datetime | None
) -> Subscription:
    """Put a tenant on a plan, or change what it is on; return the subscription."""
    subscription, _ = Subscription.objects.update_or_create(
        tenant_id=tenant_id,
        defaults={"plan_id": plan_id, "state": state, "valid_until": valid_until, "changed_at": ClockTimestamp()},
    )
    return subscription

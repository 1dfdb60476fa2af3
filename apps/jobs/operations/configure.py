"""What people set about environments: slots, reserve, who may use them, pauses."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from apps.jobs.models import Environment


class NoEnvironmentError(Exception):
    """There is no such environment."""


def set_environment(
    *,
    name: str,
    region: str,
    slots: int,
    reserved_slots: int,
    allowed_tenants: Sequence[str] | None,
    paused_until: datetime | None,
    pause_reason: str | None,
) -> None:
    """Set how much environment `name` takes, for whom, and until when it takes nothing; raises `NoEnvironmentError`.

    What is dispatched already keeps its slot: fewer slots, or a pause, hold back what comes next. Its queue is not set
    here: queues are what workers were started for.
    """
    updated = Environment.objects.filter(name=name).update(
        region=region,
        slots=slots,
        reserved_slots=reserved_slots,
        allowed_tenants=None if allowed_tenants is None else list(allowed_tenants),
        paused_until=paused_until,
        pause_reason=pause_reason,
    )
    if not updated:
        raise NoEnvironmentError(f"there is no environment {name}")

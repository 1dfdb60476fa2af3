"""What people set about environments: slots, reserve, who may use them, pauses."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime

from apps.jobs.models import Environment
from apps.jobs.operations import pauses
from apps.jobs.pausing import Target


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
    by: str = "operator",
) -> None:
    """Set how much environment `name` takes, for whom, and until when it takes nothing; raises `NoEnvironmentError`.

    What is dispatched already keeps its slot: fewer slots, or a pause, hold back what comes next. Its queue is not set
    here: queues are what workers were started for.
    """
    before = Environment.objects.filter(name=name).values_list("paused_until", flat=True).first()
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
    # The pause is kept as an interval as well, beside those that were asked for by request, which this page leaves be.
    whole = Target(name, None, None)
    if paused_until is not None:
        pauses.pause(whole, reason=pause_reason or "", until=paused_until, by=by)
    elif before is not None:
        with suppress(pauses.NotPausedError):
            pauses.resume(whole, by=by)

"""What is asked about a schedule: make it, change it, pause it, take it away, run a range of its past."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction

from apps.core.database import clock
from apps.core.ids import uuid7
from apps.core.versions import ChangedMeanwhileError
from apps.schedules.models import Fire, Schedule
from apps.schedules.operations.fires import first_after


class NameTakenError(Exception):
    """Another of the tenant's has this name."""


def create(values: Mapping[str, Any], *, tenant_id: str, owner: str) -> Schedule:
    """Make a schedule that fires from now on; raises `NameTakenError`. In its tenant's context."""
    schedule = Schedule(schedule_id=uuid7(), tenant_id=tenant_id, owner=owner, **values)
    schedule.next_fire_at = first_after(schedule, instant=clock())
    try:
        with transaction.atomic():
            Schedule.objects.bulk_create([schedule])
    except IntegrityError as error:
        raise NameTakenError from error
    return Schedule.objects.get(schedule_id=schedule.schedule_id)


def change(values: Mapping[str, Any], *, schedule_id: UUID, version: int, owner: str) -> None:
    """Change a schedule at `version`; whoever does is its jobs' submitter from then on.

    Raises `ChangedMeanwhileError`, `NameTakenError`.
    """
    schedule = Schedule.objects.select_for_update().get(schedule_id=schedule_id)
    if schedule.version != version:
        raise ChangedMeanwhileError(version=schedule.version)
    for name, value in values.items():
        setattr(schedule, name, value)
    step = {"next_fire_at": first_after(schedule, instant=clock()), "version": version + 1, "owner": owner}
    try:
        with transaction.atomic():
            Schedule.objects.filter(schedule_id=schedule_id, version=version).update(**values, **step)
    except IntegrityError as error:
        raise NameTakenError from error


def pause(*, schedule_id: UUID, reason: str, by: str) -> None:
    """Let the schedule fire no more until it is resumed; the times meanwhile are not caught up."""
    found = Schedule.objects.filter(schedule_id=schedule_id, deleted_at=None)
    found.update(paused_at=clock(), paused_by=by, pause_reason=reason)


def resume(*, schedule_id: UUID) -> None:
    """Let a paused schedule fire again, from its next time on; of one that is not paused nothing changes."""
    schedule = Schedule.objects.select_for_update().get(schedule_id=schedule_id)
    found = Schedule.objects.filter(schedule_id=schedule_id, deleted_at=None, paused_at__isnull=False)
    following = first_after(schedule, instant=clock())
    found.update(paused_at=None, paused_by=None, pause_reason=None, next_fire_at=following)


def delete(*, schedule_id: UUID) -> None:
    """Take the schedule away. Its fires stay, as they are what was; those that wait make no job."""
    found = Schedule.objects.filter(schedule_id=schedule_id, deleted_at=None)
    found.update(deleted_at=clock(), next_fire_at=None, paused_at=None)


def backfill(times: Sequence[datetime], *, schedule_id: UUID, tenant_id: str) -> int:
    """Let the schedule fire at `times` of its past, in the bulk band; return how many had not been fired yet."""
    fires = [
        Fire(fire_id=uuid7(), schedule_id=schedule_id, tenant_id=tenant_id, fire_at=each, due_at=each, backfill=True)
        for each in times
    ]
    before = Fire.objects.filter(schedule_id=schedule_id, fire_at__in=times).count()
    Fire.objects.bulk_create(fires, ignore_conflicts=True)
    return len(times) - before

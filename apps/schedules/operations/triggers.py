"""What is asked about a trigger: make it, change it, take it away."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction

from apps.core.database import clock
from apps.core.ids import uuid7
from apps.core.versions import ChangedMeanwhileError
from apps.schedules.models import Trigger
from apps.schedules.operations.schedules import NameTakenError


def create(values: Mapping[str, Any], *, tenant_id: str, owner: str) -> Trigger:
    """Make a trigger for what happens from now on; raises `NameTakenError`. In its tenant's context."""
    trigger = Trigger(trigger_id=uuid7(), tenant_id=tenant_id, owner=owner, **values)
    try:
        with transaction.atomic():
            Trigger.objects.bulk_create([trigger])
    except IntegrityError as error:
        raise NameTakenError from error
    return Trigger.objects.get(trigger_id=trigger.trigger_id)


def change(values: Mapping[str, Any], *, trigger_id: UUID, version: int, owner: str) -> None:
    """Change a trigger at `version`; its jobs are `owner`'s from then on.

    Raises `ChangedMeanwhileError`, `NameTakenError`.
    """
    try:
        with transaction.atomic():
            step = {**values, "version": version + 1, "owner": owner}
            changed = Trigger.objects.filter(trigger_id=trigger_id, version=version).update(**step)
    except IntegrityError as error:
        raise NameTakenError from error
    if not changed:
        raise ChangedMeanwhileError(version=Trigger.objects.values_list("version", flat=True).get(pk=trigger_id))


def delete(*, trigger_id: UUID) -> None:
    """Take the trigger away. Its firings stay; those that wait make no job."""
    Trigger.objects.filter(trigger_id=trigger_id, deleted_at=None).update(deleted_at=clock(), enabled=False)

"""The drill: the first wave goes up, down and up again before the rest. For the migrator, across tenants."""

from __future__ import annotations

from uuid import UUID

from django.db import transaction

from apps.migrations import events
from apps.migrations.lifecycle import Drill
from apps.migrations.models import Wave
from apps.migrations.operations import targets
from apps.migrations.operations.moving import running
from apps.migrations.operations.writing import Change, write


def down(migration_id: UUID, *, number: int) -> None:
    """Begin to bring a wave back, to see that it can be; one of which nobody is left leaves that to the next."""
    with transaction.atomic():
        waves = Wave.objects.filter(migration_id=migration_id)
        to_try = waves.filter(number=number, drill=Drill.UP)
        if targets.left(migration_id, wave=number):
            to_try.update(drill=Drill.DOWN)
        elif to_try.update(drill=Drill.NONE):
            waves.filter(number=number + 1).update(drill=Drill.UP)


def again(migration_id: UUID, *, number: int) -> None:
    """Go up once more with a wave that came back."""
    with transaction.atomic():
        held = running(migration_id)
        if held is None:
            return
        Wave.objects.filter(migration_id=migration_id, number=number, drill=Drill.DOWN).update(drill=Drill.DONE)
        targets.up_again(migration_id, wave=number)
        says = {"targets": targets.left(migration_id, wave=number)}
        write(Change(tells=[(events.DRILLED, says)], facts=says), held=held)

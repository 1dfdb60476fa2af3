"""Targets read back: whether each is what its way up, or its way back, had to make of it."""

from __future__ import annotations

import time
from typing import Any, Final
from uuid import UUID

from django.db.models import Sum

from apps.migrations.definition import Definition
from apps.migrations.lifecycle import TargetState
from apps.migrations.models import Migration, Step, Target
from apps.migrations.operations import moving, targets
from workers.migrations import reading
from workers.migrations.errands import Errands
from workers.migrations.reading import Reading

# A target that cannot be reached is asked again for so long, however long each try takes; then a person has to look.
AWAY_S: Final = 240.0


class Readings:
    """What is being read, and since when each target could not be."""

    def __init__(self, errands: Errands) -> None:
        self._errands = errands
        self._away_since: dict[tuple[Any, ...], float] = {}

    def begin(self, target_id: UUID, *, migration: Migration, definition: Definition) -> None:
        """Let a target's turn begin, or set it aside where it is not what it was when the plan was made.

        Days may lie between a plan and its last wave, and people have hands. One that is away may be what it was: its
        wave fails, and the target waits for its turn until somebody has looked. Across tenants.
        """
        target = Target.objects.get(target_id=target_id)
        if definition.targets.database is None or target.state != TargetState.WAITING:
            targets.begin(target_id, back=False)
            return
        found = self._read("before", target, migration=migration, definition=definition)
        if found is None:
            return
        problem = _moved_on(found, target=target, definition=definition)
        if problem is None:
            targets.begin(target_id, back=False)
        elif found.problem == "unreachable":
            why = f"{target.key}: {found.why or 'it could not be reached'}"
            then, number = definition.on_failure, target.wave or 0
            moving.fail_wave(migration.id, number=number, code=found.problem, then=then, why=why)
        else:
            code, why = problem
            targets.set_aside(target_id, code=code, why=why, version=found.version, digest=found.digest)

    def verify(self, target_id: UUID, *, back: bool, migration: Migration, definition: Definition) -> None:
        """Have a target read, and write what came of it once it was. Across tenants."""
        targets.verifying(target_id, back=back)
        target = Target.objects.get(target_id=target_id)
        if definition.targets.database is None:
            # Nothing to read: that its steps ended well is all that can be known.
            version = target.version_before if back else definition.version_to
            targets.verified(target_id, back=back, version=version, digest=None)
            return
        found = self._read("back" if back else "up", target, migration=migration, definition=definition)
        if found is None:
            return
        problem = _wrong(found, target=target, back=back, definition=definition)
        read = {"version": found.version, "digest": found.digest}
        if problem is None:
            targets.verified(target_id, back=back, **read)
        else:
            code, why = problem
            targets.failed(target_id, back=back, code=code, why=why, **read)

    def _read(self, what_for: str, target: Target, *, migration: Migration, definition: Definition) -> Reading | None:
        """Return what a target says of itself, None until it does; one that is away is asked again for a while."""
        # An answer that was fetched before the target was at work again, or its campaign stood still and went on, says
        # nothing of what it is now.
        runs = Step.objects.filter(target_id=target.target_id).aggregate(all=Sum("run"))["all"]
        name = ("reading", target.target_id, what_for, runs, migration.version)
        answer = self._errands.ask(
            name,
            lambda: reading.read(
                definition, account=migration.tenant_id, tenant_id=target.tenant_id, target=target.key
            ),
        )  # fmt: skip
        if answer is None:
            return None
        if answer.error is not None:
            raise answer.error
        found: Reading = answer.value
        if found.problem == "unreachable" and self._again(name):
            return None
        self._away_since.pop(name, None)
        return found

    def _again(self, name: tuple[Any, ...]) -> bool:
        now = time.monotonic()
        return now - self._away_since.setdefault(name, now) < AWAY_S


def _moved_on(found: Reading, *, target: Target, definition: Definition) -> tuple[str, str] | None:
    """Return how a target differs from what the plan knows of it, as a word and a sentence; None if it does not."""
    if found.problem is not None and not _without_version(found, target=target):
        return found.problem, f"it could not be read: {found.problem.replace('_', ' ')}"
    # One that said no version says the old one once it came back, as after a drill.
    planned = target.version_before or definition.version_from
    if found.version is not None and found.version != planned:
        return "version_differs", f"it was at {planned} when the plan was made, and is at {found.version}"
    if found.digest != target.digest_before:
        return "schema_differs", "its schema is not what it was when the plan was made"
    return None


def _without_version(found: Reading, *, target: Target) -> bool:
    """Say whether a target says no version as little as it did when the plan was made, and all else of it is known."""
    return found.problem == "version_absent" and target.version_before is None


def _wrong(found: Reading, *, target: Target, back: bool, definition: Definition) -> tuple[str, str] | None:
    """Return what is wrong with a target that was read, as a word and a sentence; None if it is what it has to be."""
    wanted = (target.version_before or definition.version_from) if back else definition.version_to
    untouched = back and _without_version(found, target=target)
    if found.problem is not None and not untouched:
        return found.problem, f"it could not be read: {found.problem.replace('_', ' ')}"
    if found.version != wanted and not untouched:
        return "not_at_version", f"it says it is at {found.version}, and has to be at {wanted}"
    if back and target.digest_before is not None and found.digest != target.digest_before:
        return "schema_not_back", "its schema is not what it was before"
    return None

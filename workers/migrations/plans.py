"""Plans in the making: what a plan is asked for, and what is written once it is there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final
from uuid import UUID

import structlog

from apps.jobs.models import Environment
from apps.migrations import queries, registry
from apps.migrations.definition import Definition, TargetKind
from apps.migrations.models import Migration
from apps.migrations.operations import planning
from apps.tenancy.queries import active_tenant_ids
from workers.migrations import planner
from workers.migrations.errands import Answer, Errands

log = structlog.get_logger(__name__)

AT_ONCE: Final = 2
# The plane's own tenant of drills goes before anybody's.
INTERNAL: Final = frozenset({"sandbox"})


class Plans:
    """What is being planned."""

    def __init__(self, errands: Errands) -> None:
        self._errands = errands
        self._questions: dict[UUID, tuple[Definition, Callable[[], planner.Plan]]] = {}

    def look(self) -> bool:
        """Begin what waits for a plan, write what is planned; return whether anything is under way. Across tenants."""
        while len(self._questions) < AT_ONCE:
            migration = planning.take(without=list(self._questions))
            if migration is None:
                break
            self._begin(migration)
        for migration_id, (definition, question) in list(self._questions.items()):
            answer = self._errands.ask(("plan", migration_id), question)
            if answer is not None:
                del self._questions[migration_id]
                _write(answer, migration_id=migration_id, definition=definition)
        return bool(self._questions)

    def _begin(self, migration: Migration) -> None:
        if not planning.may_try(migration):
            planning.refuse(
                migration_id=migration.id, code="planning_failed", why="its plan ended its planner each time"
            )
            return
        try:
            definition = registry.find(
                name=migration.name, version_to=migration.version_to, version_from=migration.version_from
            )
        except (registry.UnknownDefinitionError, registry.BadDefinitionError) as error:
            planning.refuse(migration_id=migration.id, code="definition_changed", why=str(error))
            return
        if definition.checksum != migration.definition_checksum:
            why = "its folder changed after the migration was asked for"
            planning.refuse(migration_id=migration.id, code="definition_changed", why=why)
            return
        asked = _asked(migration, definition=definition)
        self._questions[migration.id] = definition, lambda: planner.make(asked)


def _asked(migration: Migration, *, definition: Definition) -> planner.Asked:
    keys = _keys(migration.asked["targets"], account=migration.tenant_id, definition=definition)
    kind = definition.targets.kind.value
    return planner.Asked(
        definition=definition,
        account=migration.tenant_id,
        targets=keys,
        waves=migration.asked["waves"],
        baseline=migration.asked["baseline"],
        drill=migration.drill,
        internal=INTERNAL,
        recorded=queries.recorded(module=definition.module, kind=kind, keys=list(keys)),
    )


def _keys(asked: Mapping[str, Any], *, account: str, definition: Definition) -> dict[str, str]:
    """Return target → the tenant whose it is."""
    if definition.targets.kind is TargetKind.MODULE:
        return {definition.module: account}
    if definition.targets.kind is TargetKind.ENVIRONMENT:
        known = set(Environment.objects.values_list("name", flat=True))
        return {name: account for name in asked["environments"] if name in known}
    named = sorted(active_tenant_ids()) if asked["tenants"] == "*" else asked["tenants"]
    return {tenant: tenant for tenant in named}


def _write(answer: Answer, *, migration_id: UUID, definition: Definition) -> None:
    if isinstance(answer.error, planner.PlanRefusedError):
        planning.refuse(
            migration_id=migration_id, code=answer.error.code, why=str(answer.error), facts=answer.error.facts
        )
        return
    if answer.error is not None:
        # Tried again at the next look, until it was tried too often.
        log.error("plan_failed", migration=str(migration_id), exc_info=answer.error)
        return
    made: planner.Plan = answer.value
    planning.lay(
        planning.Plan(
            document=made.document,
            checksum=made.checksum,
            risk=made.risk,
            approvals=made.approvals,
            waves=[[planning.Planned(*_of(each)) for each in wave] for wave in made.waves],
            set_aside=[planning.SetAside(*_of(each)[:2], each.reason, each.version, each.digest, each.differs, each.why)
                       for each in made.set_aside],
        ),
        migration_id=migration_id,
        definition=definition,
    )  # fmt: skip


def _of(target: Any) -> tuple[str, str, str | None, str | None]:
    return target.key, target.tenant_id, target.version, target.digest

"""A plan becomes rows: waves, targets, steps. For the migrator, across tenants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple
from uuid import UUID

from django.db import IntegrityError, connection, transaction

from apps.core.ids import uuid7
from apps.migrations import events
from apps.migrations.definition import Definition, Kind, Risk
from apps.migrations.lifecycle import Drill, Move, State, TargetState
from apps.migrations.models import Approval, Migration, Step, Target, Wave
from apps.migrations.operations.writing import Change, Held, hold, write

HELD_ONCE = "migration_target_held_once"
# A planner that was killed begins anew; a plan that kills its planner must not do so for ever.
MOST_TRIES = 3
TAKE = """
UPDATE migrations SET planning_tries = planning_tries + 1
 WHERE id = (SELECT id FROM migrations WHERE status = 'draft' AND plan IS NULL AND NOT id = ANY(%s)
              ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING id
"""


class Planned(NamedTuple):
    """A target of a wave, as it was read when the plan was made."""

    key: str
    tenant_id: str
    version: str | None
    digest: str | None


class SetAside(NamedTuple):
    """A target that is not touched, and why."""

    key: str
    tenant_id: str
    reason: str
    version: str | None
    digest: str | None
    differs: Sequence[str]
    why: str | None = None


class Plan(NamedTuple):
    """What a plan decides; `document` is what people read."""

    document: Mapping[str, Any]
    checksum: str
    risk: Risk
    approvals: int
    waves: Sequence[Sequence[Planned]]
    set_aside: Sequence[SetAside]


def take(*, without: Sequence[UUID]) -> Migration | None:
    """Return the oldest migration that has no plan and is not being planned here, having counted the try."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(TAKE, [list(without)])
        row = cursor.fetchone()
        return None if row is None else Migration.objects.get(id=row[0])


def lay(plan: Plan, *, migration_id: UUID, definition: Definition) -> bool:
    """Write a plan with its waves, targets and steps; return whether the migration may go on to run.

    It ends `failed` instead where nothing is left to migrate, where the plan is not the one that was expected, and
    where another migration holds a target. Of a dry run the plan is all there is.
    """
    try:
        with transaction.atomic():
            held = hold(migration_id)
            if held.state is not State.DRAFT:
                return False  # it was aborted meanwhile
            _write_rows(plan, held=held, definition=definition)
            return _decide(plan, held=held)
    except IntegrityError as error:
        if HELD_ONCE not in str(error):
            raise
        refuse(migration_id=migration_id, code="target_busy", why=_who_holds(plan, definition=definition))
        return False


def refuse(*, migration_id: UUID, code: str, why: str, facts: Mapping[str, Any] | None = None) -> None:
    """End a migration that cannot be planned."""
    with transaction.atomic():
        held = hold(migration_id)
        if held.state is State.DRAFT:
            write(_refusal(code, why=why, facts=facts or {}), held=held)


def start(migration_id: UUID) -> bool:
    """Begin a planned migration that has the approvals it needs; return whether it began."""
    with transaction.atomic():
        held = hold(migration_id)
        migration = held.migration
        if held.state is not State.AWAITING_APPROVAL:
            return False
        given = Approval.objects.filter(migration_id=migration_id, plan_checksum=migration.plan_checksum)
        if given.values("approver").distinct().count() < migration.approvals_needed:
            return False
        targets = Target.objects.filter(migration_id=migration_id, holds=True).count()
        says = {"plan_checksum": migration.plan_checksum, "targets": targets}
        write(
            Change(move=Move.START, sets={"started_at": held.now}, tells=[(events.STARTED, says)], facts=says),
            held=held,
        )
        return True


def _decide(plan: Plan, *, held: Held) -> bool:
    migration = held.migration
    laid = {
        "plan": dict(plan.document),
        "plan_checksum": plan.checksum,
        "risk": plan.risk.value,
        "approvals_needed": plan.approvals,
        "planned_at": held.now,
    }
    expected = migration.asked.get("plan")
    says = {
        "dry_run": migration.dry_run,
        "plan_checksum": plan.checksum,
        "risk": plan.risk.value,
        "approvals_needed": plan.approvals,
        "targets": sum(len(wave) for wave in plan.waves),
        "set_aside": len(plan.set_aside),
    }
    if expected is not None and expected != plan.checksum:
        refusal = _refusal("plan_changed", why="the plan is another one than was expected", facts=says)
    elif not says["targets"] and not migration.dry_run:
        refusal = _refusal("no_targets", why="every target was set aside", facts=says)
    else:
        move = None if migration.dry_run else Move.LAY
        code = "dry_run" if migration.dry_run else None
        write(Change(move=move, code=code, sets=laid, tells=[(events.PLANNED, says)], facts=says), held=held)
        return not migration.dry_run
    Target.objects.filter(migration_id=migration.id).update(holds=False)
    write(replace(refusal, sets=laid), held=held)
    return False


def _refusal(code: str, *, why: str, facts: Mapping[str, Any]) -> Change:
    return Change(
        move=Move.REFUSE, code=code, why=why, facts=facts, tells=[(events.FAILED, {"severity": "warning"})]
    )  # fmt: skip


def _write_rows(plan: Plan, *, held: Held, definition: Definition) -> None:
    migration = held.migration
    drill = Drill.UP if migration.drill else Drill.NONE
    Wave.objects.bulk_create(
        Wave(
            migration_id=migration.id,
            tenant_id=migration.tenant_id,
            number=number,
            drill=drill if number == 0 else Drill.NONE,
        )
        for number in range(len(plan.waves))
    )
    common = {"migration_id": migration.id, "module": definition.module, "kind": definition.targets.kind.value}
    targets = [
        Target(
            target_id=uuid7(),
            tenant_id=each.tenant_id,
            key=each.key,
            wave=number,
            position=position,
            holds=not migration.dry_run,
            version_before=each.version,
            digest_before=each.digest,
            **common,
        )
        for number, wave in enumerate(plan.waves)
        for position, each in enumerate(wave)
    ]
    aside = [
        Target(
            target_id=uuid7(),
            tenant_id=each.tenant_id,
            key=each.key,
            state=TargetState.SET_ASIDE,
            reason_code=each.reason,
            reason=each.why and each.why[:500],
            differs=list(each.differs),
            version_before=each.version,
            digest_before=each.digest,
            **common,
        )
        for each in plan.set_aside
    ]
    Target.objects.bulk_create([*targets, *aside])
    if not migration.dry_run:
        Step.objects.bulk_create([_step(each, target=target) for target in targets for each in definition.steps])


def _step(step: Any, *, target: Target) -> Step:
    return Step(
        step_id=uuid7(),
        migration_id=target.migration_id,
        target_id=target.target_id,
        tenant_id=target.tenant_id,
        number=step.number,
        name=step.name,
        phase=step.phase.value,
        kind=step.kind.value,
        checksum=step.checksum,
        undoes=step.undoes if step.kind is not Kind.JOB else step.revert_job_type is not None,
    )


def _who_holds(plan: Plan, *, definition: Definition) -> str:
    keys = [each.key for wave in plan.waves for each in wave]
    found = Target.objects.filter(
        module=definition.module, kind=definition.targets.kind.value, key__in=keys, holds=True
    ).first()  # fmt: skip
    if found is None:
        return "a target was held by another migration"
    return f"migration {found.migration_id} holds a target: one migration at a time"


def may_try(migration: Migration) -> bool:
    """Say whether a plan may be tried, or has ended its planner too often."""
    return migration.planning_tries <= MOST_TRIES

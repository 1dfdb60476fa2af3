"""What people and modules ask: a migration, an approval, a pause, a way on, a way back.

In the context of the tenant on whose account it runs. What an answer means to waves and targets, which may be other
tenants', is left to the migrator as the migration's `order`: it carries that out before it decides anything else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import orjson
from django.db import connection, transaction

from apps.core.digests import digest_of
from apps.core.ids import uuid7
from apps.events import operations as event_log
from apps.evidence import operations as evidence_log
from apps.evidence.models import Predicate
from apps.evidence.statements import statement
from apps.migrations import events
from apps.migrations.definition import Definition
from apps.migrations.lifecycle import IllegalMoveError, Move, State, WaveState
from apps.migrations.models import Approval, Migration, Target, Wave
from apps.migrations.operations.writing import KIND, Change, Held, NoMigrationError, hold, write
from apps.tenancy.queries import region_of

__all__ = [
    "AuthorApprovesError",
    "NoMigrationError",
    "TargetBusyError",
    "abort",
    "approve",
    "pause",
    "request",
    "resume",
    "retry",
    "revert",
]

REQUEST = f"""
WITH asked AS (
    SELECT * FROM jsonb_to_recordset(%(rows)s) AS asked(
        id uuid, tenant_id text, name text, module text, version_from text, version_to text, description text,
        definition_checksum text, asked jsonb, dry_run boolean, drill boolean, requested_by text, region text,
        fence bigint, event_id uuid, event_type text, event_subject text, event_data jsonb, {evidence_log.COLUMNS})
), written AS (
    INSERT INTO migrations (id, tenant_id, name, module, version_from, version_to, description, definition_checksum,
        status, version, progress, asked, dry_run, drill, planning_tries, approvals_needed, stage, stopped_s,
        requested_by, requested_at, evidence_ref)
    SELECT id, tenant_id, name, module, version_from, version_to, description, definition_checksum,
        'draft', 1, 0, asked, dry_run, drill, 0, 0, 'forward', 0, requested_by, clock_timestamp(), record_id
      FROM asked
), told AS ({event_log.APPEND.format(source="asked")})
{evidence_log.APPEND.replace("'job'", f"'{KIND}'").format(source="asked")}
"""


class TargetBusyError(Exception):
    """A target that was asked for is under way in another migration; `migration_id` says in which."""

    def __init__(self, *, target: str, migration_id: UUID) -> None:
        super().__init__(f"target {target!r} is held by migration {migration_id}: one at a time")
        self.target = target
        self.migration_id = migration_id


class AuthorApprovesError(Exception):
    """Who asked for a migration cannot approve it."""

    def __init__(self) -> None:
        super().__init__("who asked for a migration cannot approve it: another person has to")


def request(
    *,
    definition: Definition,
    tenant_id: str,
    targets: Mapping[str, Any],
    waves: Any | None,
    dry_run: bool,
    drill: bool,
    baseline: bool,
    expected_plan: str | None,
    by: str,
) -> Migration:
    """Write a migration that is asked for, to be planned; raises `TargetBusyError` where one is known to be held."""
    named = targets.get("tenants")
    if not dry_run and isinstance(named, list):
        _free(definition, keys=named)
    asked = {"targets": dict(targets), "waves": waves, "baseline": baseline, "plan": expected_plan}
    migration_id = uuid7()
    row: dict[str, Any] = {
        "id": str(migration_id),
        "tenant_id": tenant_id,
        "name": definition.name,
        "module": definition.module,
        "version_from": definition.version_from,
        "version_to": definition.version_to,
        "description": definition.description[:500],
        "definition_checksum": definition.checksum,
        "asked": asked,
        "dry_run": dry_run,
        "drill": drill,
        "requested_by": by,
        "region": region_of(tenant_id),
        "fence": 1,
    }
    body = {name: value for name, value in row.items() if name not in {"id", "fence", "description"}}
    made = statement(
        predicate=Predicate.ADMISSION,
        kind=KIND,
        subject_id=str(migration_id),
        subject_digest=digest_of({"definition": definition.checksum, "asked": asked}),
        body={"tenant": body.pop("tenant_id"), **body},
    )
    unsaved = Migration(**{name: value for name, value in row.items() if name not in {"region", "fence"}})
    row |= {
        "event_id": str(uuid7()),
        "event_type": events.REQUESTED,
        "event_subject": str(migration_id),
        "event_data": events.payload(unsaved, by=by, dry_run=dry_run),
    }
    row |= evidence_log.row(made, subject_id=str(migration_id))
    with connection.cursor() as cursor:
        cursor.execute(REQUEST, {"rows": orjson.dumps([row]).decode()})
    return Migration.objects.get(id=migration_id)


def approve(*, migration_id: UUID, by: str, note: str = "") -> Migration:
    """Agree to a migration's plan; it begins once as many people did as its risk asks for.

    Raises `NoMigrationError`, `AuthorApprovesError`, and `IllegalMoveError` where nothing awaits approval. Whoever
    agrees twice to one plan has agreed once.
    """
    with transaction.atomic():
        held = hold(migration_id)
        migration = held.migration
        if held.state is not State.AWAITING_APPROVAL:
            raise IllegalMoveError(state=held.state, move=Move.START, why="it does not await approval")
        if by.casefold() == migration.requested_by.casefold():
            raise AuthorApprovesError
        given = list(Approval.objects.filter(migration_id=migration_id, plan_checksum=migration.plan_checksum))
        if any(each.approver.casefold() == by.casefold() for each in given):
            return migration
        agreed = Approval(
            approval_id=uuid7(),
            migration_id=migration_id,
            tenant_id=migration.tenant_id,
            approver=by,
            plan_checksum=migration.plan_checksum or "",
            note=note,
        )
        Approval.objects.bulk_create([agreed])
        says = {
            "plan_checksum": migration.plan_checksum,
            "approvals": len(given) + 1,
            "approvals_needed": migration.approvals_needed,
        }
        return write(Change(tells=[(events.APPROVED, says)], facts=says), held=held, by=by)


def pause(*, migration_id: UUID, by: str, why: str | None = None) -> Migration:
    """Let nothing new begin. Raises `NoMigrationError`, `IllegalMoveError`."""
    return _asked(migration_id, by=by, why=why, move=Move.PAUSE, code="asked", event=events.PAUSED, severity="info")


def resume(*, migration_id: UUID, by: str, why: str | None = None) -> Migration:
    """Go on where it stopped; of one whose gate could not tell, this is a person's verdict that the wave may pass.

    What failed stays failed, and stops it again: that is what `retry` is for. Raises as `pause`.
    """
    return _asked(migration_id, by=by, why=why, move=Move.RESUME, event=events.RESUMED, order="go_on", retried=0)


def retry(*, migration_id: UUID, by: str, why: str | None = None) -> Migration:
    """Go on, and try again whatever failed or was brought back. Raises as `pause`."""
    return _asked(migration_id, by=by, why=why, move=Move.RETRY, event=events.RESUMED, order="retry", retried=1)


def abort(*, migration_id: UUID, by: str, why: str | None = None) -> Migration:
    """Stop what runs and leave every target as it is then; to be brought back by `revert`. Raises as `pause`."""
    return _asked(migration_id, by=by, why=why, move=Move.ABORT, code="aborted", event=events.ABORTING)


def revert(*, migration_id: UUID, by: str, why: str | None = None) -> Migration:
    """Bring every target back that was touched. Raises as `pause`, and `ContractBegunError`."""
    sets = {"reverting_wave": None}
    return _asked(
        migration_id, by=by, why=why, move=Move.REVERT, code="asked", event=events.REVERTING, sets=sets, scope="all"
    )


def _asked(
    migration_id: UUID,
    *,
    by: str,
    why: str | None,
    move: Move,
    event: str,
    code: str | None = None,
    order: str | None = None,
    sets: Mapping[str, Any] | None = None,
    **says: Any,
) -> Migration:
    with transaction.atomic():
        held = hold(migration_id)
        if move is Move.RESUME and held.state is State.INCONCLUSIVE:
            order = "pass_wave"
        if move is Move.RESUME and _came_back(held):
            raise IllegalMoveError(
                state=held.state, move=move, why="its wave was brought back: retry it, or revert all"
            )
        if move is Move.REVERT and not _touched(held):
            raise IllegalMoveError(state=held.state, move=move, why="nothing was begun: there is nothing to bring back")
        changed = Change(
            move=move, code=code, why=why, sets={"order": order, **(sets or {})}, tells=[(event, says)], facts=says
        )
        return write(changed, held=held, by=by)


def _touched(held: Held) -> bool:
    return held.migration.started_at is not None


def _came_back(held: Held) -> bool:
    """Say whether the wave under way was brought back, whatever the migration was stopped for since."""
    number = held.migration.wave
    waves = Wave.objects.filter(migration_id=held.migration.id, state=WaveState.REVERTED)
    return number is not None and waves.filter(number=number).exists()


def _free(definition: Definition, *, keys: list[str]) -> None:
    """Raise `TargetBusyError` for a target that the current context sees held; the constraint sees all of them."""
    held = Target.objects.filter(
        module=definition.module, kind=definition.targets.kind.value, key__in=keys, holds=True
    ).first()  # fmt: skip
    if held is not None:
        raise TargetBusyError(target=held.key, migration_id=held.migration_id)

"""How a migration is changed: its row held, decided about, and written with its event and its evidence at once.

Whoever changes a migration holds its row from the look to the write, so a decision is made about what is there; the
write is guarded by the version all the same. Every change is a transition that evidence keeps, in the log of the tenant
on whose account the campaign runs; what becomes of a target is kept in the target's tenant's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

import orjson
from django.db import connection

from apps.core.database import ClockTimestamp
from apps.core.digests import digest_of
from apps.core.ids import uuid7
from apps.events import operations as event_log
from apps.evidence import operations as evidence_log
from apps.evidence.models import Predicate
from apps.evidence.statements import statement
from apps.migrations import events
from apps.migrations.lifecycle import OVER, STOPPED, Move, State, after
from apps.migrations.models import Approval, Migration, Target
from apps.migrations.redaction import without
from apps.tenancy.queries import region_of

PLANE: Final = "plane"  # who did it, where nobody asked
KIND: Final = "migration"
# The columns that a change may set, each bound as itself; a change that names another is a defect.
SETTABLE: Final = frozenset(
    {
        "status", "reason_code", "reason", "order", "plan", "plan_checksum", "risk", "approvals_needed", "stage",
        "wave", "reverting_wave", "contract_begun_at", "planned_at", "started_at", "stopped_at", "stopped_s",
        "finished_at",
    }
)  # fmt: skip

PROVEN = evidence_log.APPEND.replace("'job'", f"'{KIND}'").format(source="proof")
WRITE = f"""
WITH changed AS (
    UPDATE migrations SET {{sets}} version = version + 1, evidence_ref = %(record)s
     WHERE id = %(id)s AND version = %(version)s
    RETURNING id, tenant_id
), news AS (
    SELECT t.event_id, changed.tenant_id, t.event_type, changed.id::text AS event_subject, t.event_data
      FROM changed, jsonb_to_recordset(%(events)s) AS t(event_id uuid, event_type text, event_data jsonb)
), told AS ({event_log.APPEND.format(source="news")}), proof AS (
    SELECT changed.tenant_id, p.* FROM changed,
           jsonb_to_recordset(%(proof)s) AS p(region text, fence bigint, {evidence_log.COLUMNS})
), proven AS ({PROVEN})
SELECT id FROM changed
"""


class NoMigrationError(LookupError):
    """There is no such migration in the current context."""


class ChangedMeanwhileError(Exception):
    """Somebody else changed the migration between the look and the write."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """What becomes of a migration: columns, events (type and what it says beside the migration), facts for its proof.

    `move` says which way it goes; None: it stays in its state.
    """

    move: Move | None = None
    code: str | None = None
    why: str | None = None
    sets: Mapping[str, Any] = field(default_factory=dict)
    tells: Sequence[tuple[str, Mapping[str, Any]]] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


class Held(NamedTuple):
    """A migration whose row is held until the transaction ends, and the database's time as it was read."""

    migration: Migration
    now: datetime

    @property
    def state(self) -> State:
        """Return where it stands."""
        return State(self.migration.status)


def hold(migration_id: UUID) -> Held:
    """Hold a migration's row until the transaction ends. Raises `NoMigrationError`."""
    rows = Migration.objects.select_for_update(of=("self",), no_key=True).annotate(now=ClockTimestamp())
    row = rows.filter(id=migration_id).first()
    if row is None:
        raise NoMigrationError(str(migration_id))
    return Held(row, row.now)


def write(change: Change, *, held: Held, by: str = PLANE) -> Migration:
    """Write a change of a held migration and return it as it is then; in the transaction that holds it.

    Raises `IllegalMoveError` where its state does not allow the move.
    """
    migration, before = held.migration, held.state
    sets = _sets(change, held=held)
    change = _for_account(change, migration=migration)
    for name, value in sets.items():
        setattr(migration, name, value)
    version = migration.version
    migration.version += 1
    proof = _proof(change, migration=migration, before=before, by=by)
    migration.evidence_ref = UUID(proof["record_id"])
    values: dict[str, Any] = {f"set_{name}": _bound(name, value) for name, value in sets.items()}
    values |= {"id": migration.id, "version": version, "record": migration.evidence_ref}
    values |= {"proof": orjson.dumps([proof]).decode(), "events": _events(change, migration=migration, by=by)}
    columns = "".join(f'"{name}" = %(set_{name})s, ' for name in sets)
    with connection.cursor() as cursor:
        cursor.execute(WRITE.format(sets=columns), values)
        if cursor.fetchone() is None:
            raise ChangedMeanwhileError(str(migration.id))
    return migration


def _for_account(change: Change, *, migration: Migration) -> Change:
    """Return a change whose events and proof, which are the account's to read, name no other tenant's target."""
    if not (change.facts or change.why or any(more for _, more in change.tells)):
        return change
    others = Target.objects.filter(migration_id=migration.id).exclude(tenant_id=migration.tenant_id)
    hidden = frozenset(others.values_list("key", flat=True))
    tells = [(name, without(dict(more), hidden=hidden)) for name, more in change.tells]
    said = without({"facts": dict(change.facts), "why": change.why}, hidden=hidden)
    return replace(change, tells=tells, **said)


def _sets(change: Change, *, held: Held) -> dict[str, Any]:
    """Return the columns of a change; the clocks of pauses and of the end follow from the move."""
    migration, now = held.migration, held.now
    if unknown := set(change.sets) - SETTABLE:
        raise ValueError(f"not a column that a change may set: {sorted(unknown)[0]}")
    sets = {"reason_code": change.code, "reason": change.why and change.why[:500], **change.sets}
    if change.move is None:
        return sets
    target = after(held.state, change.move, contract_begun=migration.contract_begun_at is not None)
    sets["status"] = target.value
    if target in STOPPED:
        sets["stopped_at"] = now
    elif migration.stopped_at is not None:
        sets["stopped_at"] = None
        sets["stopped_s"] = migration.stopped_s + (now - migration.stopped_at).total_seconds()
    sets["finished_at"] = now if target in OVER else None
    return sets


def _bound(name: str, value: Any) -> Any:
    return orjson.dumps(value).decode() if name == "plan" and value is not None else value


def _events(change: Change, *, migration: Migration, by: str) -> str:
    told = [
        {"event_id": str(uuid7()), "event_type": name, "event_data": events.payload(migration, by=by, **more)}
        for name, more in change.tells
    ]
    return orjson.dumps(told).decode()


def _proof(change: Change, *, migration: Migration, before: State, by: str) -> dict[str, Any]:
    """Return the evidence row of a transition: who, from where to where, under which plan and whose approval."""
    region = region_of(migration.tenant_id)
    over = migration.status in OVER
    approvals = Approval.objects.filter(migration_id=migration.id, plan_checksum=migration.plan_checksum)
    body = {
        "tenant": migration.tenant_id,
        "region": region,
        "definition": {
            "name": migration.name,
            "from": migration.version_from,
            "to": migration.version_to,
            "checksum": migration.definition_checksum,
        },
        "module": migration.module,
        "plan_checksum": migration.plan_checksum,
        "approvals": [{"by": each.approver, "at": each.at.isoformat()} for each in approvals],
        "requested_by": migration.requested_by,
        "from": before.value,
        "to": migration.status,
        **({"outcome": migration.status} if over else {}),
        "stage": migration.stage,
        "wave": migration.wave,
        "reason_code": migration.reason_code,
        "reason_digest": digest_of(change.why) if change.why else None,
        "by": by,
        "event": change.tells[0][0] if change.tells else None,
        "facts": dict(change.facts),
    }
    made = statement(
        predicate=Predicate.OUTCOME if over else Predicate.TRANSITION,
        kind=KIND,
        subject_id=str(migration.id),
        subject_digest=digest_of({"definition": migration.definition_checksum, "asked": migration.asked}),
        body=body,
    )
    row = evidence_log.row(made, subject_id=str(migration.id))
    return row | {"region": region, "fence": migration.version}

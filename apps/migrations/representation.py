"""A migration as it is read: by a module over HTTP, on its stream, and by people on the admin's pages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection

from apps.core.clock import DatabaseClock
from apps.evidence.queries import states_of
from apps.migrations.definition import Definition
from apps.migrations.lifecycle import State
from apps.migrations.models import Approval, Migration, Step, Target, Wave
from apps.migrations.progress import eta_s, ran_s
from apps.migrations.redaction import without
from apps.migrations.standing import Crowd
from apps.tenancy.principals import AllTenants

PLAIN = (
    "tenant_id", "module", "description", "status", "version", "dry_run", "drill", "plan_checksum", "risk", "stage",
    "wave", "requested_by", "requested_at", "planned_at", "started_at", "stopped_at", "finished_at",
)  # fmt: skip
OF_TARGET = (
    "kind", "tenant_id", "wave", "state", "version_before", "version_after", "digest_before", "digest_after",
    "started_at", "finished_at",
)  # fmt: skip
OF_STEP = ("name", "phase", "kind", "state", "direction", "run", "cursor", "done", "total", "job_id")
OF_WAVE = ("number", "state", "drill", "verdict", "started_at", "finished_at")


def migrations(rows: Sequence[Migration]) -> list[dict[str, Any]]:
    """Return a page of migrations as lists and commands show them, in their account's context, or across tenants."""
    if not rows:
        return []
    now = DatabaseClock.ask(connection).now()
    given: dict[UUID, list[Approval]] = {}
    for each in Approval.objects.filter(migration__in=[row.id for row in rows]).order_by("at"):
        given.setdefault(each.migration_id, []).append(each)
    records = [row.evidence_ref for row in rows if row.evidence_ref is not None]
    states = states_of(records) if records else {}
    return [_migration(row, now=now, given=given.get(row.id, []), evidence=states) for row in rows]


def told(shown: Mapping[str, Any], *, hidden: Collection[str]) -> dict[str, Any]:
    """Return a migration as lists and commands show it, with nobody of `hidden` in any sentence that a person wrote."""
    return {**shown, **{name: without(shown[name], hidden=hidden) for name in ("reason", "approvals")}}


def whole(shown: Mapping[str, Any], row: Migration, *, waves: Sequence[Wave], crowd: Crowd) -> dict[str, Any]:
    """Return a migration, `shown` as lists show it, with its plan, waves and targets as `crowd` may be told of them."""
    hidden = _hidden(row.plan, crowd=crowd)
    links = dict(shown["links"])
    if crowd.next is not None:
        links["targets"] = f"{links['self']}?targets={crowd.next}"
    return {
        **told(shown, hidden=hidden),
        "plan": without(row.plan, hidden=hidden),
        "waves": [
            wave(each, targets=crowd.by_wave.get(each.number, Counter()), facts=without(each.facts, hidden=hidden))
            for each in waves
        ],
        "targets": [target(each, steps=crowd.steps.get(each.target_id, [])) for each in crowd.targets],
        "targets_total": crowd.total,
        "targets_by_state": dict(crowd.by_state),
        "targets_unnamed": crowd.unnamed,
        "targets_next": crowd.next,
        "set_aside": [set_aside(each) for each in crowd.set_aside],
        "set_aside_total": crowd.set_aside_total,
        "links": links,
    }


def glance(row: Migration, *, waves: Sequence[Wave], counts: Mapping[int, Counter[str]]) -> dict[str, Any]:
    """Return what changes while it runs, for its stream: figures and states, and nobody's name."""
    now = DatabaseClock.ask(connection).now()
    return {
        "id": str(row.id),
        "status": row.status,
        "reason": _why(row.reason_code, row.reason),
        "version": row.version,
        "progress": round(row.progress, 4),
        "eta_s": eta_of(row, now=now),
        "stage": row.stage,
        "wave": row.wave,
        "waves": [
            {
                "number": each.number,
                "state": each.state,
                "verdict": each.verdict,
                "targets": dict(counts.get(each.number, {})),
            }
            for each in waves
        ],
    }


def eta_of(row: Migration, *, now: datetime) -> float | None:
    """Return the seconds it may still take, to the tenth."""
    ran = None
    if row.started_at is not None:
        ran = ran_s(started_at=row.started_at, now=now, stopped_s=row.stopped_s, stopped_at=row.stopped_at)
    found = eta_s(status=State(row.status), progress=row.progress, ran_s=ran, plan=row.plan)
    return None if found is None else round(found, 1)


def wave(row: Wave, *, targets: Mapping[str, int], facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return a wave with how its targets stand and what its gates saw."""
    return {**{name: getattr(row, name) for name in OF_WAVE}, "facts": dict(facts), "targets": dict(targets)}


def target(row: Target, *, steps: Sequence[Step]) -> dict[str, Any]:
    """Return a target with its steps."""
    return {
        "target": row.key,
        **{name: getattr(row, name) for name in OF_TARGET},
        "reason": _why(row.reason_code, row.reason),
        "steps": [step(each) for each in steps],
    }


def step(row: Step) -> dict[str, Any]:
    """Return a step at a target."""
    error = None if row.error_code is None else {"code": row.error_code, "message": row.error}
    return {**{name: getattr(row, name) for name in OF_STEP}, "error": error}


def set_aside(row: Target) -> dict[str, Any]:
    """Return a target that is not touched."""
    return {
        "target": row.key,
        "tenant_id": row.tenant_id,
        "reason": _why(row.reason_code, row.reason),
        "version": row.version_before,
        "differs": row.differs,
    }


def definition(found: Definition) -> dict[str, Any]:
    """Return what can be run."""
    return {
        "name": found.name,
        "from": found.version_from,
        "to": found.version_to,
        "checksum": found.checksum,
        "module": found.module,
        "description": found.description,
        "risk": found.risk.value,
        "target_kind": found.targets.kind.value,
        "on_failure": found.on_failure.value,
        "steps": [
            {
                "name": each.name,
                "phase": each.phase.value,
                "kind": each.kind.value,
                "undoes": each.undoes,
                "checksum": each.checksum,
            }
            for each in found.steps
        ],
    }


def _migration(
    row: Migration, *, now: datetime, given: Sequence[Approval], evidence: Mapping[UUID, tuple[str, str | None]]
) -> dict[str, Any]:
    address = f"/operations/migrations/{row.id}"
    links = {"self": address}
    if row.evidence_ref is not None:
        links["evidence"] = f"/operations/evidence/{row.evidence_ref}"
    return {
        "id": str(row.id),
        **{name: getattr(row, name) for name in PLAIN},
        "definition": {
            "name": row.name,
            "from": row.version_from,
            "to": row.version_to,
            "checksum": row.definition_checksum,
        },
        "reason": _why(row.reason_code, row.reason),
        "progress": round(row.progress, 4),
        "eta_s": eta_of(row, now=now),
        "evidence": _evidence(row, states=evidence),
        "approvals": {
            "needed": row.approvals_needed,
            "given": [
                {"by": each.approver, "at": each.at, "note": each.note}
                for each in given
                if each.plan_checksum == row.plan_checksum
            ],
        },
        "links": links,
    }


def _evidence(row: Migration, *, states: Mapping[UUID, tuple[str, str | None]]) -> dict[str, str | None] | None:
    if row.evidence_ref is None:
        return None
    state, _ = states.get(row.evidence_ref, (None, None))
    return {"state": state, "ref": str(row.evidence_ref)}


def _why(code: str | None, sentence: str | None) -> dict[str, str | None] | None:
    return None if code is None else {"code": code, "sentence": sentence}


def _hidden(plan: Mapping[str, Any] | None, *, crowd: Crowd) -> frozenset[str]:
    """Return what a caller must not hear: others' targets, and what a plan names and no target that they may see is."""
    if isinstance(crowd.seen, AllTenants):
        return frozenset()
    named = {key for each in (plan or {}).get("waves", ()) for key in each.get("targets", ())}
    named |= {each.get("target") for each in (plan or {}).get("set_aside", ())}
    return crowd.hidden | {each for each in named if each} - crowd.named - crowd.seen

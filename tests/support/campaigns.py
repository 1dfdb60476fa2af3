"""Migrations as tests of their surface need them: asked for over HTTP, planned and begun as the migrator would."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from apps.migrations import registry
from apps.migrations.definition import Risk
from apps.migrations.models import Migration
from apps.migrations.operations import planning
from apps.migrations.operations.planning import Plan, Planned, SetAside
from tests.integration.conftest import Control
from tests.support.api import Module, said

MIGRATE = "/operations/migrate"
MIGRATIONS = "/operations/migrations"
SCOPES = "migrations:run migrations:approve migrations:read"
CRM = {"definition": "crm", "version_to": "1.5", "targets": {"tenants": ["acme"]}}
CHECKSUM = "sha256:" + "ab" * 32
LIKELY_S = 600


def asked(module: Module, *tenants: str, **more: Any) -> dict[str, Any]:
    """Return a migration of the crm that a module asks for."""
    body = {**CRM, "targets": {"tenants": list(tenants or ("acme",))}, **more}
    return said(module.post(body, path=MIGRATE), 202)


def document(
    waves: Sequence[Sequence[str]], *, set_aside: Sequence[str] = (), definition: str = "crm"
) -> dict[str, Any]:
    """Return a plan as the planner writes one."""
    return {
        "definition": {"name": definition, "from": "1.4", "to": "1.5", "checksum": CHECKSUM},
        "targets": sum(len(wave) for wave in waves),
        "waves": [{"number": number, "targets": list(wave)} for number, wave in enumerate(waves)],
        "set_aside": [
            {"target": each, "reason": "schema_differs", "version": "1.4", "differs": ["column customers.nick"]}
            for each in set_aside
        ],
        "steps": [{"name": "add_region", "phase": "expand", "kind": "sql", "checksum": CHECKSUM}],
        "rehearsal": {
            "on": f"tenant_{waves[0][0]}" if waves and waves[0] else None,
            "steps": [{"name": "add_region", "direction": "up", "seconds": 0.1, "locks": [], "rows": 0}],
            "came_back": True,
            "problem": None,
            "not_cloned": [],
        },
        "estimate": {"duration_s": {"low": 60, "likely": LIKELY_S, "high": 900}},
        "risk": "medium",
        "risk_reasons": ["drop_country: takes something away"],
        "approvals": 1,
        "findings": [],
    }


def planned(
    control: Control,
    migration_id: str,
    *waves: Sequence[str],
    set_aside: Sequence[str] = (),
    approvals: int = 1,
) -> None:
    """Lay a plan, as the migrator does once it has made one."""
    with control():
        row = Migration.objects.get(id=UUID(migration_id))
        definition = registry.find(name=row.name, version_to=row.version_to, version_from=row.version_from)
        plan = Plan(
            document=document(waves, set_aside=set_aside),
            checksum=CHECKSUM,
            risk=Risk.MEDIUM,
            approvals=approvals,
            waves=[[Planned(key, key, "1.4", CHECKSUM) for key in wave] for wave in waves],
            set_aside=[
                SetAside(key, key, "schema_differs", "1.4", CHECKSUM, ["column customers.nick"]) for key in set_aside
            ],
        )
        planning.lay(plan, migration_id=row.id, definition=definition)


def begun(control: Control, migration_id: str, *waves: Sequence[str], set_aside: Sequence[str] = ()) -> None:
    """Plan a migration that needs nobody's approval, and begin it."""
    planned(control, migration_id, *waves, set_aside=set_aside, approvals=0)
    with control():
        assert planning.start(UUID(migration_id))

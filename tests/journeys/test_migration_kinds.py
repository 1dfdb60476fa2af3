"""What is no tenant's schema is migrated too, and by other means than SQL: modules, environments, Django, Python."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from opsplatform.plane import Plane
from tests.support.client import wait_for
from tests.support.receiver import Receiver, Told, receiving
from tests.support.release import STILL, Campaigns
from tests.support.shop import Shop

PEOPLE = ("operator", "approver")
PYTHON = """
def note(connection):
    connection.execute("ALTER TABLE orders ADD COLUMN note text")


def forget(connection):
    connection.execute("ALTER TABLE orders DROP COLUMN IF EXISTS note")
"""


@dataclass
class Module:
    """A module with an endpoint that takes two calls for a step, and says how it is when it is asked."""

    receiver: Receiver
    name: str
    well: bool = True
    steps: list[tuple[str, str, str]] = field(default_factory=list)
    _asked: dict[str, int] = field(default_factory=dict)

    def answer(self, told: Told) -> tuple[int, Mapping[str, str], bytes]:
        """Answer a call: `/well` by how it is, a step's first by that it runs, its second by that it is done."""
        if told.path.endswith("/well"):
            return (200 if self.well else 500), {}, b"{}"
        key = told.headers["idempotency-key"]
        self._asked[key] = self._asked.get(key, 0) + 1
        if self._asked[key] == 1:
            return 202, {"Retry-After": "0"}, b'{"state": "running", "done": 1, "total": 2, "cursor": "half"}'
        self.steps.append((told.event["target"], told.event["step"], told.event["direction"]))
        return 200, {}, b'{"state": "done", "done": 2, "total": 2}'


@pytest.fixture
def module(plane: Plane) -> Iterator[Module]:
    """A module that sandbox may call."""
    grants = plane.home / "keys" / "outbound.json"
    before = grants.read_text() if grants.exists() else None
    with receiving() as receiver:
        found = Module(receiver=receiver, name=f"m{uuid.uuid4().hex[:8]}")
        receiver.answer = found.answer
        said = json.loads(before) if before else {}
        said["sandbox"] = {"hosts": [urlsplit(receiver.url).netloc], "networks": ["127.0.0.0/8"]}
        grants.write_text(json.dumps(said))
        yield found
    if before is None:
        grants.unlink()
    else:
        grants.write_text(before)


def define(plane: Plane, name: str, *, files: Mapping[str, str] | None = None, **fields: Any) -> None:
    """Write a definition where the plane finds it."""
    document = {
        "name": name, "from": "1.4", "to": "1.5", "risk": "low", "waves": [{"count": 1}, {"percent": 100}], **fields,
    }  # fmt: skip
    folder: Path = plane.home.parent / "definitions" / f"{name}-{document['to']}"
    folder.mkdir()
    for file, text in (files or {}).items():
        (folder / file).write_text(text)
    (folder / "migration.yaml").write_text(yaml.safe_dump(document, sort_keys=False))


def begin(campaigns: Campaigns, name: str, *, account: str, **more: Any) -> str:
    """Ask for a migration, and have people approve it where it waits for them; return its id."""
    body = {"tenant_id": account, "definition": name, "version_to": "1.5", **more}
    answer = campaigns.request("POST", "/operations/migrate", json=body)
    assert answer.status_code == 202, answer.text
    migration_id = str(answer.json()["id"])
    found = campaigns.until(migration_id, "awaiting_approval", "running", *STILL)
    if found["status"] == "awaiting_approval":
        campaigns.approve(migration_id, people=PEOPLE[: found["approvals"]["needed"]])
    return migration_id


def at(module: Module, kind: str) -> dict[str, Any]:
    """Return the targets of a definition at a module's endpoint."""
    return {"kind": kind, "endpoint": module.receiver.url.removesuffix("/hooks")}


TELL = {"name": "tell", "kind": "module", "phase": "expand", "path": "/migrate", "revert": "/back"}
WORK = {
    "name": "work", "kind": "job", "phase": "backfill", "type": "ops.noop", "params": {},
    "revert": {"type": "ops.noop", "params": {}},
}  # fmt: skip
CHECKS = [
    {"name": "answers", "kind": "module", "path": "/well"},
    {"name": "smoke", "kind": "job", "type": "ops.noop", "params": {}},
]
GATES = {"bake_s": 0, "failure_rate": False, "checks": CHECKS}


def test_a_module_migrates_itself_when_it_is_told_to(plane: Plane, campaigns: Campaigns, module: Module) -> None:
    define(plane, module.name, targets=at(module, "module"), steps=[TELL, WORK], gates=GATES)
    migration_id = begin(campaigns, module.name, account="sandbox", baseline=True, drill=True)

    found = campaigns.still(migration_id)

    assert (found["status"], found["progress"]) == ("succeeded", 1.0), found["reason"]
    (target,) = found["targets"]
    assert (target["target"], target["state"]) == (module.name, "upgraded")
    assert [direction for _, _, direction in module.steps] == ["up", "down", "up"], "the drill took it down and up"
    jobs = [step for step in target["steps"] if step["name"] == "work"]
    assert [step["state"] for step in jobs] == ["done"]


def test_environments_go_in_waves_and_all_come_back_where_the_module_is_not_well_after_the_second(
    plane: Plane, campaigns: Campaigns, module: Module
) -> None:
    define(
        plane, module.name, targets=at(module, "environment"), steps=[TELL, WORK], gates=GATES, on_failure="revert"
    )  # fmt: skip
    waves = [{"targets": ["batch"]}, {"percent": 100}]
    asked = {"targets": {"environments": ["default", "batch"]}, "waves": waves}

    def fails_later(told: Told) -> tuple[int, Mapping[str, str], bytes]:
        module.well = not any(target == "default" for target, _, _ in module.steps)
        return module.answer(told)

    module.receiver.answer = fails_later
    migration_id = begin(campaigns, module.name, account="sandbox", baseline=True, **asked)

    found = campaigns.still(migration_id)

    assert (found["status"], found["reason"]["code"]) == ("reverted", "gate_answers"), found
    assert {each["target"]: each["state"] for each in found["targets"]} == {"batch": "reverted", "default": "reverted"}
    assert [(target, direction) for target, _, direction in module.steps] == [
        ("batch", "up"), ("default", "up"), ("default", "down"), ("batch", "down"),
    ]  # fmt: skip


def test_a_modules_django_migrations_and_its_python_go_up_and_come_back(
    plane: Plane, campaigns: Campaigns, shop: Shop
) -> None:
    name = f"m{uuid.uuid4().hex[:8]}"
    tenants = [f"{name}-{number}" for number in range(3)]
    shop.open_for(tenants)
    django = {
        "name": "models", "kind": "django", "phase": "expand", "settings": "tests.support.crm_django.settings",
        "app": "crm", "to": "0002_region", "revert": "zero",
    }  # fmt: skip
    python = {"name": "note", "kind": "python", "phase": "expand", "function": "steps:note", "revert": "steps:forget"}
    check = {"name": "not_sold", "kind": "sql", "file": "check.sql"}
    define(
        plane,
        name,
        targets={"kind": "tenant", "database": "shop_database", "schema": "shop_{target}"},
        steps=[django, python],
        gates={"bake_s": 0, "failure_rate": False, "checks": [check]},
        on_failure="revert_wave",
        files={
            "steps.py": PYTHON,
            "check.sql": "SELECT NOT EXISTS (SELECT FROM orders WHERE net_cents < 0 AND note IS NULL)",
        },
    )
    shop.execute(tenants[2], "UPDATE orders SET net_cents = -5 WHERE id = 7")
    waves = [{"targets": tenants[:1]}, {"targets": tenants[1:]}]

    migration_id = begin(campaigns, name, account=tenants[0], targets={"tenants": tenants}, waves=waves)

    found = campaigns.still(migration_id)
    assert (found["status"], found["reason"]["code"]) == ("paused", "wave_reverted"), found
    assert [shop.state(tenant)[0] for tenant in tenants] == ["1.5", "1.4", "1.4"]
    query = "SELECT to_regclass('crm_customer') IS NOT NULL OR EXISTS (SELECT FROM information_schema.columns"
    query += " WHERE table_schema = current_schema AND column_name = 'note')"
    assert [shop.rows(tenant, query) for tenant in tenants] == [[(True,)], [(False,)], [(False,)]]

    shop.execute(tenants[2], "UPDATE orders SET net_cents = 5 WHERE id = 7")
    campaigns.command(migration_id, "retry")
    campaigns.until(migration_id, "succeeded")
    assert {shop.state(tenant)[0] for tenant in tenants} == {"1.5"}
    wait_for(lambda: campaigns.read(migration_id)["progress"] == 1.0, what="all is done")

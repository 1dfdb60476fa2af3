"""A plan of real targets: who is in it, who is not and why; what it foretells, what refuses it, what it leaves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from apps.migrations.definition import Definition, Risk
from tests.support.client import wait_for
from tests.support.migrating import CHECKOUT, Ground
from workers.migrations import planner
from workers.migrations.planner import Asked, Plan, PlanRefusedError

FILES = {
    "add.sql": "ALTER TABLE customers ADD COLUMN region text;",
    "drop.sql": "ALTER TABLE customers DROP COLUMN region;",
    "fill.sql": "UPDATE customers SET region = 'x' WHERE id > %(after)s AND id <= %(upto)s;",
    "check.sql": "SELECT NOT EXISTS (SELECT FROM customers WHERE region IS NULL);",
}


def define(ground: Ground, **said: Any) -> Definition:
    """A small definition that linters like: a column, filled, asked after."""
    files = {**FILES, **said.pop("files", {})}
    steps = said.pop("steps", None) or [
        {"name": "add", "kind": "sql", "file": "add.sql", "revert": "drop.sql"},
        {"name": "fill", "kind": "sql", "phase": "backfill", "file": "fill.sql",
         "batch": {"table": "customers", "key": "id", "size": 100, "rest": 0}},
        {"name": "check", "kind": "sql", "phase": "verify", "file": "check.sql"},
    ]  # fmt: skip
    return ground.define(*steps, files=files, **said)


def plan(ground: Ground, definition: Definition, *tenants: str, **more: Any) -> Plan:
    asked = Asked(definition=definition, account="platform", targets={each: each for each in tenants}, **more)
    made = planner.make(asked)
    json.dumps(made.document)  # what is kept is JSON
    assert ground.ask("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'ops_rehearsal%%'") == []
    return made


def set_aside(made: Plan) -> dict[str, str]:
    return {each["target"]: each["reason"] for each in made.document["set_aside"]}


def test_of_twenty_the_one_that_somebody_changed_by_hand_is_named_by_its_column(ground: Ground) -> None:
    tenants = [f"t-{number:02}" for number in range(20)]
    for tenant in tenants:
        ground.tenant(tenant, rows=20)
    ground.run("ALTER TABLE tenant_t_07.customers ADD COLUMN nick text")
    made = plan(ground, define(ground), *tenants, internal=frozenset({"t-11"}))

    assert set_aside(made) == {"t-07": "schema_differs"}
    assert made.document["set_aside"][0]["differs"] == ["column customers.nick"]
    assert made.document["targets"] == 19
    first, *others = [wave["targets"] for wave in made.document["waves"]]
    assert first == ["t-11"], "ours goes first"
    assert sorted([*first, *(key for wave in others for key in wave)]) == [each for each in tenants if each != "t-07"]
    assert {each.digest for wave in made.waves for each in wave} == {made.document["schema_digest"]}
    assert {each.version for wave in made.waves for each in wave} == {"1.4"}


def test_everything_that_keeps_a_target_out_has_its_reason(ground: Ground, tmp_path: Path) -> None:
    for tenant in ("acme", "globex", "initech", "umbrella"):
        ground.tenant(tenant, rows=5)
    ground.run("UPDATE tenant_globex.ops_schema_version SET version = '1.5'")
    ground.run("UPDATE tenant_initech.ops_schema_version SET version = '1.1'")
    ground.run("DROP TABLE tenant_umbrella.ops_schema_version")
    secrets = json.loads((tmp_path / "keys" / "secrets.json").read_text())
    nowhere = make_conninfo("", **{**conninfo_to_dict(ground.dsn), "port": "1"})
    (tmp_path / "keys" / "secrets.json").write_text(json.dumps({**secrets, "away": {"crm_database": nowhere}}))

    definition = define(ground)
    everybody = ("acme", "globex", "initech", "umbrella", "away", "absent")
    made = plan(ground, definition, *everybody)
    said = {each.key: each.why for each in made.set_aside}
    assert said["away"] == "the target cannot be reached"
    assert "baseline" in (said["umbrella"] or "")
    assert set_aside(made) == {
        "globex": "already_there",
        "initech": "version_differs",
        "umbrella": "version_absent",
        "away": "unreachable",
        "absent": "schema_absent",
    }
    assert "umbrella" not in set_aside(plan(ground, definition, *everybody, baseline=True))
    alone = plan(ground, definition, "globex")
    assert (alone.waves, alone.document["rehearsal"], alone.document["estimate"]["duration_s"]) == ([], None, None)


def test_a_plan_tells_what_was_rehearsed_and_what_that_foretells(ground: Ground) -> None:
    ground.tenant("acme", rows=200)
    ground.tenant("globex", rows=2_000)
    ground.tenant("initech", rows=20_000)
    made = plan(ground, define(ground, waves=[{"count": 1}]), "acme", "globex", "initech")
    told = made.document["rehearsal"]
    assert (told["on"], told["came_back"], told["problem"], told["not_cloned"]) == ("tenant_globex", True, None, [])
    assert [(each["name"], each["direction"]) for each in told["steps"]] == [
        ("add", "up"), ("fill", "up"), ("check", "up"), ("check", "down"), ("fill", "down"), ("add", "down"),
    ]  # fmt: skip
    by_name = {each["name"]: each for each in told["steps"] if each["direction"] == "up"}
    (lock,) = by_name["add"]["locks"]
    assert (lock["relation"], lock["mode"], lock["rewrites"]) == ("customers", "AccessExclusiveLock", False)
    assert lock["held_ms"] > 0
    assert lock["predicted_ms"]["low"] <= lock["predicted_ms"]["likely"] < lock["predicted_ms"]["high"]
    assert by_name["fill"]["rows"] == 2_000
    assert by_name["fill"]["rows_per_s"] > 0
    longest = made.document["estimate"]
    assert (longest["on"], longest["step"], longest["relation"]) == ("initech", "add", "customers")
    assert 0 < longest["duration_s"]["low"] < longest["duration_s"]["likely"] < longest["duration_s"]["high"]
    assert [each["targets"] for each in made.document["waves"]] == [["acme"], ["globex", "initech"]]


def test_a_plan_is_the_same_plan_until_something_that_it_would_do_changes(ground: Ground) -> None:
    for tenant in ("acme", "globex", "initech"):
        ground.tenant(tenant, rows=50)
    definition = define(ground)
    before = plan(ground, definition, "acme", "globex")
    assert plan(ground, definition, "globex", "acme").checksum == before.checksum
    assert plan(ground, definition, "acme", "globex", drill=True).checksum != before.checksum
    assert plan(ground, definition, "acme", "globex", "initech").checksum != before.checksum
    ground.run("UPDATE tenant_globex.ops_schema_version SET version = '1.5'")
    assert plan(ground, definition, "acme", "globex").checksum != before.checksum


def test_a_rewrite_that_only_the_server_knows_of_raises_the_risk(ground: Ground) -> None:
    ground.tenant("acme", rows=50)
    calm = plan(ground, define(ground), "acme")
    definition = define(
        ground,
        steps=[{"name": "widen", "kind": "sql", "file": "widen.sql", "revert": "narrow.sql"}],
        files={"widen.sql": "DO $$ BEGIN EXECUTE 'ALTER TABLE customers ALTER COLUMN name TYPE varchar(90)'; END $$;",
               "narrow.sql": "DO $$ BEGIN EXECUTE 'ALTER TABLE customers ALTER COLUMN name TYPE text'; END $$;"},
    )  # fmt: skip
    made = plan(ground, definition, "acme")
    assert "rehearsal: widen writes all of customers anew under its lock" in made.document["risk_reasons"]
    assert made.risk >= Risk.MEDIUM
    assert not [reason for reason in calm.document["risk_reasons"] if reason.startswith("rehearsal")]


def test_what_does_not_come_back_is_a_high_risk_and_asks_for_two_people(ground: Ground) -> None:
    ground.tenant("acme", rows=50)
    definition = define(
        ground, files={"drop.sql": "ALTER TABLE customers DROP COLUMN region, ALTER name DROP NOT NULL;"}
    )
    made = plan(ground, definition, "acme")
    assert (made.document["rehearsal"]["came_back"], made.document["rehearsal"]["problem"]) == (
        False,
        "did_not_come_back",
    )
    assert made.document["rehearsal"]["differs"] == ["column customers.name"]
    assert (made.risk, made.approvals) == (Risk.HIGH, 2)
    assert "rehearsal: undone, it leaves column customers.name otherwise than before" in made.document["risk_reasons"]


def test_errors_of_the_linter_refuse_and_are_told(ground: Ground) -> None:
    ground.tenant("acme", rows=5)
    definition = define(ground, files={"drop.sql": "ALTER TABLE customers DROP COLUMN;"})
    with pytest.raises(PlanRefusedError) as refused:
        plan(ground, definition, "acme")
    assert refused.value.code == "lint_errors"
    assert refused.value.facts["findings"][0]["file"] == "drop.sql"


def test_waves_that_cannot_be_followed_refuse_and_are_named(ground: Ground) -> None:
    with pytest.raises(PlanRefusedError, match=r"waves\.0\.count must be") as refused:
        plan(ground, define(ground), "acme", waves=[{"count": 0}])
    assert refused.value.facts["errors"] == [
        {"field": "waves.0.count", "message": "must be a whole number from 1 to 1000000"}
    ]


def test_who_a_wave_names_and_is_not_there_is_told(ground: Ground) -> None:
    ground.tenant("acme", rows=5)
    ground.tenant("globex", rows=5)
    ground.run("UPDATE tenant_globex.ops_schema_version SET version = '1.1'")
    made = plan(ground, define(ground), "acme", "globex", waves=[{"targets": ["globex", "acmee"]}, {"count": 1}])
    assert [each["message"] for each in made.document["findings"] if each["rule"] == "wave_names_nobody"] == [
        "a wave names 'globex', which is set aside (version_differs)",
        "a wave names 'acmee', which is no target of this migration",
    ]


def test_targets_without_a_database_go_by_what_was_recorded(ground: Ground) -> None:
    definition = ground.define(
        {"name": "tell", "kind": "module", "path": "/migrate"},
        files={},
        targets={"kind": "environment", "endpoint": "https://crm.example/operations"},
    )
    made = plan(ground, definition, "default", "batch", "new", recorded={"default": "1.4", "batch": "1.5"})
    assert set_aside(made) == {"batch": "already_there", "new": "version_absent"}
    assert [[each.key for each in wave] for wave in made.waves] == [["default"]]
    assert made.document["rehearsal"] is None
    assert set_aside(plan(ground, definition, "new", baseline=True)) == {}


PLANNER = """
import json, sys, django
django.setup()
from pathlib import Path
from apps.migrations import registry
from workers.migrations import planner
definition = registry.read(Path(sys.argv[1]))
print("begun", flush=True)
planner.make(planner.Asked(definition=definition, account="platform", targets={"acme": "acme"}))
"""


def test_a_planner_that_is_killed_leaves_nothing_for_ever(ground: Ground) -> None:
    ground.tenant("acme", rows=20)
    slow = define(ground, files={"check.sql": "SELECT pg_sleep(20) IS NOT NULL;"})
    process = subprocess.Popen(
        [sys.executable, "-c", PLANNER, str(slow.folder)],
        cwd=CHECKOUT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "opsplatform.settings"},
    )
    left = "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'ops_rehearsal%%'"
    checking = "SELECT 1 FROM pg_stat_activity WHERE query LIKE '%%pg_sleep(20) IS%%' AND pid <> pg_backend_pid()"
    wait_for(lambda: ground.ask(checking), what="the rehearsal is at its check")
    process.kill()
    process.wait()
    names = [name for (name,) in ground.ask(left)]
    assert len(names) == 2, "the copy, and what watches it"
    for name in names:
        ground.run(f"COMMENT ON SCHEMA {name} IS 'operations rehearsal, begun at 2026-01-01'")
    held = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND pid <> pg_backend_pid()"
    wait_for(lambda: not ground.ask(held), what="the server noticed that its client is gone")
    plan(ground, define(ground), "acme")  # and it looks that nothing is left

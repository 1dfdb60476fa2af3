"""A migration is asked for over HTTP: what is taken, and what is refused at the door, by name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from tests.integration.conftest import Control, Look
from tests.integration.migrations.api.conftest import Laid
from tests.support import campaigns
from tests.support.api import Module, fields, refused, said
from tests.support.campaigns import CHECKSUM, CRM, MIGRATE, MIGRATIONS, SCOPES

ROWS = "SELECT * FROM migrations ORDER BY id"


def test_what_is_asked_becomes_a_draft_to_be_planned(acme: Module, look: Look) -> None:
    answer = acme.post({**CRM, "waves": [{"count": 1}], "drill": True, "plan": CHECKSUM}, path=MIGRATE)
    shown = said(answer, 202)
    assert answer["Location"] == f"{MIGRATIONS}/{shown['id']}" == shown["links"]["self"]
    assert (shown["status"], shown["tenant_id"], shown["module"]) == ("draft", "acme", "crm")
    assert {name: shown["definition"][name] for name in ("name", "from", "to")} == {
        "name": "crm", "from": "1.4", "to": "1.5",
    }  # fmt: skip
    assert (shown["progress"], shown["eta_s"], shown["plan_checksum"], shown["drill"]) == (0, None, None, True)
    assert (shown["requested_by"], shown["approvals"]) == ("data-acquisition", {"needed": 0, "given": []})
    (row,) = look(ROWS)
    assert row["asked"] == {
        "targets": {"tenants": ["acme"]}, "waves": [{"count": 1}], "baseline": False, "plan": CHECKSUM,
    }  # fmt: skip
    (event,) = look("SELECT * FROM events")
    assert (event["type"], event["subject"]) == ("operations.migration.requested", shown["id"])
    assert shown["evidence"]["ref"] == str(look("SELECT record_id FROM evidence_records")[0]["record_id"])


def test_a_key_asks_once(acme: Module, look: Look) -> None:
    first, again = (acme.post(CRM, path=MIGRATE, **{"Idempotency-Key": "one"}) for _ in "12")
    assert said(first, 202) == said(again, 202)
    assert again["Location"] == first["Location"]
    refused(acme.post({**CRM, "drill": True}, path=MIGRATE, **{"Idempotency-Key": "one"}), 409, "idempotency_conflict")
    assert len(look(ROWS)) == 1


def test_it_takes_the_scope(db: None, look: Look) -> None:
    for scope in ("migrations:read", "migrations:approve", "jobs:submit"):
        problem = refused(Module("acme", scope=scope).post(CRM, path=MIGRATE), 403, "missing_scope")
        assert problem["scope"] == "migrations:run"
    assert look(ROWS) == []


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ({}, ["definition", "version_to"]),
        ({**CRM, "steps": []}, ["steps"]),
        ({**CRM, "targets": {"tenants": ["acme"], "regions": []}}, ["targets.regions"]),
        ({**CRM, "targets": {}}, ["targets.tenants"]),
        ({**CRM, "targets": {"tenants": []}}, ["targets.tenants"]),
        ({**CRM, "targets": {"tenants": ["Acme!"]}}, ["targets.tenants"]),
        ({**CRM, "targets": {"tenants": "acme"}}, ["targets.tenants"]),
        ({**CRM, "targets": {"environments": ["default"]}}, ["targets.environments"]),
        ({**CRM, "targets": {"tenants": "*"}}, ["targets.tenants"]),
        ({**CRM, "plan": "sha256:no"}, ["plan"]),
        ({**CRM, "dry_run": "no"}, ["dry_run"]),
        ({**CRM, "drill": 0}, ["drill"]),
        ({**CRM, "definition": "CRM"}, ["definition"]),
        ({**CRM, "definition": "erp"}, ["definition"]),
        ({**CRM, "version_to": "9.9"}, ["version_to"]),
        ({**CRM, "version_to": 1.5}, ["version_to"]),
        ({**CRM, "version_from": 1.4}, ["version_from"]),
        ({**CRM, "version_from": "1.3"}, ["version_from"]),
        ({**CRM, "dry_run": "perhaps"}, ["dry_run"]),
        ({**CRM, "waves": "all"}, ["waves"]),
        ({**CRM, "waves": [{"count": 0}]}, ["waves[0].count"]),
        ({**CRM, "waves": [{"percent": 50}, {"percent": 10}]}, ["waves[1].percent"]),
        ({**CRM, "waves": {"by": "size"}}, ["waves.by", "waves.waves"]),
        ({**CRM, "waves": []}, ["waves"]),
    ],
)
def test_what_cannot_be_is_named(acme: Module, look: Look, body: dict[str, Any], names: list[str]) -> None:
    problem = refused(acme.post(body, path=MIGRATE), 400, "invalid_fields")
    assert fields(problem) == names
    assert look(ROWS) == []


def test_a_definition_that_is_not_there_is_told_which_are(acme: Module) -> None:
    problem = refused(acme.post({**CRM, "definition": "erp"}, path=MIGRATE), 400, "invalid_fields")
    assert "there are: crm" in problem["errors"][0]["message"]
    problem = refused(acme.post({**CRM, "version_to": "2.0"}, path=MIGRATE), 400, "invalid_fields")
    assert "1.4 to 1.5" in problem["errors"][0]["message"]


def test_a_definition_that_cannot_be_read_is_a_conflict_that_names_no_path(
    acme: Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "crm"
    folder.mkdir()
    (folder / "migration.yaml").write_text('name: crm\nfrom: "1.4"\nto: "1.5"\ncolour: red\n')
    monkeypatch.setattr(settings, "ENVIRONMENT", replace(settings.ENVIRONMENT, migrations=(tmp_path,)))
    problem = refused(acme.post(CRM, path=MIGRATE), 409, "bad_definition")
    assert str(tmp_path) not in str(problem)
    assert "migration_lint" in problem["detail"]


def test_targets_are_the_tokens_own_tenants_and_exist(acme: Module, platform: Module, look: Look) -> None:
    there = acme.post({**CRM, "targets": {"tenants": ["acme", "globex"]}}, path=MIGRATE)
    nowhere = acme.post({**CRM, "targets": {"tenants": ["acme", "no-such"]}}, path=MIGRATE)
    assert refused(there, 404, "not_found")["detail"] == refused(nowhere, 404, "not_found")["detail"]
    body = {**CRM, "tenant_id": "acme", "targets": {"tenants": ["no-such"]}}
    refused(platform.post(body, path=MIGRATE), 404, "not_found")
    refused(platform.post({**CRM, "tenant_id": "no-such"}, path=MIGRATE), 404, "not_found")
    refused(acme.post({**CRM, "tenant_id": "globex"}, path=MIGRATE), 404, "not_found")
    refused(platform.post(CRM, path=MIGRATE), 400, "tenant_required")
    assert look(ROWS) == []


def test_a_platforms_module_may_ask_for_every_tenant(platform: Module, look: Look) -> None:
    said(platform.post({**CRM, "tenant_id": "acme", "targets": {"tenants": "*"}}, path=MIGRATE), 202)
    assert look(ROWS)[0]["asked"]["targets"] == {"tenants": "*"}


def test_other_kinds_of_targets_are_named_by_their_own_words(
    acme: Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, look: Look
) -> None:
    for name, kind in (("pools", "environment"), ("whole", "module")):
        folder = tmp_path / name
        folder.mkdir()
        text = (
            f'name: {name}\nmodule: crm\nfrom: "1"\nto: "2"\ndescription: d\ntargets: {{kind: {kind}}}\nsteps:\n'
            "  - {name: tell, kind: job, phase: expand, type: ops.noop, revert: nothing}\n"
        )
        (folder / "migration.yaml").write_text(text)
    monkeypatch.setattr(settings, "ENVIRONMENT", replace(settings.ENVIRONMENT, migrations=(tmp_path,)))
    pools = {"definition": "pools", "version_to": "2"}
    said(acme.post({**pools, "targets": {"environments": ["default"]}}, path=MIGRATE), 202)
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"environments": ["moon"]}, "environments"), ({"tenants": ["acme"]}, "tenants"), ({}, "environments"),
    ]  # fmt: skip
    for targets, name in wrong:
        problem = refused(acme.post({**pools, "targets": targets}, path=MIGRATE), 400, "invalid_fields")
        assert fields(problem) == [f"targets.{name}"]
    said(acme.post({"definition": "whole", "version_to": "2"}, path=MIGRATE), 202)
    assert [row["asked"]["targets"] for row in look(ROWS)] == [{"environments": ["default"]}, {}]


def test_a_target_that_another_migration_holds_is_refused_with_whose(
    acme: Module, running: Laid, control: Control
) -> None:
    holds = running(["acme"])
    problem = refused(acme.post(CRM, path=MIGRATE), 409, "target_busy")
    assert (problem["target"], problem["migration_id"]) == ("acme", holds["id"])
    said(acme.post({**CRM, "dry_run": True}, path=MIGRATE), 202)


def test_who_holds_a_target_on_anothers_account_is_not_told(platform: Module, acme: Module, control: Control) -> None:
    on_globex = campaigns.asked(platform, "acme", tenant_id="globex")
    campaigns.begun(control, on_globex["id"], ["acme"])
    problem = refused(acme.post(CRM, path=MIGRATE), 409, "target_busy")
    assert problem["target"] == "acme"
    assert "migration_id" not in problem
    assert on_globex["id"] not in str(problem)


@pytest.mark.parametrize("scope", ["migrations:read", "migrations:run", "migrations:approve"])
def test_what_can_be_run_is_listed(db: None, scope: str) -> None:
    shown = said(Module("acme", scope=scope).get("/operations/migration-definitions"))
    assert [(each["name"], each["from"], each["to"]) for each in shown["items"]] == [
        ("crm", "1.4", "1.5"), ("crm", "1.5", "1.6"),
    ]  # fmt: skip
    first = shown["items"][0]
    assert (first["module"], first["risk"], first["target_kind"], first["on_failure"]) == (
        "crm", "low", "tenant", "pause",
    )  # fmt: skip
    assert [(step["name"], step["phase"], step["undoes"]) for step in first["steps"]] == [
        ("add_region", "expand", True),
        ("fill_region", "backfill", False),
        ("check_region", "verify", False),
        ("drop_country", "contract", False),
    ]
    assert first["checksum"].startswith("sha256:")
    acme = Module("acme", scope=SCOPES)
    refused(acme.get("/operations/migration-definitions", name="crm"), 400, "invalid_fields")

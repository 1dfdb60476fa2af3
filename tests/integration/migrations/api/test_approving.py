"""A plan is approved by a person who is signed in, and not by whoever asked for it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client
from django.test.client import ClientHandler

from apps.core.ids import uuid7
from apps.migrations.operations import planning
from apps.tenancy.context import operator_reading
from tests.integration.conftest import Change, Control, Look
from tests.integration.migrations.api.conftest import Laid, Person, approve
from tests.support import campaigns
from tests.support.api import Module, refused, said
from tests.support.campaigns import CHECKSUM, MIGRATIONS, SCOPES

APPROVALS = "SELECT approver, note, plan_checksum FROM migration_approvals ORDER BY at"


def test_a_person_approves_and_it_is_kept_who_what_and_why(awaiting: Laid, person: Person, look: Look) -> None:
    migration = awaiting()
    assert (migration["status"], migration["approvals"]) == ("awaiting_approval", {"needed": 1, "given": []})
    shown = said(approve(person("paula"), migration["id"], note="read it twice", plan=CHECKSUM), 202)
    (given,) = shown["approvals"]["given"]
    assert (given["by"], given["note"]) == ("paula", "read it twice")
    assert look(APPROVALS) == [{"approver": "paula", "note": "read it twice", "plan_checksum": CHECKSUM}]
    (event,) = look("SELECT data FROM events WHERE type = 'operations.migration.approved'")
    assert event["data"]["by"] == "paula"
    assert shown["evidence"]["ref"] != migration["evidence"]["ref"], "an approval is proven"


def test_who_agrees_twice_has_agreed_once(awaiting: Laid, person: Person, look: Look) -> None:
    migration, browser = awaiting(approvals=2), person("paula")
    for _ in range(2):
        assert len(said(approve(browser, migration["id"]), 202)["approvals"]["given"]) == 1
    assert len(said(approve(person("peter"), migration["id"]), 202)["approvals"]["given"]) == 2
    assert [row["approver"] for row in look(APPROVALS)] == ["paula", "peter"]


@pytest.mark.parametrize("scope", [SCOPES, "migrations:run", "migrations:read", "jobs:read"])
def test_no_token_approves_whatever_it_may_do(awaiting: Laid, look: Look, scope: str) -> None:
    migration = awaiting()
    for tenant in ("acme", "*"):
        path = f"{MIGRATIONS}/{migration['id']}/approve"
        refused(Module(tenant, scope=scope).post({}, path=path), 403, "person_required")
    assert look(APPROVALS) == []


def test_nobody_approves_unasked_and_another_tenants_module_finds_nothing(awaiting: Laid) -> None:
    path = f"{MIGRATIONS}/{awaiting()['id']}/approve"
    nobody = Client()
    refused(nobody.post(path, "{}", content_type="application/json"), 401, "not_authenticated")
    refused(Module("globex", scope=SCOPES).post({}, path=path), 404, "not_found")
    refused(nobody.post(path, "{}", content_type="application/json", headers={"Authorization": "Bearer x.y.z"}), 401,
            "invalid_token")  # fmt: skip


@pytest.mark.parametrize("name", ["data-acquisition", "Data-Acquisition"])
def test_the_author_is_refused_however_they_write_their_name(
    awaiting: Laid, person: Person, look: Look, name: str
) -> None:
    migration = awaiting()
    assert migration["requested_by"] == "data-acquisition"
    refused(approve(person(name), migration["id"]), 403, "author_approves")
    assert look(APPROVALS) == []


def test_it_takes_the_permission_and_staff(awaiting: Laid, person: Person, look: Look) -> None:
    migration = awaiting()
    for each in (
        person("rita", superuser=False),
        person("member", superuser=False, is_staff=False, permissions=("approve_migration",)),
    ):
        problem = refused(approve(each, migration["id"]), 403, "missing_permission")
        assert problem["permission"] == "migrations.approve_migration"
    assert look(APPROVALS) == []
    permitted = person("peter", superuser=False, permissions=("approve_migration",))
    said(approve(permitted, migration["id"]), 202)


def test_who_is_no_longer_active_is_nobody(awaiting: Laid, person: Person) -> None:
    migration, browser = awaiting(), person("paula")
    with operator_reading():
        get_user_model().objects.filter(username="paula").update(is_active=False)
    refused(approve(browser, migration["id"]), 401, "not_authenticated")


def test_a_session_speaks_with_its_csrf_token(awaiting: Laid, person: Person, look: Look) -> None:
    migration, browser = awaiting(), person("paula")
    browser.handler = ClientHandler(enforce_csrf_checks=True)
    refused(approve(browser, migration["id"]), 403, "csrf_failed")
    browser.cookies["csrftoken"] = "c" * 32
    refused(approve(browser, migration["id"]), 403, "csrf_failed")
    assert look(APPROVALS) == []
    path = f"{MIGRATIONS}/{migration['id']}/approve"
    answer = browser.post(path, "{}", content_type="application/json", headers={"X-CSRFToken": "c" * 32})
    said(answer, 202)


def test_a_session_opens_no_other_address(running: Laid, person: Person) -> None:
    migration, browser = running(), person("paula")
    refused(browser.get(f"{MIGRATIONS}/{migration['id']}"), 401, "not_authenticated")
    answer = browser.post(f"{MIGRATIONS}/{migration['id']}/pause", "{}", content_type="application/json")
    refused(answer, 401, "not_authenticated")


def test_only_what_awaits_it_is_approved(running: Laid, person: Person, platform: Module) -> None:
    browser = person("paula")
    draft = campaigns.asked(platform, tenant_id="acme", dry_run=True)
    for migration, status in ((running(), "running"), (draft, "draft")):
        problem = refused(approve(browser, migration["id"]), 409, "not_awaiting_approval")
        assert problem["migration_status"] == status
    refused(approve(browser, str(uuid7())), 404, "not_found")
    refused(approve(browser, "no-id"), 404, "not_found")


def test_another_plan_than_was_read_is_not_approved(awaiting: Laid, person: Person, look: Look) -> None:
    migration, browser = awaiting(), person("paula")
    problem = refused(approve(browser, migration["id"], plan="sha256:" + "00" * 32), 409, "plan_changed")
    assert problem["plan_checksum"] == CHECKSUM
    for body in ({"plan": "x"}, {"note": "x" * 501}, {"yes": True}):
        refused(approve(browser, migration["id"], **body), 400, "invalid_fields")
    assert look(APPROVALS) == []


def test_a_key_repeats_a_persons_answer(awaiting: Laid, person: Person, look: Look) -> None:
    migration, browser = awaiting(), person("paula")
    path, key = f"{MIGRATIONS}/{migration['id']}/approve", {"Idempotency-Key": "once"}
    answers: list[Any] = [
        browser.post(path, json.dumps({"note": "yes"}), content_type="application/json", headers=key) for _ in "12"
    ]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[1]["Idempotent-Replayed"] == "true"
    assert answers[0].content == answers[1].content


def test_an_approved_migration_begins_by_itself(
    awaiting: Laid, person: Person, control: Control, change: Change
) -> None:
    migration = awaiting()
    with control():
        assert not planning.start(migration["id"])
    said(approve(person("paula"), migration["id"]), 202)
    with control():
        assert planning.start(migration["id"])

"""Admin pages of migrations: people see how each stands and ask as the API does, each as themselves."""

from __future__ import annotations

from uuid import UUID

import pytest
from django.test import Client

from apps.core.ids import uuid7
from apps.migrations.definition import OnFailure
from apps.migrations.models import Step, Wave
from apps.migrations.operations import moving
from tests.integration.conftest import Control, Look
from tests.integration.migrations.api.conftest import Laid, Person
from tests.support import campaigns
from tests.support.api import Module
from tests.support.campaigns import CHECKSUM

ADMIN = "/admin/migrations"


def page(browser: Client, path: str) -> str:
    answer = browser.get(path, headers={"Accept": "text/html"})
    assert answer.status_code == 200, (path, answer.status_code)
    return str(answer.content.decode())


def asks(browser: Client, migration_id: str, command: str, **more: str) -> str:
    """Confirm a command; return the page that follows."""
    body = {"reason": "", "plan": CHECKSUM, **more}
    answer = browser.post(f"{ADMIN}/migration/{migration_id}/ask/{command}/", body, follow=True)
    assert answer.status_code == 200
    return str(answer.content.decode())


def offered(browser: Client, migration_id: str) -> list[str]:
    text = page(browser, f"{ADMIN}/migration/{migration_id}/change/")
    return [name for name in ("approve", "pause", "resume", "retry", "abort", "revert") if f'id="ask-{name}"' in text]


def test_pages_show_a_migration_with_its_plan_waves_targets_and_what_is_set_aside(
    running: Laid, person: Person, control: Control, look: Look
) -> None:
    migration = running(["acme"], ["globex"], set_aside=("sandbox",))
    with control():
        moving.begin_wave(UUID(migration["id"]), number=0, facts={})
        Wave.objects.filter(migration_id=migration["id"], number=0).update(facts={"gates": {"health": "<b>well</b>"}})
        running_step = Step.objects.filter(migration_id=migration["id"], target__key="acme", number=1)
        running_step.update(state="running", done=500, total=1000, job_id=uuid7())
    browser = person("olga")
    shown = page(browser, f"{ADMIN}/migration/{migration['id']}/change/")
    words = [
        "crm 1.4 → 1.5", "fill_region 500 of 1000", "tenant_acme", "globex", "column customers.nick", "schema_differs",
        "about 10 min to go", 'aria-valuenow="12"', "drop_country: takes something away",
        "Evidence of its last transition", "hx-trigger",
    ]  # fmt: skip
    assert [word for word in words if word not in shown] == []
    assert "<b>well</b>" not in shown
    assert "&lt;b&gt;well" in shown
    lists = {"migration": "crm 1.4", "target": "globex", "step": "fill_region", "wave": "running", "approval": "Approv"}
    for name, word in lists.items():
        assert word in page(browser, f"{ADMIN}/{name}/"), name
    assert "globex" in page(browser, f"{ADMIN}/target/?q={migration['id']}")
    (target,) = look("SELECT target_id FROM migration_targets WHERE key = 'sandbox'")
    assert "column customers.nick" in page(browser, f"{ADMIN}/target/{target['target_id']}/change/")
    assert "migrations under way" in page(browser, "/admin/")


def test_a_stopped_ones_page_says_how_it_stands_why_and_what_to_do_and_looks_for_news(
    running: Laid, person: Person, control: Control
) -> None:
    migration = running(["acme"], ["globex"])
    saw = {"no_orphans": {"verdict": "fail", "failed": ["acme"], "unknown": []}, "health": {"verdict": "succeed"}}
    with control():
        moving.begin_wave(UUID(migration["id"]), number=0, facts={"health": {}, "attempts": [0, 0]})
        moving.fail_wave(
            UUID(migration["id"]), number=0, code="gate_no_orphans", then=OnFailure.PAUSE, gate="no_orphans",
            why="check no_orphans failed for acme", facts=saw,
        )  # fmt: skip
    shown = page(person("olga"), f"{ADMIN}/migration/{migration['id']}/change/")
    live = shown[shown.index('id="ops-migration"') :]
    words = [
        ">paused<", "gate_no_orphans: check no_orphans failed for acme", "retry has it judged anew", "or revert",
        "no orphans (failed: acme)", "stands still since",
    ]  # fmt: skip
    assert [word for word in words if word not in live] == [], "what renews itself tells how it stands"
    assert "attempts" not in live.partition("The whole plan")[0], "figures of nobody's concern"


def test_a_draft_has_a_page_too(platform: Module, person: Person) -> None:
    draft = campaigns.asked(platform, tenant_id="acme")
    assert "There is no plan yet." in page(person("olga"), f"{ADMIN}/migration/{draft['id']}/change/")


def test_a_person_approves_on_the_page_that_shows_the_plan(awaiting: Laid, person: Person, look: Look) -> None:
    migration, browser = awaiting(), person("paula")
    assert offered(browser, migration["id"]) == ["approve", "abort"]
    confirm = page(browser, f"{ADMIN}/migration/{migration['id']}/ask/approve/")
    assert CHECKSUM in confirm
    assert "Approve crm 1.4 → 1.5?" in confirm
    assert look("SELECT * FROM migration_approvals") == [], "a look is no yes"
    assert "Approve: done." in asks(browser, migration["id"], "approve", reason="fine")
    (row,) = look("SELECT tenant_id, approver, note FROM migration_approvals")
    assert row == {"tenant_id": "acme", "approver": "paula", "note": "fine"}
    (event,) = look("SELECT tenant_id, data FROM events WHERE type = 'operations.migration.approved'")
    assert (event["tenant_id"], event["data"]["by"]) == ("acme", "paula")


def test_the_author_is_not_offered_it_and_is_refused(awaiting: Laid, person: Person, look: Look) -> None:
    migration, author = awaiting(), person("Data-Acquisition")
    assert offered(author, migration["id"]) == ["abort"]
    shown = page(author, f"{ADMIN}/migration/{migration['id']}/change/")
    assert "another person has to approve it" in shown
    assert "Not done: who asked for a migration cannot approve it" in asks(author, migration["id"], "approve")
    assert look("SELECT * FROM migration_approvals") == []


def test_another_plan_than_the_page_showed_is_not_approved(awaiting: Laid, person: Person, look: Look) -> None:
    migration = awaiting()
    said = asks(person("paula"), migration["id"], "approve", plan="sha256:" + "00" * 32)
    assert "Not done: its plan is another one" in said
    assert look("SELECT * FROM migration_approvals") == []


def test_a_person_pauses_resumes_and_reverts_with_a_reason(running: Laid, person: Person, look: Look) -> None:
    migration, browser = running(), person("olga")
    assert offered(browser, migration["id"]) == ["pause", "abort", "revert"]
    assert "Pause: done." in asks(browser, migration["id"], "pause", reason="lunch")
    assert look("SELECT status, reason FROM migrations") == [{"status": "paused", "reason": "lunch"}]
    assert offered(browser, migration["id"]) == ["resume", "retry", "abort", "revert"]
    assert "Not done: a migration that is paused cannot pause" in asks(browser, migration["id"], "pause")
    for command in ("resume", "pause", "retry", "revert"):
        assert "done." in asks(browser, migration["id"], command)
    assert look("SELECT status FROM migrations") == [{"status": "reverting"}]
    told = look("SELECT DISTINCT data ->> 'by' AS by FROM events WHERE type LIKE 'operations.migration.re%%ing'")
    assert told == [{"by": "olga"}]
    records = look("SELECT DISTINCT tenant_id FROM evidence_records WHERE kind = 'migration'")
    assert records == [{"tenant_id": "acme"}]


@pytest.mark.parametrize("reason", ["a\x00b", "x" * 501])
def test_a_reason_that_cannot_be_kept_is_refused_in_words(
    running: Laid, person: Person, look: Look, reason: str
) -> None:
    assert "Not done: a reason of" in asks(person("olga"), running()["id"], "pause", reason=reason)
    assert look("SELECT status FROM migrations") == [{"status": "running"}]


def test_commands_are_for_who_may(running: Laid, awaiting: Laid, person: Person, look: Look) -> None:
    migration = running()
    path = f"{ADMIN}/migration/{migration['id']}/ask"
    reader = person("rita", superuser=False, permissions=("view_migration", "view_target"))
    assert offered(reader, migration["id"]) == []
    approver = person("anna", superuser=False, permissions=("view_migration", "approve_migration"))
    for browser, command, status in (
        (reader, "pause", 403), (reader, "approve", 403), (approver, "pause", 403), (Client(), "pause", 302),
    ):  # fmt: skip
        assert browser.post(f"{path}/{command}/", {}).status_code == status, command
        assert browser.get(f"{path}/{command}/").status_code == status, command
    operator = person("olga")
    assert operator.get(f"{path}/explode/").status_code == 404
    assert operator.get(f"{ADMIN}/migration/{uuid7()}/ask/pause/").status_code == 404
    assert operator.put(f"{path}/pause/").status_code == 405
    assert look("SELECT status FROM migrations") == [{"status": "running"}]

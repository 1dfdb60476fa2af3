"""Migrations are listed and read: whole for who may see all of it, and without names for who may not."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest

from apps.core.ids import uuid7
from apps.migrations.models import Migration, Step, Target, Wave
from apps.migrations.operations import moving
from tests.integration.conftest import Change, Control, Look
from tests.integration.migrations.api.conftest import Laid
from tests.support import campaigns
from tests.support.api import INSTANT, Module, fields, refused, said
from tests.support.campaigns import CHECKSUM, LIKELY_S, MIGRATIONS, SCOPES
from tests.support.client import messages


def read(module: Module, migration: dict[str, Any], **query: Any) -> dict[str, Any]:
    return said(module.get(f"{MIGRATIONS}/{migration['id']}", **query))


def ids(caller: Module, /, **query: Any) -> list[str]:
    return [each["id"] for each in said(caller.get(MIGRATIONS, **query))["items"]]


def test_a_migration_is_read_with_its_plan_waves_targets_and_steps(
    running: Laid, platform: Module, control: Control
) -> None:
    migration = running(["acme"], ["globex"], set_aside=("sandbox",))
    with control():
        moving.begin_wave(UUID(migration["id"]), number=0, facts={})
        step = Step.objects.filter(migration_id=migration["id"], target__key="acme", name="fill_region")
        step.update(
            state="failed", done=700, total=1000, cursor="700", error_code="23514", error="a check failed", run=2
        )
    shown = read(platform, migration)
    assert shown["plan"]["waves"] == [{"number": 0, "targets": ["acme"]}, {"number": 1, "targets": ["globex"]}]
    assert (shown["plan_checksum"], shown["risk"], shown["stage"], shown["wave"]) == (CHECKSUM, "medium", "forward", 0)
    assert [(each["number"], each["state"], each["targets"]) for each in shown["waves"]] == [
        (0, "running", {"waiting": 1}), (1, "waiting", {"waiting": 1}),
    ]  # fmt: skip
    assert [(each["target"], each["wave"], each["state"], each["version_before"]) for each in shown["targets"]] == [
        ("acme", 0, "waiting", "1.4"), ("globex", 1, "waiting", "1.4"),
    ]  # fmt: skip
    steps = shown["targets"][0]["steps"]
    assert [each["name"] for each in steps] == ["add_region", "fill_region", "check_region", "drop_country"]
    failed = steps[1]
    assert (failed["cursor"], failed["done"], failed["total"], failed["run"]) == ("700", 700, 1000, 2)
    assert failed["error"] == {"code": "23514", "message": "a check failed"}
    (aside,) = shown["set_aside"]
    assert (aside["target"], aside["reason"]["code"], aside["differs"]) == (
        "sandbox", "schema_differs", ["column customers.nick"],
    )  # fmt: skip
    assert (shown["targets_total"], shown["targets_by_state"], shown["targets_unnamed"]) == (2, {"waiting": 2}, 0)
    assert shown["set_aside_total"] == 1
    assert pytest.approx(LIKELY_S, abs=30) == shown["eta_s"], "by its plan, before its own pace tells"
    assert shown["links"]["evidence"] == f"/operations/evidence/{shown['evidence']['ref']}"
    assert re.fullmatch(INSTANT, shown["started_at"])


def test_targets_outside_the_token_are_counted_and_never_named(
    running: Laid, platform: Module, acme: Module, control: Control
) -> None:
    migration = running(["globex"], ["acme"], set_aside=("sandbox",))
    with control():
        facts = {"checks": {"globex": {"ok": True}}, "jobs": [{"tenant": "globex", "n": 1}, {"tenant": "acme", "n": 2}]}
        Wave.objects.filter(migration_id=migration["id"], number=0).update(facts=facts)
        moving.give_up(UUID(migration["id"]), code="target_failed", why="globex: a check failed")
    shown = read(acme, migration)
    text = json.dumps(shown)
    assert [name for name in ("globex", "sandbox") if name in text] == []
    assert [each["target"] for each in shown["targets"]] == ["acme"]
    assert (shown["targets_total"], shown["targets_unnamed"], shown["set_aside_total"]) == (2, 1, 1)
    assert shown["set_aside"] == []
    assert [each["targets"] for each in shown["waves"]] == [{"waiting": 1}, {"waiting": 1}]
    assert shown["plan"]["waves"] == [{"number": 0, "targets": []}, {"number": 1, "targets": ["acme"]}]
    assert shown["plan"]["rehearsal"]["on"] == "another's"
    assert shown["waves"][0]["facts"]["jobs"] == [{"tenant": "acme", "n": 2}]
    listed = said(acme.get(MIGRATIONS))["items"]
    assert listed[0]["reason"] == {"code": "target_failed", "sentence": "another's"}
    both = Module("acme", "globex", scope=SCOPES)
    assert [each["target"] for each in read(both, migration)["targets"]] == ["globex", "acme"]
    assert read(platform, migration)["reason"]["sentence"] == "globex: a check failed"


def test_an_approvers_note_names_nobody_either(awaiting: Laid, acme: Module, platform: Module, change: Change) -> None:
    migration = awaiting(["acme"], ["globex"])
    change(
        "INSERT INTO migration_approvals (approval_id, migration_id, tenant_id, approver, plan_checksum, note)"
        " VALUES (%s, %s, 'acme', 'paula', %s, 'globex is small')",
        uuid7(), migration["id"], CHECKSUM,
    )  # fmt: skip
    assert read(platform, migration)["approvals"]["given"][0]["note"] == "globex is small"
    aborted = said(acme.post({}, path=f"{MIGRATIONS}/{migration['id']}/abort"), 202)
    for shown in (aborted, read(acme, migration), said(acme.get(MIGRATIONS))["items"][0]):
        (given,) = shown["approvals"]["given"]
        assert (given["by"], given["note"]) == ("paula", "another's")


def test_a_plan_whose_targets_were_never_written_names_nobody_either(
    awaiting: Laid, acme: Module, change: Change
) -> None:
    migration = awaiting(["globex"], ["acme"])
    change("DELETE FROM migration_steps")
    change("DELETE FROM migration_targets")
    assert "globex" not in json.dumps(read(acme, migration))


def test_a_target_of_a_migration_on_anothers_account_does_not_find_it(running: Laid) -> None:
    migration = running(["globex"])
    globex = Module("globex", scope=SCOPES)
    refused(globex.get(f"{MIGRATIONS}/{migration['id']}"), 404, "not_found")
    assert ids(globex) == []
    assert ids(globex, target="globex") == []
    assert ids(Module("acme", "globex", scope=SCOPES), target="globex") == [migration["id"]]
    assert ids(Module("acme", scope=SCOPES), target="globex") == []


def test_many_targets_are_read_page_by_page_in_the_order_in_which_they_go(
    awaiting: Laid, platform: Module, change: Change, look: Look
) -> None:
    migration = awaiting(["acme"])
    for number in range(7):
        change(
            "INSERT INTO migration_targets (target_id, migration_id, tenant_id, module, kind, key, wave, position,"
            " state, differs, holds) VALUES (%s, %s, 'acme', 'crm', 'tenant', %s, %s, %s, 'upgraded', '[]', false)",
            uuid7(), migration["id"], f"t{number}", number % 3, 10 - number,
        )  # fmt: skip
    keys: list[str] = []
    page = read(platform, migration, limit=3)
    while True:
        keys += [each["target"] for each in page["targets"]]
        if page["targets_next"] is None:
            break
        assert page["links"]["targets"].endswith(f"?targets={page['targets_next']}")
        page = read(platform, migration, limit=3, targets=page["targets_next"])
    assert keys == ["acme", "t6", "t3", "t0", "t4", "t1", "t5", "t2"]
    for wrong in ("x", str(uuid7())):
        answer = platform.get(f"{MIGRATIONS}/{migration['id']}", targets=wrong)
        assert fields(refused(answer, 400, "invalid_fields")) == ["targets"]


def test_the_list_filters_and_pages_newest_first(
    platform: Module, acme: Module, running: Laid, control: Control
) -> None:
    drafts = [campaigns.asked(acme, dry_run=True)["id"] for _ in range(3)]
    on_globex = campaigns.asked(platform, "globex", tenant_id="globex", dry_run=True, version_to="1.6")["id"]
    runs = running(["acme"])["id"]
    assert ids(platform) == [runs, on_globex, *reversed(drafts)]
    assert ids(acme) == [runs, *reversed(drafts)]
    assert ids(platform, tenant_id="globex") == [on_globex]
    assert ids(platform, status="running") == [runs]
    assert ids(platform, module="crm", definition="crm") == ids(platform)
    assert ids(platform, definition="erp") == ids(platform, module="erp") == []
    assert ids(platform, target="acme") == [runs], "planned for: a draft has no targets yet"
    first = said(acme.get(MIGRATIONS, limit=2))
    second = said(acme.get(MIGRATIONS, limit=2, cursor=first["next"]))
    assert [each["id"] for each in first["items"] + second["items"]] == [runs, *reversed(drafts)]
    assert second["next"] is None
    for name, value in (("status", "gone"), ("cursor", "x"), ("limit", "0"), ("colour", "red")):
        assert fields(refused(acme.get(MIGRATIONS, **{name: value}), 400, "invalid_fields")) == [name]
    refused(acme.get(MIGRATIONS, tenant_id="globex"), 404, "not_found")


def test_what_is_not_there_is_not_found(acme: Module) -> None:
    for wanted in ("nothing", str(uuid7())):
        refused(acme.get(f"{MIGRATIONS}/{wanted}"), 404, "not_found")
    refused(Module("acme", scope="jobs:read").get(MIGRATIONS), 403, "missing_scope")


def test_its_own_pace_tells_how_long_it_takes_once_it_is_telling(
    running: Laid, platform: Module, change: Change
) -> None:
    migration = running()
    change("UPDATE migrations SET progress = 0.25, started_at = clock_timestamp() - interval '100 s', stopped_s = 40")
    assert read(platform, migration)["eta_s"] == pytest.approx(180, abs=5)
    change("UPDATE migrations SET status = 'paused', stopped_at = clock_timestamp()")
    assert read(platform, migration)["eta_s"] is None


class TestFollowing:
    """A migration as a stream."""

    def heard(self, module: Module, migration: dict[str, Any]) -> Iterator[dict[str, Any]]:
        path = f"{MIGRATIONS}/{migration['id']}"
        answer = module.ask("GET", path, Accept="text/event-stream")
        assert answer["Content-Type"] == "text/event-stream"
        try:
            lines = (line for chunk in answer.streaming_content for line in chunk.decode().split("\n"))
            yield from messages(lines)
        finally:
            answer.close()

    def test_it_is_told_as_it_moves_until_it_is_over(self, running: Laid, acme: Module, control: Control) -> None:
        migration = running(["acme"], ["globex"])
        heard = self.heard(acme, migration)
        first = next(heard)
        assert (first["event"], first["data"]["status"], first["data"]["progress"]) == ("migration", "running", 0)
        assert first["data"]["eta_s"] is not None
        with control():
            Migration.objects.filter(id=migration["id"]).update(progress=0.5)
        second = next(heard)["data"]
        assert (second["progress"], [each["targets"] for each in second["waves"]]) == (
            0.5, [{"waiting": 1}, {"waiting": 1}],
        )  # fmt: skip
        with control():
            step = Step.objects.filter(migration_id=migration["id"], target__key="globex", number=0)
            step.update(state="running", run=1, done=10)
        assert next(heard)["data"]["progress"] == 0.5, "a step that moves is news"
        with control():
            Target.objects.filter(migration_id=migration["id"]).update(state="upgraded")
            moving.give_up(UUID(migration["id"]), code="target_failed", why="globex is odd")
        paused = next(heard)["data"]
        assert (paused["status"], paused["eta_s"], paused["reason"]) == (
            "paused", None, {"code": "target_failed", "sentence": "another's"},
        )  # fmt: skip
        said(acme.post({}, path=f"{MIGRATIONS}/{migration['id']}/abort"), 202)
        assert next(heard)["data"]["status"] == "aborting"
        with control():
            moving.abandon(UUID(migration["id"]))
        assert [(each["event"], each["data"].get("status")) for each in heard] == [
            ("migration", "failed"), ("end", "failed"),
        ]  # fmt: skip

    def test_of_what_is_over_the_last_word_is_told(self, platform: Module, acme: Module, control: Control) -> None:
        draft = campaigns.asked(platform, tenant_id="acme", dry_run=True)
        campaigns.planned(control, draft["id"], ["acme"])
        told = list(self.heard(acme, draft))
        assert [(each["event"], each["data"].get("reason")) for each in told][-1] == ("end", "migration_over")
        assert told[0]["data"]["status"] == "draft"

    def test_nobody_follows_what_is_not_theirs(self, running: Laid) -> None:
        path = f"{MIGRATIONS}/{running()['id']}"
        answer = Module("globex", scope=SCOPES).ask("GET", path, Accept="text/event-stream")
        refused(answer, 404, "not_found")

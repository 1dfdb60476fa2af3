"""Webhooks over HTTP: made, read, changed, taken away; a secret told once; nobody else's."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from pytest_django import Settings

from apps.core.ids import uuid7
from tests.integration.conftest import Change, Look
from tests.integration.webhooks.conftest import ALL_JOBS, SCOPES, WEBHOOKS
from tests.support.api import Module, fields, refused, said
from tests.support.work import only

ASKED = {"url": "https://example.org/hooks?x=1", "event_types": ALL_JOBS}


def made(module: Module, **more: Any) -> dict[str, Any]:
    return said(module.post({**ASKED, **more}, path=WEBHOOKS), 201)


def patched(module: Module, webhook: dict[str, Any], status: int = 200, **values: Any) -> Any:
    answer = module.send("PATCH", f"{WEBHOOKS}/{webhook['webhook_id']}", values)
    return said(answer, status) if status < 400 else answer


class TestMaking:
    """A webhook is what was asked, or a problem that names what cannot be."""

    def test_a_webhook_is_told_back_with_its_secret_and_read_without(self, acme: Module) -> None:
        answer = acme.post({**ASKED, "description": "ours"}, path=WEBHOOKS)
        webhook = said(answer, 201)
        secret = webhook.pop("secret")
        assert secret.startswith("whsec_")
        assert len(secret) == len("whsec_") + 44
        address = f"{WEBHOOKS}/{webhook['webhook_id']}"
        assert answer["Location"] == address
        assert said(acme.get(address)) == webhook
        assert said(acme.get(WEBHOOKS)) == {"items": [webhook], "next": None}
        assert {name: webhook[name] for name in ("tenant_id", "url", "event_types", "description", "enabled")} == {
            **ASKED, "tenant_id": "acme", "description": "ours", "enabled": True,
        }  # fmt: skip
        assert webhook["disabled_reason"] is None

    def test_two_have_two_secrets(self, acme: Module) -> None:
        assert made(acme)["secret"] != made(acme)["secret"]

    def test_no_row_holds_the_secret_and_a_repeated_request_is_told_it_again(self, acme: Module, look: Look) -> None:
        key = {"Idempotency-Key": "once"}
        first, second = (acme.post(ASKED, path=WEBHOOKS, **key) for _ in range(2))
        assert said(first, 201) == said(second, 201)
        assert second["Idempotent-Replayed"] == "true"
        assert second["Location"] == first["Location"]
        secret = first.json()["secret"]
        rows = [look(f"SELECT * FROM {table}") for table in ("webhooks", "idempotency_keys", "events")]
        assert len(rows[0]) == 1
        assert len(rows[1]) == 1
        assert secret not in repr(rows)
        assert secret.removeprefix("whsec_") not in repr(rows)

    @pytest.mark.parametrize(
        ("wrong", "field"),
        [
            ({"url": "ftp://example.org"}, "url"),
            ({"url": "https://user:word@example.org/"}, "url"),
            ({"url": "https://169.254.169.254/latest/meta-data"}, "url"),
            ({"url": "https://10.0.0.1/"}, "url"),
            ({"url": "http://[::1]/"}, "url"),
            ({"url": "https://[::ffff:10.0.0.1]/"}, "url"),
            ({"url": "https://100.64.0.1/"}, "url"),
            ({"url": "https://example.org/" + "x" * 2000}, "url"),
            ({"event_types": []}, "event_types"),
            ({"event_types": ["operations.*.failed"]}, "event_types"),
            ({"event_types": ["*"]}, "event_types"),
            ({"event_types": ["x"] * 21}, "event_types"),
            ({"secret": "whsec_mine"}, "secret"),
            ({"enabled": True}, "enabled"),
        ],
    )
    def test_what_is_wrong_is_named(self, acme: Module, look: Look, wrong: dict[str, Any], field: str) -> None:
        assert fields(refused(acme.post({**ASKED, **wrong}, path=WEBHOOKS), 400, "invalid_fields")) == [field]
        assert look("SELECT 1 FROM webhooks") == []

    def test_production_takes_https_alone(self, acme: Module, settings: Settings) -> None:
        made(acme, url="http://example.org/")
        settings.ENVIRONMENT = replace(settings.ENVIRONMENT, local=False)
        answer = acme.post({**ASKED, "url": "http://example.org/"}, path=WEBHOOKS)
        assert fields(refused(answer, 400, "invalid_fields")) == ["url"]
        made(acme)

    def test_a_tenant_has_fifty_at_most(self, acme: Module, globex: Module, change: Change) -> None:
        webhook = made(acme)
        change(
            "INSERT INTO webhooks SELECT (jsonb_populate_record(w, jsonb_build_object('webhook_id',"
            " gen_random_uuid()))).* FROM webhooks w, generate_series(1, 49)"
        )
        refused(acme.post(ASKED, path=WEBHOOKS), 409, "too_many_webhooks")
        made(globex)
        assert acme.ask("DELETE", f"{WEBHOOKS}/{webhook['webhook_id']}").status_code == 204
        made(acme)


class TestChanging:
    """By the version that was read, and never unnoticed."""

    def test_what_is_left_out_stays(self, acme: Module) -> None:
        webhook = made(acme)
        changed = patched(acme, webhook, version=1, event_types=["operations.job.failed"])
        assert changed["event_types"] == ["operations.job.failed"]
        assert (changed["url"], changed["version"]) == (ASKED["url"], 2)
        late = patched(acme, webhook, 409, version=1, url=ASKED["url"])
        assert refused(late, 409, "changed_meanwhile")["version"] == 2
        unversioned = patched(acme, webhook, 400, url=ASKED["url"])
        assert fields(refused(unversioned, 400, "invalid_fields")) == ["version"]
        inside = patched(acme, webhook, 400, version=2, url="https://192.168.0.1/")
        assert fields(refused(inside, 400, "invalid_fields")) == ["url"]
        assert patched(acme, webhook, version=2, url="https://example.net/")["url"] == "https://example.net/"

    def test_off_and_on(self, acme: Module, look: Look, change: Change) -> None:
        webhook = made(acme)
        off = patched(acme, webhook, version=1, enabled=False)
        assert (off["enabled"], off["disabled_reason"]) == (False, "by_request")
        event = only(look("SELECT * FROM events WHERE type = 'operations.webhook.disabled'"))
        assert (event["data"]["reason"], event["data"]["by"]) == ("by_request", "data-acquisition")
        refused(acme.post({}, path=f"{WEBHOOKS}/{webhook['webhook_id']}/test"), 409, "webhook_disabled")
        change("UPDATE webhooks SET failures = 9, failing_since = now(), left_alone_until = now() + interval '1 h'")
        on = patched(acme, webhook, version=2, enabled=True)
        assert (on["enabled"], on["disabled_reason"], on["disabled_at"]) == (True, None, None)
        assert (on["failing_since"], on["left_alone_until"]) == (None, None)
        assert len(look("SELECT 1 FROM events WHERE type = 'operations.webhook.disabled'")) == 1

    def test_a_webhook_that_was_taken_away_does_not_exist(self, acme: Module) -> None:
        address = f"{WEBHOOKS}/{made(acme)['webhook_id']}"
        assert acme.ask("DELETE", address).status_code == 204
        refused(acme.get(address), 404, "not_found")
        refused(acme.post({}, path=f"{address}/rotate-secret"), 404, "not_found")
        assert said(acme.get(WEBHOOKS))["items"] == []

    def test_another_secret_is_told_once_and_the_old_one_ends(self, acme: Module) -> None:
        webhook = made(acme)
        address = f"{WEBHOOKS}/{webhook['webhook_id']}"
        rotated = said(acme.post({"overlap_s": 60}, path=f"{address}/rotate-secret"))
        assert rotated["secret"] != webhook["secret"]
        assert rotated["previous_secret_id"] == webhook["secret_id"]
        assert rotated["previous_until"] is not None
        assert "secret" not in said(acme.get(address))
        at_once = said(acme.post({"overlap_s": 0}, path=f"{address}/rotate-secret"))
        assert (at_once["previous_secret_id"], at_once["previous_until"]) == (None, None)
        too_long = acme.post({"overlap_s": 700_000}, path=f"{address}/rotate-secret")
        assert fields(refused(too_long, 400, "invalid_fields")) == ["overlap_s"]


class TestWhoMay:
    """One scope to read, one to write, one's own tenants."""

    def test_reading_and_writing_have_a_scope_each(self, acme: Module) -> None:
        address = f"{WEBHOOKS}/{made(acme)['webhook_id']}"
        reader, writer = Module("acme", scope="events:read"), Module("acme", scope="webhooks:write")
        assert said(reader.get(address))
        for answer in (
            reader.post(ASKED, path=WEBHOOKS),
            reader.send("PATCH", address, {"version": 1}),
            reader.ask("DELETE", address),
            reader.post({}, path=f"{address}/rotate-secret"),
            reader.post({}, path=f"{address}/test"),
            reader.post({"since": "2026-01-01T00:00:00Z"}, path=f"{address}/redeliver"),
            reader.post({}, path=f"{address}/deliveries/{uuid7()}/redeliver"),
        ):
            assert refused(answer, 403, "missing_scope")["scope"] == "webhooks:write"
        for answer in (writer.get(WEBHOOKS), writer.get(address), writer.get(f"{address}/deliveries")):
            refused(answer, 403, "missing_scope")

    def test_no_webhook_is_made_for_another_tenant(self, acme: Module, look: Look) -> None:
        refused(acme.post({**ASKED, "tenant_id": "globex"}, path=WEBHOOKS), 404, "not_found")
        assert look("SELECT 1 FROM webhooks") == []

    def test_who_may_act_for_several_says_for_whom(self, db: None) -> None:
        both = Module("acme", "globex", scope=SCOPES)
        refused(both.post(ASKED, path=WEBHOOKS), 400, "tenant_required")
        webhooks = [made(both, tenant_id=tenant) for tenant in ("acme", "globex")]
        assert [each["tenant_id"] for each in said(both.get(WEBHOOKS))["items"]] == ["globex", "acme"]
        for each in webhooks:
            assert said(both.get(f"{WEBHOOKS}/{each['webhook_id']}"))["tenant_id"] == each["tenant_id"]

    def test_a_platform_module_reads_all_and_writes_for_the_one_it_names(self, acme: Module, look: Look) -> None:
        platform, theirs = Module("*", scope=SCOPES), made(acme)
        refused(platform.post(ASKED, path=WEBHOOKS), 400, "tenant_required")
        mine = made(platform, tenant_id="globex")
        address = f"{WEBHOOKS}/{theirs['webhook_id']}"
        assert {each["webhook_id"] for each in said(platform.get(WEBHOOKS))["items"]} == {
            mine["webhook_id"],
            theirs["webhook_id"],
        }
        assert said(platform.get(f"{address}/deliveries")) == {"items": [], "next": None}
        assert patched(platform, theirs, version=1, enabled=False)["disabled_reason"] == "by_request"
        assert only(look("SELECT * FROM events WHERE type = 'operations.webhook.disabled'"))["tenant_id"] == "acme"
        assert platform.ask("DELETE", address).status_code == 204


def test_a_changed_key_changes_the_secrets_and_a_missing_one_is_no_secret(
    acme: Module, settings: Settings, tmp_path: Path
) -> None:
    from apps.webhooks.secrets import secret  # noqa: PLC0415 - beside its use

    ids = {"webhook_id": uuid7(), "secret_id": uuid7()}
    before = secret(**ids)
    assert secret(**ids) == before
    (tmp_path / "webhooks.key").write_bytes(b"x" * 32)
    settings.ENVIRONMENT = replace(settings.ENVIRONMENT, keys=tmp_path)
    assert secret(**ids) != before


def test_an_operators_file_that_cannot_be_read_opens_nothing(acme: Module, loopback: Path) -> None:
    loopback.write_text(json.dumps({"acme": {"networks": ["everything"]}}))
    answer = acme.post({**ASKED, "url": "http://127.0.0.1:1/"}, path=WEBHOOKS)
    assert fields(refused(answer, 400, "invalid_fields")) == ["url"]
    assert settings.ENVIRONMENT.local

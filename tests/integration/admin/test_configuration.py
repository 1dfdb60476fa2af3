"""Configuration pages: what they write, what they refuse, and what they say would be right."""

from __future__ import annotations

import html
import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from apps.governance import lifecycle, operations
from apps.tenancy.context import operator_reading
from tests.integration.conftest import Look
from tests.support.work import only

Change = Callable[..., int]
DRAFT = {
    "name": "kpi.test",
    "version": "1",
    "state": "draft",
    "job_types": "kpi.refresh",
    "tenants": "",
    "document": '{"kpi": {}}',
    "obligations": "{}",
}
CONTRACTS = "/admin/governance/contract/"


@pytest.fixture(autouse=True)
def restored(change: Change) -> Change:
    """Put configuration back as it was when the test is over."""
    return change


def errors(answer: Any) -> str:
    assert answer.status_code == 200
    return " ".join(str(error) for found in answer.context["errors"] for error in found)


def contract(look: Look, name: str = "kpi.test") -> dict[str, Any]:
    return dict(only(look("SELECT * FROM contracts WHERE name = %s", name)))


class TestContracts:
    """Drafted, activated, retired; a published text is final."""

    def test_a_draft_is_written_with_the_digest_that_publishing_would_give(self, operator: Client, look: Look) -> None:
        assert operator.post(f"{CONTRACTS}add/", DRAFT).status_code == 302
        row = contract(look)
        assert (row["state"], row["tenants"], row["document"]) == ("draft", None, {"kpi": {}})
        with operator_reading():
            operations.activate_contract(name="kpi.test", version=1)
            again = operations.publish_contract(
                name="kpi.test", version=1, job_types=["kpi.refresh"], document={"kpi": {}}
            )
        assert again.digest == row["digest"]

    def test_a_draft_is_edited_activated_and_retired(self, operator: Client, look: Look) -> None:
        operator.post(f"{CONTRACTS}add/", DRAFT)
        before = contract(look)
        page = f"{CONTRACTS}{before['id']}/change/"
        assert operator.post(page, {**DRAFT, "document": '{"kpi": {"name": "rain"}}'}).status_code == 302
        assert contract(look)["digest"] != before["digest"]
        for state in ("active", "retired", "active"):
            assert operator.post(page, {**DRAFT, "state": state}).status_code == 302
            assert contract(look)["state"] == state

    def test_a_published_text_stays_whatever_is_posted(self, operator: Client, look: Look) -> None:
        seeded = contract(look, "kpi.seattle-rain")
        page = f"{CONTRACTS}{seeded['id']}/change/"
        answer = operator.post(page, {**DRAFT, "state": "retired", "document": '{"kpi": {"sql": "mine"}}'})
        assert answer.status_code == 302
        assert contract(look, "kpi.seattle-rain") == {**seeded, "state": "retired"}

    def test_a_published_contract_is_no_draft_again_and_cannot_be_deleted(self, operator: Client, look: Look) -> None:
        key = contract(look, "kpi.seattle-rain")["id"]
        assert "draft is not one of the available choices" in errors(
            operator.post(f"{CONTRACTS}{key}/change/", {"state": "draft"})
        )
        assert operator.post(f"{CONTRACTS}{key}/delete/", {"post": "yes"}).status_code == 403
        assert contract(look, "kpi.seattle-rain")["state"] == "active"

    def test_a_draft_can_be_discarded(self, operator: Client, look: Look) -> None:
        operator.post(f"{CONTRACTS}add/", DRAFT)
        assert operator.post(f"{CONTRACTS}{contract(look)['id']}/delete/", {"post": "yes"}).status_code == 302
        assert look("SELECT 1 FROM contracts WHERE name = 'kpi.test'") == []

    def test_the_next_version_begins_with_this_ones_text(self, operator: Client, look: Look) -> None:
        seeded = contract(look, "kpi.seattle-rain")
        answer = operator.get(f"{CONTRACTS}{seeded['id']}/next-version/", follow=True)
        initial = answer.context["adminform"].form.initial
        assert (initial["name"], initial["version"], initial["document"]) == ("kpi.seattle-rain", 2, seeded["document"])

    @pytest.mark.parametrize(
        ("wrong", "said"),
        [
            ({"document": '{"kpi": '}, "not JSON"),
            ({"document": "[1]"}, "An object would be right"),
            ({"document": '{"a": 1, "a": 2}'}, "said twice"),
            ({"job_types": "KPI refresh!"}, "can match no job type"),
            ({"tenants": "acme, acmee"}, "no tenant “acmee”; known: acme, globex, sandbox"),
            (
                {"obligations": '{"retention": 3}'},
                "no obligation “retention”; known: redaction, region, retention_days",
            ),
            ({"obligations": '{"retention_days": "3"}'}, "retention_days: a whole number would be right"),
            ({"name": "kpi.seattle-rain"}, "already exists"),
        ],
    )
    def test_what_is_wrong_is_refused_with_what_would_be_right(
        self, operator: Client, wrong: dict[str, str], said: str
    ) -> None:
        assert said in errors(operator.post(f"{CONTRACTS}add/", {**DRAFT, **wrong}))


class TestContractOperations:
    """What the pages call says no by name."""

    def test_a_draft_cannot_be_retired_nor_a_published_text_changed(self, db: None) -> None:
        text: dict[str, Any] = {"job_types": ["kpi.refresh"], "document": {}}
        with operator_reading():
            operations.draft_contract(name="kpi.test", version=1, **text)
            with pytest.raises(operations.ContractExistsError, match="next version"):
                operations.draft_contract(name="kpi.test", version=1, **text)
            with pytest.raises(lifecycle.IllegalContractMoveError, match="only active"):
                operations.retire_contract(name="kpi.test", version=1)
            with pytest.raises(operations.ContractChangedError, match="new version"):
                operations.redraft_contract(name="kpi.seattle-rain", version=1, **text)
            with pytest.raises(operations.ContractChangedError, match="can be retired"):
                operations.discard_draft(name="kpi.seattle-rain", version=1)
            with pytest.raises(operations.NoContractError):
                operations.retire_contract(name="kpi.nothing", version=1)
            operations.activate_contract(name="kpi.seattle-rain", version=1)  # it is: nothing to do


class TestTheRest:
    """Policies, tenants, plans, subscriptions, environments."""

    def test_a_policy_is_laid_down_changed_and_lifted(self, operator: Client, look: Look) -> None:
        policy = {"policy_id": "none", "active": "on", "job_types": "sql.*", "reason_code": "no", "reason": "Not now"}
        assert operator.post("/admin/governance/policy/add/", policy).status_code == 302
        row = only(look("SELECT * FROM policies WHERE policy_id = 'none'"))
        assert (row["job_types"], row["tenants"], row["except_tenants"]) == (["sql.*"], None, [])
        page = "/admin/governance/policy/none/"
        assert operator.post(f"{page}change/", {**policy, "except_tenants": "acme", "active": ""}).status_code == 302
        changed = only(look("SELECT * FROM policies WHERE policy_id = 'none'"))
        assert (changed["active"], changed["except_tenants"]) == (False, ["acme"])
        assert changed["changed_at"] > row["changed_at"]
        assert operator.post(f"{page}delete/", {"post": "yes"}).status_code == 302
        assert look("SELECT 1 FROM policies WHERE policy_id = 'none'") == []

    def test_a_tenant_is_suspended_and_keeps_its_region(self, operator: Client, look: Look) -> None:
        before = only(look("SELECT * FROM tenants WHERE tenant_id = 'acme'"))
        given = {"name": "Acme", "state": "suspended", "storage_url": before["storage_url"], "region": "moon"}
        assert operator.post("/admin/tenancy/tenant/acme/change/", given).status_code == 302
        after = only(look("SELECT * FROM tenants WHERE tenant_id = 'acme'"))
        assert (after["state"], after["region"]) == ("suspended", "local")

    def test_a_tenants_storage_is_its_own(self, operator: Client, look: Look) -> None:
        acme = only(look("SELECT * FROM tenants WHERE tenant_id = 'acme'"))["storage_url"]
        tenant = {"tenant_id": "acme-labs", "name": "Labs", "region": "local", "state": "active"}
        page = "/admin/tenancy/tenant/add/"
        for url, said in (
            (f"{acme}/labs", "within the storage of tenant “acme”"),
            ("labs", "An fsspec URL would be right"),
            ("s3://key:secret@bucket/labs", "No secrets here"),
        ):
            assert said in errors(operator.post(page, {**tenant, "storage_url": url}))
        assert operator.post(page, {**tenant, "storage_url": f"{acme}-labs"}).status_code == 302

    def test_a_plan_and_who_is_on_it(self, operator: Client, look: Look) -> None:
        plan = {
            "plan_id": "tiny",
            "job_types": "ops.*",
            "weight": 0,
            "max_running": 1,
            "backlog_cap": 10,
            "audit_debt": 10,
        }
        assert "a tenant without a share is never served" in errors(
            operator.post("/admin/subscription/plan/add/", plan)
        )
        fast = operator.post("/admin/subscription/plan/add/", {**plan, "weight": 1, "rate": "fast"})
        assert "rate: '5/s', '100/m', '1000/h' or '100/m burst 20' would be right" in html.unescape(errors(fast))
        assert list(fast.context["adminform"].form.errors) == ["rate"]
        assert operator.post("/admin/subscription/plan/add/", {**plan, "weight": 1, "rate": "5/s"}).status_code == 302
        assert only(look("SELECT rate FROM plans WHERE plan_id = 'tiny'"))["rate"] == "5/s"
        change = "/admin/subscription/plan/tiny/change/"
        assert operator.post(change, {**plan, "weight": 1, "rate": ""}).status_code == 302
        assert only(look("SELECT rate FROM plans WHERE plan_id = 'tiny'"))["rate"] is None
        given = {"plan": "tiny", "state": "active", "valid_until_0": "", "valid_until_1": ""}
        assert operator.post("/admin/subscription/subscription/globex/change/", given).status_code == 302
        assert only(look("SELECT plan_id FROM subscriptions WHERE tenant_id = 'globex'"))["plan_id"] == "tiny"
        page = operator.post("/admin/subscription/plan/tiny/delete/", {"post": "yes"})
        assert page.status_code == 200  # Django's page names who is still on it
        assert look("SELECT 1 FROM plans WHERE plan_id = 'tiny'")

    def test_an_environment_is_paused_with_a_reason(self, operator: Client, look: Look) -> None:
        page = "/admin/jobs/environment/batch/change/"
        given = {"region": "local", "slots": "2", "reserved_slots": "3", "queue": "mine"}
        assert "At most 2 would be right" in errors(operator.post(page, given))
        given |= {"reserved_slots": "1", "paused_until_0": "2999-01-01", "paused_until_1": "00:00:00"}
        assert "Say why" in errors(operator.post(page, given))
        assert operator.post(page, {**given, "pause_reason": "upgrade"}).status_code == 302
        row = only(look("SELECT * FROM environments WHERE name = 'batch'"))
        assert (row["slots"], row["reserved_slots"], row["queue"], row["pause_reason"]) == (
            2,
            1,
            "ops.batch",
            "upgrade",
        )
        assert "paused: upgrade" in operator.get("/admin/").content.decode()

    def test_a_beat_entry_cannot_run_a_job(self, operator: Client, db: None) -> None:
        entry = {"name": "mine", "task": "ops.noop", "args": "{}", "kwargs": "{}", "enabled": "on"}
        said = errors(operator.post("/admin/django_celery_beat/periodictask/add/", entry))
        assert "ops.control.heartbeat" in said
        assert "a list such as []" in said

    def test_what_people_change_is_written_down(self, operator: Client, look: Look) -> None:
        operator.post(f"{CONTRACTS}add/", DRAFT)
        row = only(look("SELECT object_repr, change_message FROM django_admin_log"))
        assert row["object_repr"] == "kpi.test@1"
        assert json.loads(row["change_message"]) == [{"added": {}}]

"""A refused submission: kept, rejected, with its reason, decision, event and evidence."""

from __future__ import annotations

import json
from typing import Any

import pytest

from apps.jobs.lifecycle import State
from tests.integration.conftest import Change, Control, Look
from tests.support.rows import job
from tests.support.work import admitted, claimed, only, submitted, worker

# what, the type, what is asked for, what is changed before, the code, who refused, whether it clears by itself
REFUSALS = [
    ("no contract where one is needed", "kpi.refresh", {}, None, "contract_required", "governance", False),
    (
        "a contract nobody knows",
        "kpi.refresh",
        {"contract": "kpi.none@1"},
        None,
        "contract_unknown",
        "governance",
        False,
    ),
    (
        "a version nobody knows",
        "kpi.refresh",
        {"contract": "kpi.seattle-rain@2"},
        None,
        "contract_unknown",
        "governance",
        False,
    ),
    (
        "a version misspelt",
        "kpi.refresh",
        {"contract": "kpi.seattle-rain@01"},
        None,
        "contract_unknown",
        "governance",
        False,
    ),
    ("no version", "kpi.refresh", {"contract": "kpi.seattle-rain"}, None, "contract_unknown", "governance", False),
    (
        "another tenant's contract",
        "kpi.refresh",
        {"contract": "kpi.seattle-rain@1"},
        "UPDATE contracts SET tenants = '{globex}'",
        "contract_unknown",
        "governance",
        False,
    ),
    (
        "a retired contract",
        "kpi.refresh",
        {"contract": "kpi.seattle-rain@1"},
        "UPDATE contracts SET state = 'retired'",
        "contract_not_active",
        "governance",
        False,
    ),
    (
        "a contract kept in another region",
        "kpi.refresh",
        {"contract": "kpi.seattle-rain@1"},
        """UPDATE contracts SET obligations = '{"region": "eu"}'""",
        "region_forbidden",
        "governance",
        False,
    ),
    ("a prohibition", "ops.crash", {}, "UPDATE policies SET active = true", "drills_only", "governance", False),
    (
        "a suspended tenant",
        "ops.noop",
        {},
        "UPDATE tenants SET state = 'suspended' WHERE tenant_id = 'acme'",
        "tenant_not_active",
        "governance",
        False,
    ),
    (
        "a plan without the type",
        "ops.noop",
        {},
        "UPDATE plans SET job_types = '{kpi.*}' WHERE plan_id = 'gold'",
        "not_entitled",
        "subscription",
        False,
    ),
    (
        "an ended subscription",
        "ops.noop",
        {},
        "UPDATE subscriptions SET state = 'ended' WHERE tenant_id = 'acme'",
        "subscription_ended",
        "subscription",
        False,
    ),
    (
        "an expired subscription",
        "ops.noop",
        {},
        "UPDATE subscriptions SET valid_until = now() - interval '1 second' WHERE tenant_id = 'acme'",
        "subscription_ended",
        "subscription",
        False,
    ),
    (
        "no subscription",
        "ops.noop",
        {},
        "DELETE FROM subscriptions WHERE tenant_id = 'acme'",
        "no_subscription",
        "subscription",
        False,
    ),
    (
        "a full backlog",
        "ops.noop",
        {},
        "UPDATE plans SET backlog_cap = 0 WHERE plan_id = 'gold'",
        "backlog_full",
        "subscription",
        True,
    ),
    (
        "the day's jobs spent",
        "ops.noop",
        {},
        "UPDATE plans SET jobs_per_day = 0 WHERE plan_id = 'gold'",
        "jobs_per_day",
        "subscription",
        True,
    ),
]


class TestARefusedJob:
    """The refused job is kept, rejected, and its evidence says by whom and why."""

    @pytest.mark.parametrize(
        ("what", "job_type", "asked", "before", "code", "point", "clears"), REFUSALS, ids=[each[0] for each in REFUSALS]
    )
    def test_is_kept_with_its_reason_decision_event_and_evidence(
        self,
        look: Look,
        change: Change,
        what: str,
        job_type: str,
        asked: dict[str, Any],
        before: str | None,
        code: str,
        point: str,
        clears: bool,
    ) -> None:
        if before is not None:
            assert change(before) == 1
        made = submitted(job_type, **asked)
        assert (made.status, made.refusal and made.refusal.code) == (State.REJECTED, code)
        assert made.refusal is not None
        assert made.refusal.point == point
        assert made.refusal.reason
        assert (made.refusal.retry_after_s is not None) is clears

        row = job(look, made.job_id)
        assert (row["status"], row["outcome"], row["reason_code"]) == ("rejected", "rejected", code)
        assert row["finished_at"] is not None
        assert row["queued_at"] is None
        assert row["error"]["message"] == made.refusal.reason

        decision = only(look("SELECT * FROM decisions WHERE decision_id = %s", made.refusal.decision_id))
        assert (decision["job_id"], decision["point"], decision["tenant_id"]) == (made.job_id, point, "acme")
        assert decision["allowed"] is clears, "a limit is counted after the plan has said yes"

        event = only(look("SELECT * FROM events"))
        assert (event["type"], event["subject"], event["data"]["reason_code"]) == (
            "operations.job.rejected",
            str(made.job_id),
            code,
        )
        record = only(look("SELECT * FROM evidence_records"))
        assert (record["record_id"], record["predicate"]) == (row["evidence_id"], "refusal")
        said = json.loads(bytes(record["payload"]))["predicate"]
        assert said["reason_code"] == code
        assert str(made.refusal.decision_id) in {each["decision_id"] for each in said["decisions"].values()}

    def test_learns_nothing_of_another_tenants_contract(self, look: Look, change: Change) -> None:
        change("UPDATE contracts SET tenants = '{globex}'")
        row = job(look, submitted("kpi.refresh", contract="kpi.seattle-rain@1").job_id)
        assert row["contract_digest"] is None
        assert row["obligations"] == {}

    def test_is_not_asked_of_subscription_once_governance_refused(self, look: Look, change: Change) -> None:
        change("UPDATE tenants SET state = 'suspended' WHERE tenant_id = 'acme'")
        change("DELETE FROM subscriptions WHERE tenant_id = 'acme'")
        submitted()
        assert [row["point"] for row in look("SELECT point FROM decisions")] == ["governance"]

    def test_is_not_counted_into_the_day(self, look: Look, change: Change) -> None:
        change("UPDATE plans SET jobs_per_day = 2 WHERE plan_id = 'gold'")
        assert [submitted("kpi.refresh").status for _ in range(4)] == [State.REJECTED] * 4
        assert [submitted().status for _ in range(3)] == [State.QUEUED, State.QUEUED, State.REJECTED]

    def test_for_a_full_backlog_is_admitted_once_the_backlog_shrinks(
        self, look: Look, change: Change, control: Control
    ) -> None:
        change("UPDATE plans SET backlog_cap = 1 WHERE plan_id = 'gold'")
        first = admitted()
        assert submitted().status is State.REJECTED
        with control():
            claimed(first, worker_id=worker())
        assert submitted().status is State.QUEUED

    def test_is_told_how_long_the_day_still_lasts(self, look: Look, change: Change) -> None:
        change("UPDATE plans SET jobs_per_day = 0 WHERE plan_id = 'gold'")
        left = only(look("SELECT extract(epoch FROM date_trunc('day', now()) + interval '1 day' - now()) AS s"))["s"]
        refusal = submitted().refusal
        assert refusal is not None
        assert refusal.retry_after_s == pytest.approx(float(left), abs=5)

    def test_of_one_tenant_leaves_the_others_limits_alone(self, look: Look, change: Change) -> None:
        change("UPDATE plans SET backlog_cap = 1")
        admitted(tenant="acme")
        assert submitted(tenant="acme").status is State.REJECTED
        assert submitted(tenant="globex").status is State.QUEUED

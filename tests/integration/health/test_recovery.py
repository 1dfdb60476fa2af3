"""Recovery: what policies call for, what was done, and whether it helped."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from apps.core.database import clock
from apps.health.operations import orders
from apps.jobs import liveness
from apps.jobs.lifecycle import Priority
from apps.jobs.operations import pauses, shedding
from apps.jobs.pausing import Target
from tests.integration.conftest import Control, Look
from tests.integration.health.conftest import Process, Watch, beat
from tests.support.api import Module, said
from tests.support.receiver import Receiver
from tests.support.work import admitted, claimed

Read = Callable[[str], Any]
Whole = dict[str, UUID]
SECRET = "whsec_c2VjcmV0c2VjcmV0c2VjcmV0"


class TestAReceipt:
    """Condition, action, proof."""

    def test_a_dead_workers_jobs_are_brought_back_and_the_receipt_proves_it(
        self, whole: Whole, processes: Process, control: Control, watch: Watch, receipts: Any, told: Read, look: Look
    ) -> None:
        job_id = admitted("ops.sleep", params={"seconds": 1})
        with control():
            claimed(job_id, worker_id=whole["worker-default"])
        processes.die(whole["worker-default"])
        watch(lambda: any(each["outcome"] != "running" for each in receipts()))
        (receipt,) = receipts()
        assert (receipt["policy"], receipt["action"], receipt["outcome"]) == ("reclaim-jobs", "reclaim_jobs", "helped")
        assert (receipt["condition"]["status"], receipt["condition"]["reason"]) == ("down", "lost")
        assert receipt["facts"] == {"brought_back": 1, "by_this_action": 1, "still_held": 0, "helped": True}
        assert look("SELECT ending FROM attempts WHERE job_id = %s", job_id) == [{"ending": "worker_lost"}]
        (event,) = told("recovery")
        assert event["receipt_id"] == str(receipt["receipt_id"])
        assert (event["outcome"], event["proof"]["brought_back"]) == ("helped", 1)

    def test_it_waits_for_the_component_to_be_well_and_says_so_if_it_is_not(
        self, acme: Module, whole: Whole, watch: Watch, policies: Any, receipts: Any, receiver: Receiver, superuser: Any
    ) -> None:
        policies(
            "call",
            pattern="data-acquisition/feed*",
            statuses=["down"],
            action="call_webhook",
            params={"url": receiver.url},
        )
        for feed in ("feed-1", "feed-2"):
            beat(acme, feed, signal="fail", terms={"failure_threshold": 1})
        watch(lambda: len(receipts()) == 2 and all(each["acted_at"] for each in receipts()))
        assert {each["outcome"] for each in receipts()} == {"running"}
        assert {told.event["component"] for told in receiver.told} == {"feed-1", "feed-2"}
        beat(acme, "feed-1")
        superuser.execute(b"UPDATE recovery_receipts SET prove_by = now()")
        watch()
        assert {each["component"]: each["outcome"] for each in receipts()} == {
            "feed-1": "helped",
            "feed-2": "did_not_help",
        }
        assert {each["tenant_id"] for each in receipts()} == {"acme"}

    def test_an_action_that_cannot_be_done_has_failed_by_its_code(
        self, acme: Module, whole: Whole, watch: Watch, policies: Any, receipts: Any
    ) -> None:
        for policy_id, action in (("call", "call_webhook"), ("restart", "restart_pool"), ("what", "unheard_of")):
            url = {"url": "http://10.0.0.1/"}
            policies(policy_id, pattern="*/feed-x", statuses=["down"], action=action, params=url)
        beat(acme, "feed-x", signal="fail", terms={"failure_threshold": 1})
        watch(lambda: len(receipts()) == 3 and all(each["settled_at"] for each in receipts()))
        assert {each["policy"]: (each["outcome"], each["facts"]["error"]) for each in receipts()} == {
            "call": ("failed", "address_forbidden"),
            "restart": ("failed", "no_live_worker"),
            "what": ("failed", "unknown_action"),
        }

    def test_a_call_is_signed_by_the_secret_that_its_receiver_knows(
        self,
        acme: Module,
        whole: Whole,
        watch: Watch,
        policies: Any,
        receipts: Any,
        receiver: Receiver,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        kept = tmp_path / "secrets.json"
        kept.write_text(json.dumps({"acme": {"hook": SECRET}}))
        monkeypatch.setenv("OPS_SECRETS", str(kept))
        for name in ("hook", "lost"):
            params = {"url": receiver.url, "secret": name}
            policies(name, pattern="*/feed", statuses=["down"], action="call_webhook", params=params)
        beat(acme, "feed", signal="fail", terms={"failure_threshold": 1})
        watch(lambda: len(receipts()) == 2 and all(each["acted_at"] or each["settled_at"] for each in receipts()))
        (call,) = receiver.told
        assert call.signed_by(SECRET)
        facts = {each["policy"]: each["facts"] for each in receipts()}
        assert facts["lost"] == {"error": "secret_missing"}

    def test_one_whose_watcher_was_killed_in_the_middle_says_so(
        self, acme: Module, whole: Whole, watch: Watch, policies: Any, receipts: Any, receiver: Receiver, superuser: Any
    ) -> None:
        policies("call", pattern="*/feed", statuses=["down"], action="call_webhook", params={"url": receiver.url})
        beat(acme, "feed", signal="fail", terms={"failure_threshold": 1})
        watch(lambda: receipts() and receipts()[0]["acted_at"])
        superuser.execute(b"UPDATE recovery_receipts SET acted_at = NULL, begun_at = begun_at - interval '2 minutes'")
        watch()
        assert (receipts()[0]["outcome"], receipts()[0]["facts"]) == ("failed", {"error": "interrupted"})


class TestBudgets:
    """Again and again is not repaired."""

    def test_over_budget_a_person_is_told_once_and_nothing_more_is_done(
        self, acme: Module, whole: Whole, watch: Watch, policies: Any, receipts: Any, receiver: Receiver, told: Read
    ) -> None:
        policies(
            "call",
            pattern="*/feed",
            statuses=["down"],
            action="call_webhook",
            params={"url": receiver.url},
            budget_per_hour=2,
            cooldown_s=0,
        )
        for _ in range(5):
            beat(acme, "feed", signal="fail", terms={"failure_threshold": 1, "success_threshold": 1})
            watch()
            watch(lambda: all(each["acted_at"] or each["settled_at"] for each in receipts()))
            for _ in range(40):
                if beat(acme, "feed")["status"] == "up":
                    break
            watch()
        assert [each["outcome"] for each in receipts()] == ["helped", "helped", "exhausted"]
        (event,) = told("recovery_exhausted")
        assert (event["policy"], event["budget_per_hour"], event["component"]) == ("call", 2, "feed")
        assert len(receiver.told) == 2

    def test_what_is_muted_is_not_repaired(
        self, acme: Module, whole: Whole, processes: Process, watch: Watch, policies: Any, receipts: Any
    ) -> None:
        policies("call", pattern="*/feed", statuses=["down"], action="call_webhook")
        processes.die(whole["relay"])
        watch()
        terms = {"failure_threshold": 1, "depends_on": ["operations/relay"]}
        assert beat(acme, "feed", signal="fail", terms=terms)["muted_by"] == ["operations/relay"]
        watch()
        assert receipts() == []


class TestActions:
    """What else can be done."""

    def test_a_restart_is_an_order_that_each_worker_of_the_pool_obeys_once(
        self, whole: Whole, processes: Process, control: Control
    ) -> None:
        other = processes.begin("worker", environment="batch")
        with control():
            assert orders.restart_pool(pool="default", reason="stalled", by="test") == 1
            assert orders.restart_pool(pool="default", reason="stalled", by="test") == 0, "one open order is enough"
            assert orders.obey(process_id=other) is None
            assert orders.obey(process_id=whole["worker-default"]) == "stalled"
            assert orders.obey(process_id=whole["worker-default"]) is None

    def test_bulk_work_is_shed_until_the_component_is_well(
        self, acme: Module, whole: Whole, watch: Watch, policies: Any, receipts: Any, control: Control
    ) -> None:
        policies("shed", pattern="*/feed", statuses=["down"], action="shed_bulk")
        beat(acme, "feed", signal="fail", terms={"failure_threshold": 1})
        watch(lambda: receipts() and receipts()[0]["acted_at"])
        watch()
        with control():
            assert shedding.in_force()
        bulk, low = (admitted(priority=priority) for priority in (Priority.BULK, Priority.LOW))
        for job_id, gates in ((bulk, ["bulk_shed"]), (low, [])):
            told = said(acme.get(f"/operations/jobs/{job_id}/why"))["gates"]
            assert [each["gate"] for each in told if each["gate"] == "bulk_shed"] == gates
        beat(acme, "feed")
        watch()
        with control():
            assert not shedding.in_force()

    def test_an_environment_is_paused_and_the_pause_ends_by_itself(
        self, acme: Module, whole: Whole, watch: Watch, policies: Any, receipts: Any, look: Look
    ) -> None:
        params = {"pool": "batch", "minutes": 5}
        policies("pause", pattern="*/feed", statuses=["down"], action="pause_environment", params=params)
        beat(acme, "feed", signal="fail", terms={"failure_threshold": 1})
        watch(lambda: receipts() and receipts()[0]["acted_at"])
        (pause,) = look("SELECT *, until - started_at AS length FROM pauses")
        assert (pause["environment_id"], pause["tenant_id"], round(pause["length"].total_seconds())) == (
            "batch",
            None,
            300,
        )

    def test_waiting_jobs_are_rerouted_once_their_decisions_hold_no_more(
        self, acme: Module, whole: Whole, watch: Watch, policies: Any, receipts: Any, look: Look, superuser: Any
    ) -> None:
        fresh, old, keyed = admitted(), admitted(), admitted(concurrency_key="one")
        superuser.execute(
            b"UPDATE decisions SET decided_at = decided_at - interval '1 day' WHERE job_id = ANY (%s)", [[old, keyed]]
        )
        params = {"pool": "default", "to": "batch"}
        policies("reroute", pattern="*/feed", statuses=["down"], action="reroute_environment", params=params)
        beat(acme, "feed", signal="fail", terms={"failure_threshold": 1})
        watch(lambda: receipts() and receipts()[0]["acted_at"])
        assert receipts()[0]["facts"] == {"rerouted": 1}
        rows = {row["job_id"]: row["environment_id"] for row in look("SELECT job_id, environment_id FROM jobs")}
        assert rows == {fresh: "default", old: "batch", keyed: "default"}
        events = look("SELECT subject, data FROM events WHERE type = 'operations.job.rerouted'")
        assert [(each["subject"], each["data"]["environment"]) for each in events] == [(str(old), "batch")]

    def test_the_dead_of_one_pool_are_not_anothers(self, whole: Whole, processes: Process, control: Control) -> None:
        with control():
            at = clock()
            assert liveness.brought_back(environment="batch", since=at) == (0, 0)


class TestActionsThatDoNoHarm:
    """What an operator said stands."""

    @pytest.mark.parametrize("until", [None, "2999-01-01T00:00:00+00:00"])
    def test_a_pause_of_an_operators_is_not_cut_short(
        self, acme: Module, whole: Whole, control: Control, watch: Watch, policies: Any, receipts: Any, look: Look,
        until: str | None,
    ) -> None:  # fmt: skip
        ends = datetime.fromisoformat(until) if until else None
        with control():
            pauses.pause(Target("default", None, None), reason="maintenance", until=ends, by="ada")
        policies("pause", pattern="*/feed", statuses=["down"], action="pause_environment", params={"pool": "default"})
        beat(acme, "feed", signal="fail", terms={"failure_threshold": 1})
        watch(lambda: receipts() and receipts()[0]["acted_at"])
        assert receipts()[0]["outcome"] == "running"
        (pause,) = look("SELECT until, paused_by FROM pauses WHERE ended_at IS NULL")
        assert (pause["until"], pause["paused_by"]) == (ends, "ada")

    @pytest.mark.parametrize("hold_s", ["soon", "inf", -1])
    def test_a_time_that_is_none_fails_the_action_and_not_the_watcher(
        self, acme: Module, whole: Whole, control: Control, watch: Watch, policies: Any, receipts: Any, hold_s: object
    ) -> None:
        policies("shed", pattern="*/feed", statuses=["down"], action="shed_bulk", params={"hold_s": hold_s})
        beat(acme, "feed", signal="fail", terms={"failure_threshold": 1})
        watch(lambda: receipts() and receipts()[0]["settled_at"])
        watch()
        assert (receipts()[0]["outcome"], receipts()[0]["facts"]) == ("failed", {"error": "bad_hold_s"})

"""Recovery and probes: what policies call for, what was done, whether it helped; and nobody keeps the watcher."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from io import StringIO
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from apps.health.operations import configure, orders
from apps.health.operations.standing import now
from apps.jobs import liveness
from apps.jobs.lifecycle import Priority
from apps.jobs.operations import pauses, shedding
from apps.jobs.pausing import Target
from apps.tenancy.context import operator_reading
from tests.integration.conftest import Control, Look
from tests.integration.health.conftest import Process, Watch, beat
from tests.support.api import Module, said
from tests.support.receiver import Receiver, receiving
from tests.support.work import admitted, claimed
from workers.watcher import Watcher

Read = Callable[[str], Any]
Whole = dict[str, UUID]
RECEIPTS = """SELECT r.*, c.component FROM recovery_receipts r JOIN health_status c USING (component_id)
               ORDER BY r.receipt_id"""


@pytest.fixture
def receipts(look: Look) -> Callable[[], list[dict[str, Any]]]:
    """Return a reader of the receipts, oldest first."""
    return lambda: look(RECEIPTS)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver that takes everything."""
    with receiving() as made:
        yield made


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
            at = now()
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


class TestRehearsal:
    """What would be done, and nothing is."""

    def test_a_policy_that_only_rehearses_leaves_receipts_and_does_nothing(
        self, acme: Module, whole: Whole, watch: Watch, policies: Any, receipts: Any, receiver: Receiver
    ) -> None:
        policies(
            "call",
            pattern="*/feed",
            statuses=["down"],
            action="call_webhook",
            params={"url": receiver.url},
            dry_run=True,
            cooldown_s=60,
        )
        beat(acme, "feed", signal="fail", terms={"failure_threshold": 1})
        for _ in range(3):
            watch()
        (receipt,) = receipts()
        assert (receipt["outcome"], receipt["dry_run"], receipt["facts"]["would"]) == (
            "rehearsed",
            True,
            "call_webhook",
        )
        assert receiver.told == []

    def test_what_is_only_rehearsed_is_never_a_persons_turn(
        self, acme: Module, whole: Whole, watch: Watch, policies: Any, receipts: Any, told: Read
    ) -> None:
        policies("call", pattern="*/feed", statuses=["down"], action="call_webhook", dry_run=True, cooldown_s=0,
                 budget_per_hour=1)  # fmt: skip
        beat(acme, "feed", signal="fail", terms={"failure_threshold": 1})
        for _ in range(3):
            watch()
        assert [each["outcome"] for each in receipts()] == ["rehearsed"]
        assert told("recovery_exhausted") == []

    def test_the_command_says_what_it_would_do_and_does_it_when_told(
        self, whole: Whole, processes: Process, watch: Watch, control: Control, receipts: Any, superuser: Any
    ) -> None:
        superuser.execute(b"UPDATE recovery_policies SET enabled = false")
        try:
            processes.die(whole["worker-default"])
            watch()
            said_so = StringIO()
            with control():
                call_command("recovery", "--dry-run", "--policy", "reclaim-jobs", stdout=said_so)
            assert said_so.getvalue() == "reclaim-jobs: reclaim_jobs on operations/worker-default (down: lost): act\n"
            with control():
                call_command(
                    "recovery", "--policy", "reclaim-jobs", "--component", "operations/worker-default", stdout=said_so
                )
            assert [each["outcome"] for each in receipts()] == ["rehearsed", "helped"]
            with control(), pytest.raises(CommandError, match="no policy"):
                call_command("recovery", "--dry-run", "--policy", "nothing")
        finally:
            superuser.execute(b"UPDATE recovery_policies SET enabled = true")


class TestProbes:
    """What the plane asks itself, from threads that keep nobody waiting."""

    def declare(self, kind: str, probe: dict[str, Any], *, name: str = "asked", tenant: str | None = None) -> None:
        values = {"kind": kind, "probe": probe, "interval_s": 60.0, "failure_threshold": 1}
        with operator_reading():
            configure.declare(tenant_id=tenant, module="outside", component=name, values=values, by="test")

    def settled(self, look: Look, name: str = "asked") -> dict[str, Any] | None:
        (row,) = look("SELECT * FROM health_status WHERE component = %s", name)
        return row if row["last_check"] else None

    def test_http_is_well_by_its_status(self, watch: Watch, look: Look, receiver: Receiver, superuser: Any) -> None:
        self.declare("http", {"url": receiver.url})
        watch(lambda: self.settled(look))
        found = self.settled(look)
        assert found is not None
        assert (found["status"], found["reason"], found["checks"]) == ("up", "answers", 1)
        assert found["latency"] > 0
        assert found["due_at"] is None, "what the plane asks itself is not late: the plane is"
        receiver.answer = (503, {}, b"")
        superuser.execute(b"UPDATE health_status SET probe_due_at = now() WHERE component = 'asked'")
        watch(lambda: (self.settled(look) or {})["status"] == "down")
        assert (self.settled(look) or {})["reason"] == "status_503"

    def test_tcp_is_well_when_somebody_listens(self, watch: Watch, look: Look) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            self.declare("tcp", {"host": "127.0.0.1", "port": port})
            watch(lambda: self.settled(look))
        self.declare("tcp", {"host": "127.0.0.1", "port": port}, name="gone")
        watch(lambda: self.settled(look, "gone"))
        assert (self.settled(look) or {})["status"] == "up"
        gone = self.settled(look, "gone") or {}
        assert (gone["status"], gone["reason"]) == ("down", "unreachable")

    def test_sql_is_well_when_it_answers_and_its_address_stands_in_no_row(
        self, watch: Watch, look: Look, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        secrets = tmp_path / "secrets.json"
        secrets.write_text(json.dumps({"*": {"warehouse": settings.ENVIRONMENT.database_url}}))
        monkeypatch.setenv("OPS_SECRETS", str(secrets))
        self.declare("sql", {"source": "warehouse", "query": "SELECT 1"})
        self.declare("sql", {"source": "warehouse", "query": "SELECT * FROM nowhere"}, name="wrong")
        self.declare("sql", {"source": "unheard", "query": "SELECT 1"}, name="nameless")
        for name in ("asked", "wrong", "nameless"):
            watch(lambda name=name: self.settled(look, name))  # type: ignore[misc]
        found = {name: (self.settled(look, name) or {})["reason"] for name in ("asked", "wrong", "nameless")}
        assert found == {"asked": "answers", "wrong": "sql_42p01", "nameless": "secret_missing"}

    def test_a_place_that_nobody_granted_is_not_called(self, watch: Watch, look: Look, receiver: Receiver) -> None:
        self.declare("http", {"url": receiver.url}, tenant="globex")
        watch(lambda: self.settled(look))
        assert (self.settled(look) or {})["reason"] == "address_forbidden"
        assert receiver.told == []

    def test_hanging_hosts_keep_nobody_waiting(self, whole: Whole, watch: Watch, watcher: Watcher) -> None:
        go_on = threading.Event()
        with receiving(lambda _: (204 + bool(go_on.wait(30)), {}, b"")) as hanging:
            try:
                for number in range(12):
                    self.declare("http", {"url": hanging.url}, name=f"hanging-{number}")
                watch(lambda: hanging.open_now >= 8)
                took = []
                for _ in range(5):
                    began = time.monotonic()
                    watch()
                    took.append(time.monotonic() - began)
                assert sorted(took)[2] < 2, "each look goes on while every thread hangs"
                assert len(watcher._probes) == 8
            finally:
                go_on.set()

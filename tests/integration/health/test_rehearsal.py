"""What is only rehearsed does nothing; what is asked from outside keeps nobody waiting."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from apps.health.operations import configure
from apps.tenancy.context import operator_reading
from tests.integration.conftest import Control, Look
from tests.integration.health.conftest import Process, Watch, beat
from tests.support.api import Module
from tests.support.receiver import Receiver, receiving
from workers.watcher import Watcher

Read = Callable[[str], Any]
Whole = dict[str, UUID]


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

"""The watcher looks: who should be there, who is, whose time is up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from apps.core import metrics
from tests.integration.conftest import Look
from tests.integration.health.conftest import PARTS, Process, Watch, beat
from tests.support.api import Module
from workers.watcher import Watcher

Read = Callable[[str], Any]
LATE = b"UPDATE health_canaries SET enqueued_at = enqueued_at - interval '11 s' WHERE settled_at IS NULL"
Whole = dict[str, UUID]


class TestTheInventory:
    """What is deployed is expected; its silence is an alarm."""

    def test_every_part_is_registered_before_anybody_has_heard_of_it(self, watch: Watch, look: Look) -> None:
        watch()
        rows = look("SELECT component, status, expected FROM health_status WHERE tenant_id IS NULL ORDER BY 1")
        assert {row["component"] for row in rows} == {*PARTS, "database", "broker"}
        assert all(row["expected"] for row in rows)

    def test_a_part_that_is_never_heard_of_is_an_alarm_when_its_grace_is_over(
        self, watch: Watch, older: Any, flips: Read, told: Read
    ) -> None:
        watch()
        assert flips("relay") == []
        older("relay", seconds=61)
        watch()
        assert flips("relay") == [("down", "never_seen")]
        assert [(each["component"], each["reason"]) for each in told("degraded")] == [("relay", "never_seen")]

    def test_a_part_that_is_none_any_more_is_forgotten_and_comes_back(
        self, watch: Watch, watcher: Watcher, whole: Whole, look: Look
    ) -> None:
        from apps.health.operations.inventory import Inventory  # noqa: PLC0415 - beside its use

        gone = "SELECT deleted_at IS NOT NULL AS gone FROM health_status WHERE component = 'relay'"
        for parts, is_gone in ((("web",), True), (PARTS, False)):
            watcher._consists_of = lambda parts=parts: Inventory(processes=parts, queues=[])  # type: ignore[misc]
            watcher._done_at.clear()
            watch()
            assert look(gone) == [{"gone": is_gone}]


class TestProcesses:
    """The plane's own parts say by their leases that they live."""

    def test_one_that_is_lost_is_down_and_up_again_when_another_has_beaten_twice(
        self, whole: Whole, processes: Process, watch: Watch, component: Read, flips: Read, told: Read
    ) -> None:
        processes.die(whole["worker-default"])
        watch()
        assert flips("worker-default") == [("up", "beats"), ("down", "lost")]
        (event,) = told("degraded")
        assert (event["status"], event["previous"], event["reason"]) == ("down", "up", "lost")
        other = processes.begin("worker", environment="default", pid=2)
        watch()
        assert component("worker-default")["status"] == "down", "once is not enough"
        processes.beat(other)
        watch()
        assert component("worker-default")["status"] == "up"
        assert [each["status"] for each in told("recovered")] == ["up"]

    def test_the_flip_is_dated_to_the_end_of_the_lease(
        self, whole: Whole, processes: Process, watch: Watch, look: Look, older: Any
    ) -> None:
        older("relay", seconds=30)
        processes.die(whole["relay"])
        watch()
        (flip,) = look(
            "SELECT f.at = p.lease_until AS dated FROM health_flips f, processes p"
            " WHERE f.reason = 'lost' AND p.process_id = %s",
            whole["relay"],
        )
        assert flip["dated"]

    def test_one_of_two_that_is_lost_degrades(
        self, whole: Whole, processes: Process, watch: Watch, component: Read, flips: Read, superuser: Any
    ) -> None:
        second = processes.begin("worker", environment="default", pid=2)
        superuser.execute(b"UPDATE processes SET started_at = started_at - interval '1 minute'")
        watch()
        processes.die(whole["worker-default"])
        processes.beat(second)
        watch()
        assert flips("worker-default")[-1] == ("degraded", "lost")
        processes.beat(second)
        watch()
        processes.beat(second)
        watch()
        assert component("worker-default")["status"] == "up"

    def test_one_that_says_goodbye_is_no_alarm_and_has_its_grace_to_come_back(
        self, whole: Whole, processes: Process, watch: Watch, flips: Read, told: Read, older: Any
    ) -> None:
        processes.leave(whole["relay"])
        watch()
        assert flips("relay")[-1] == ("new", "stopped")
        assert told("degraded") == []
        older("relay", seconds=61)
        watch()
        assert flips("relay")[-1] == ("down", "never_seen"), "deployed and silent"

    def test_one_that_goes_on_under_a_new_row_was_never_lost(
        self, whole: Whole, processes: Process, watch: Watch, flips: Read
    ) -> None:
        processes.die(whole["relay"])
        processes.begin("relay", pid=1)
        watch()
        assert flips("relay") == [("up", "beats")]

    def test_the_age_of_each_heartbeat_is_measured(self, whole: Whole, watch: Watch, watcher: Watcher) -> None:
        def seen() -> float:
            lines = metrics.exposition().decode().splitlines()
            counts = [line for line in lines if line.startswith("operations_heartbeat_age_seconds_count")]
            return sum(float(line.rsplit(" ", 1)[1]) for line in counts)

        before = seen()
        watcher._done_at.clear()
        watch()
        assert seen() - before == len(PARTS)
        assert 'operations_components{status="up"}' in metrics.exposition().decode()


class TestDeadlines:
    """Modules that fall silent."""

    def test_a_silent_module_is_late_and_then_down_dated_to_its_deadlines(
        self, acme: Module, whole: Whole, watch: Watch, older: Any, look: Look, flips: Read, told: Read
    ) -> None:
        beat(acme, "feed", terms={"interval_s": 60, "grace_s": 30})
        older("feed", seconds=70)
        watch()
        assert flips("feed") == [("up", "heard"), ("grace", "late")]
        assert told("degraded") == []
        older("feed", seconds=30)
        watch()
        assert flips("feed")[-1] == ("down", "timeout")
        (dates,) = look(
            "SELECT f.at = c.last_check + interval '90 s' AS exact FROM health_flips f"
            " JOIN health_status c USING (component_id) WHERE f.new = 'down'"
        )
        assert dates["exact"]
        assert told("degraded")[0]["component"] == "feed"

    def test_a_pause_survives_silence_and_signals(
        self, acme: Module, whole: Whole, watch: Watch, older: Any, flips: Read, look: Look
    ) -> None:
        from apps.health.operations import configure  # noqa: PLC0415 - beside its use
        from apps.tenancy.context import operator_reading  # noqa: PLC0415

        beat(acme, "feed", terms={"interval_s": 60, "grace_s": 30})
        (row,) = look("SELECT component_id FROM health_status WHERE component = 'feed'")
        with operator_reading():
            configure.pause(component_id=row["component_id"])
        older("feed", seconds=1000)
        watch()
        for signal in ("fail", "fail", "fail", "success"):
            assert beat(acme, "feed", signal=signal)["status"] == "paused"
        with operator_reading():
            configure.resume(component_id=row["component_id"])
        watch()
        assert flips("feed") == [("up", "heard"), ("paused", "paused"), ("new", "resumed")]
        assert beat(acme, "feed")["status"] == "up"

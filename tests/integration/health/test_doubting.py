"""The watcher judges itself first, and what depends on what: distrust, muting, whom an outage hits, canaries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from apps.health.operations import canaries
from apps.health.operations.inventory import Queue
from apps.jobs.operations import deferral
from tests.integration.conftest import Control, Look
from tests.integration.health.conftest import HEALTH, PARTS, Process, Watch, beat
from tests.support.api import Module, said
from tests.support.work import admitted
from workers import canary
from workers.watcher import Watcher

Read = Callable[[str], Any]
LATE = b"UPDATE health_canaries SET enqueued_at = enqueued_at - interval '11 s' WHERE settled_at IS NULL"
Whole = dict[str, UUID]


class TestSelfDistrust:
    """Many silences at once are our own: unknown, not down, and recovery rests."""

    def test_many_processes_lost_at_once_read_unknown_and_nothing_is_repaired(
        self, whole: Whole, processes: Process, watch: Watch, look: Look, told: Read, superuser: Any
    ) -> None:
        processes.die(*whole.values())
        watch()
        rows = look("SELECT component, status FROM health_status WHERE kind = 'process'")
        assert {row["status"] for row in rows} == {"unknown"}
        assert (told("degraded"), told("distrusted")) == ([], [{"reason": "processes_late_together"}])
        assert look("SELECT 1 FROM recovery_receipts") == []
        for each in whole.values():
            processes.beat(each)
        watch()
        superuser.execute(b"UPDATE health_watch SET troubled_at = troubled_at - interval '20 s'")
        watch()
        for each in whole.values():
            processes.beat(each)
        watch()
        assert told("trusted") == [{"reason": "processes_late_together"}]
        rows = look("SELECT component, status FROM health_status WHERE kind = 'process'")
        assert {row["status"] for row in rows} == {"up"}
        assert told("degraded") == []

    def test_those_that_are_really_gone_are_down_once_the_plane_trusts_its_ears(
        self, whole: Whole, processes: Process, watch: Watch, component: Read, superuser: Any
    ) -> None:
        processes.die(*whole.values())
        watch()
        watch()
        superuser.execute(b"UPDATE health_watch SET troubled_at = troubled_at - interval '20 s'")
        watch()
        assert {component(part)["status"] for part in PARTS} == {"down"}

    def test_a_watcher_that_was_away_believes_no_silence_before_it_has_listened(
        self, acme: Module, whole: Whole, watch: Watch, older: Any, flips: Read, superuser: Any
    ) -> None:
        beat(acme, "feed", terms={"interval_s": 60, "grace_s": 30})
        older("feed", seconds=600)
        superuser.execute(b"UPDATE health_watch SET looked_at = looked_at - interval '10 minutes'")
        watch()
        assert flips("feed")[-1] == ("unknown", "distrust")
        superuser.execute(b"UPDATE health_watch SET troubled_at = troubled_at - interval '20 s'")
        watch()
        watch()
        assert flips("feed")[-1] == ("unknown", "distrust"), "its time begins anew"
        older("feed", seconds=91)
        watch()
        assert flips("feed")[-1] == ("down", "timeout")

    def test_many_modules_late_together_read_unknown(
        self, acme: Module, whole: Whole, watch: Watch, older: Any, component: Read, told: Read
    ) -> None:
        feeds = [f"feed-{number}" for number in range(4)]
        for feed in feeds:
            beat(acme, feed, terms={"interval_s": 60, "grace_s": 30})
        older(*feeds, seconds=100)
        watch()
        assert {component(feed)["status"] for feed in feeds} == {"unknown"}
        assert told("distrusted") == [{"reason": "reporters_late_together"}]
        assert {beat(acme, feed)["status"] for feed in feeds} == {"up"}

    def test_one_tenant_that_falls_silent_makes_nobody_doubt_the_plane(
        self, acme: Module, globex: Module, whole: Whole, watch: Watch, older: Any, component: Read, told: Read
    ) -> None:
        feeds = [f"feed-{number}" for number in range(9)]
        for feed in feeds:
            beat(acme, feed, terms={"interval_s": 60, "grace_s": 30})
        beat(globex, "lake")
        older(*feeds, seconds=100)
        watch()
        assert told("distrusted") == []
        assert {component(feed)["status"] for feed in feeds} == {"down"}

    def test_while_the_door_is_shut_nobody_is_called_silent(
        self, acme: Module, whole: Whole, processes: Process, watch: Watch, older: Any, component: Read
    ) -> None:
        beat(acme, "feed", terms={"interval_s": 60, "grace_s": 30})
        processes.die(whole["web"])
        watch()
        older("feed", seconds=100)
        watch()
        assert (component("web")["status"], component("feed")["status"]) == ("down", "unknown")


class TestDependencies:
    """What suffers from another's outage is muted, with the reason."""

    def test_children_of_what_is_down_are_muted_and_no_longer_than_it_is(
        self, acme: Module, whole: Whole, watch: Watch, control: Control, component: Read, told: Read, watcher: Watcher
    ) -> None:
        terms = {"depends_on": ["operations/broker"], "failure_threshold": 1}
        with control():
            deferral.open_breaker(reason="ConnectionError")
        watcher._done_at.clear()
        watch()
        assert component("broker")["status"] == "down"
        shown = beat(acme, "feed", signal="fail", terms=terms)
        assert (shown["status"], shown["muted_by"]) == ("down", ["operations/broker"])
        assert [each["muted_by"] for each in told("degraded")] == [[], ["operations/broker"]]
        assert said(acme.get(HEALTH))["status"] == "down", "for the broker's sake"
        with control():
            deferral.close_breaker()
        watcher._done_at.clear()
        watch()
        assert (component("broker")["status"], component("feed")["muted_by"]) == ("up", [])
        again = told("degraded")[-1]
        assert (again["component"], again["status"], again["muted_by"]) == ("feed", "down", [])
        watcher._done_at.clear()
        watch()
        assert len(told("degraded")) == 3, "once"

    def test_one_that_went_bad_first_is_muted_when_its_parent_follows(
        self, acme: Module, whole: Whole, watch: Watch, control: Control, component: Read, watcher: Watcher
    ) -> None:
        beat(acme, "feed", signal="fail", terms={"depends_on": ["operations/broker"]})
        assert component("feed")["muted_by"] == []
        with control():
            deferral.open_breaker(reason="ConnectionError")
        watcher._done_at.clear()
        watch()
        assert component("feed")["muted_by"] == ["operations/broker"]


class TestBlastRadius:
    """Whom an outage hits: counts for everybody, names for nobody."""

    def test_each_tenant_learns_its_own_part_and_the_whole_as_counts(
        self,
        acme: Module,
        globex: Module,
        platform: Module,
        whole: Whole,
        processes: Process,
        watch: Watch,
        told: Read,
        watcher: Watcher,
    ) -> None:
        for tenant, count in (("acme", 2), ("globex", 3)):
            for _ in range(count):
                admitted(tenant=tenant)
        processes.die(whole["worker-default"])
        watch()
        assert told("degraded")[0]["affected"] == {"tenants": 2, "jobs": 5}
        watcher._done_at.clear()
        watch()
        for module, mine, other in ((acme, 2, "globex"), (globex, 3, "acme")):
            page = module.get(f"{HEALTH}/operations/worker-default")
            assert page.json()["by_tenant"] is None
            assert said(page)["affected"] == {"tenants": 2, "jobs": 5, "your_jobs": mine}
            assert other not in page.content.decode()
        seen = said(platform.get(f"{HEALTH}/operations/worker-default"))
        assert (seen["by_tenant"], seen["affected"]["your_jobs"]) == ({"acme": 2, "globex": 3}, None)


class TestCanaries:
    """A small task through a queue, as jobs go."""

    @pytest.fixture
    def queues(self) -> list[Queue]:
        return [Queue(pool="default", queue="ops.default", environment="default")]

    def newest(self, look: Look) -> dict[str, Any]:
        (row,) = look("SELECT * FROM health_canaries ORDER BY canary_id DESC LIMIT 1")
        return row

    def test_one_that_comes_back_measures_the_queue(
        self, whole: Whole, watch: Watch, look: Look, control: Control, component: Read
    ) -> None:
        watch(lambda: self.newest(look)["sent"])
        released = self.newest(look)["canary_id"]
        with control():
            assert canary.take(str(released), canary._mac(str(released))) == "ok"
            assert canary.take(str(released), canary._mac(str(released))) == "stale"
        watch()
        row = component("queue-default")
        assert (row["status"], row["reason"], row["checks"]) == ("up", "answered", 1)
        assert row["latency"] > 0
        found = self.newest(look)
        assert found["enqueued_at"] < found["started_at"] < found["committed_at"]

    def test_a_forged_one_answers_nothing(self, whole: Whole, watch: Watch, look: Look, control: Control) -> None:
        watch(lambda: self.newest(look)["sent"])
        released = str(self.newest(look)["canary_id"])
        with control():
            for mac in ("", "x", canary._mac("another"), None):
                assert canary.take(released, mac) == "forged"
        assert self.newest(look)["started_at"] is None

    def test_a_queue_that_nobody_takes_from_is_found_although_its_worker_beats(
        self, whole: Whole, watch: Watch, look: Look, superuser: Any, flips: Read
    ) -> None:
        for _ in range(2):
            watch(lambda: self.newest(look)["sent"] and self.newest(look)["word"] == "waiting")
            superuser.execute(LATE)
            watch()
            superuser.execute(b"UPDATE health_canaries SET settled_at = settled_at - interval '3 s'")
        assert flips("queue-default") == [("degraded", "stalled"), ("down", "stalled")]
        assert flips("worker-default") == [("up", "beats")]

    def test_a_pool_at_long_work_has_not_stalled(
        self, whole: Whole, watch: Watch, look: Look, superuser: Any, flips: Read
    ) -> None:
        watch(lambda: self.newest(look)["sent"])
        for _ in range(4):
            job_id = admitted()
            superuser.execute(
                b"UPDATE jobs SET status = 'running', fence = 1, started_at = now() - interval '1 minute',"
                b" worker_id = %s WHERE job_id = %s",
                [whole["worker-default"], job_id],
            )
        superuser.execute(LATE)
        watch()
        assert look("SELECT word FROM health_canaries ORDER BY canary_id LIMIT 1") == [{"word": "busy"}]
        assert flips("queue-default") == []

    def test_a_worker_that_takes_nothing_while_another_does_is_found_and_it_alone_is_restarted(
        self, whole: Whole, processes: Process, watch: Watch, look: Look, superuser: Any, flips: Read
    ) -> None:
        takes = processes.begin("worker", environment="default", pid=2)
        watch()
        superuser.execute(b"UPDATE processes SET started_at = started_at - interval '1 hour'")
        superuser.execute(b"DELETE FROM health_canaries")
        superuser.execute(
            b"INSERT INTO health_canaries (canary_id, queue, enqueued_at, sent, started_at, committed_at, process_id,"
            b" word, settled_at) SELECT uuidv7(), 'ops.default', now() - n * interval '16 s', true, now(), now(), %s,"
            b" 'answered', now() FROM generate_series(24, 1, -1) AS n",
            [takes],
        )
        watch(lambda: look("SELECT 1 FROM process_orders"))
        assert flips("worker-default")[-1] == ("degraded", "deaf")
        assert [row["process_id"] for row in look("SELECT * FROM process_orders")] == [whole["worker-default"]]

    def test_none_is_sent_while_the_broker_is_away(
        self, whole: Whole, watch: Watch, look: Look, control: Control, superuser: Any
    ) -> None:
        with control():
            deferral.open_breaker(reason="ConnectionError")
        superuser.execute(b"DELETE FROM health_canaries")
        watch()
        assert look("SELECT 1 FROM health_canaries") == []
        assert canaries.due(None)

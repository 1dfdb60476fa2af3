"""Health of a real plane: a worker is killed, a consumer stalls, the watcher or its database is away."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from opsplatform import embedded
from opsplatform.plane import CHECKOUT, Plane
from tests.faults.test_worker_killed import running
from tests.support.client import Caller, Truth, wait_for
from tests.support.stalling import order_to

FLIPS = """
SELECT c.component, f.old, f.new, f.reason, f.at, f.noticed_at
  FROM health_flips f JOIN health_status c USING (component_id)
 WHERE c.component = %s AND f.noticed_at > %s ORDER BY f.flip_id
"""
BAD_SINCE = """
SELECT c.module, c.component, f.new, f.reason, f.muted_by
  FROM health_flips f JOIN health_status c USING (component_id)
 WHERE f.new IN ('down', 'degraded') AND f.noticed_at > %s
"""
RECEIPTS = """
SELECT r.*, extract(epoch FROM r.settled_at - r.begun_at) AS took
  FROM recovery_receipts r JOIN health_status c USING (component_id)
 WHERE c.component = %s AND r.action = %s AND r.begun_at > %s AND r.outcome <> 'running'
"""
TRUSTED_SINCE = "SELECT 1 FROM events WHERE type = 'operations.health.trusted' AND occurred_at > %s"
NOT_UP = """
SELECT component, status, reason FROM health_status
 WHERE tenant_id IS NULL AND module = 'operations' AND deleted_at IS NULL AND status <> 'up'
"""


@pytest.fixture
def modules(plane: Plane) -> Iterator[Caller]:
    """Acme's module, which reports health and reads it."""
    caller = Caller(url=plane.url, home=plane.home, scope="health:report health:read")
    yield caller
    caller.close()


@pytest.fixture(autouse=True)
def all_up(truth: Truth, healthy: None) -> Iterator[None]:
    """Begin with a plane whose every part is up, and whose watcher trusts its ears; end with one."""
    trusted = "SELECT 1 FROM health_watch WHERE distrusted_since IS NULL AND looked_at IS NOT NULL"
    # Other tests hurt the parts as well: after four times in ten minutes a return has to be proven for minutes, and
    # each recovery has a cooldown and an hour's budget.
    truth.execute("UPDATE health_status SET alarms = '{}'")
    truth.execute("UPDATE recovery_receipts SET begun_at = begun_at - interval '2 h' WHERE outcome <> 'running'")
    wait_for(lambda: not truth.rows(NOT_UP) and truth.rows(trusted), what="every part up", within_s=90)
    yield
    wait_for(lambda: not truth.rows(NOT_UP) and truth.rows(trusted), what="every part up again", within_s=120)


def now(truth: Truth) -> Any:
    return truth.one("SELECT clock_timestamp() AS at")["at"]


def told(truth: Truth, event_type: str, component: str, since: Any) -> list[dict[str, Any]]:
    return truth.rows(
        "SELECT data FROM events WHERE type = %s AND data ->> 'component' = %s AND occurred_at > %s",
        event_type,
        component,
        since,
    )


@pytest.mark.alone
def test_a_killed_worker_is_down_within_20_s_and_its_jobs_recovery_leaves_a_receipt(
    plane: Plane, caller: Caller, modules: Caller, truth: Truth
) -> None:
    job_id = caller.submit("ops.sleep", {"seconds": 3})["job_id"]
    wait_for(lambda: running(truth, job_id), what="the job runs")
    before, began = now(truth), time.monotonic()
    worker = psutil.Process(plane.pid("worker-default"))
    for process in [*worker.children(recursive=True), worker]:
        process.kill()
    (down,) = wait_for(
        lambda: [flip for flip in truth.rows(FLIPS, "worker-default", before) if flip["new"] == "down"],
        what="it is down",
        within_s=20,
    )
    assert time.monotonic() - began <= 20
    assert (down["old"], down["reason"]) == ("up", "lost")
    assert down["at"] <= down["noticed_at"], "dated back to the end of its lease"
    (event,) = told(truth, "operations.health.degraded", "worker-default", before)
    assert event["data"]["status"] == "down"
    assert event["data"]["affected"]["jobs"] >= 1
    (receipt,) = wait_for(
        lambda: truth.rows(RECEIPTS, "worker-default", "reclaim_jobs", before), what="its receipt", within_s=30
    )
    assert receipt["outcome"] == "helped"
    assert receipt["condition"]["status"] == "down"
    assert receipt["facts"]["brought_back"] >= 1, "ours, and whatever another test left running there"
    assert receipt["facts"]["still_held"] == 0
    assert caller.wait(job_id)["outcome"] == "succeeded"
    wait_for(lambda: told(truth, "operations.health.recovered", "worker-default", before), what="it is up again")
    page = modules.request("GET", "/operations/health/operations/worker-default").json()
    assert [flip["new"] for flip in page["flips"][:2]] == ["up", "down"]
    assert page["receipts"][0]["action"] == "reclaim_jobs"


def test_a_worker_that_is_stopped_in_order_is_no_alarm(plane: Plane, truth: Truth) -> None:
    before, first = now(truth), plane.pid("worker-batch")
    psutil.Process(first).terminate()
    wait_for(lambda: plane.processes()["worker-batch"]["pid"] not in {None, first}, what="another one runs")
    wait_for(
        lambda: truth.rows(
            "SELECT 1 FROM processes WHERE role = 'worker' AND environment = 'batch' AND started_at > %s", before
        ),
        what="it beats",
    )
    wait_for(lambda: not truth.rows(NOT_UP), what="it is up")
    assert [
        flip["new"] for flip in truth.rows(FLIPS, "worker-batch", before) if flip["new"] in {"down", "degraded"}
    ] == []
    assert told(truth, "operations.health.degraded", "worker-batch", before) == []


def test_a_consumer_that_stalled_is_found_by_the_canary_and_restarted(
    plane: Plane, caller: Caller, truth: Truth
) -> None:
    before, stalled = now(truth), plane.pid("worker-batch")
    order_to(plane.home, "batch").touch()
    wait_for(lambda: not order_to(plane.home, "batch").exists(), what="it consumes nothing any more")
    down = wait_for(
        lambda: [flip for flip in truth.rows(FLIPS, "queue-batch", before) if flip["new"] == "down"],
        what="the canary tells",
        within_s=60,
    )
    assert down[0]["reason"] == "stalled"
    beats = truth.rows("SELECT 1 FROM processes WHERE pid = %s AND lease_until > clock_timestamp()", stalled)
    assert beats, "it beats all the while"
    (obeyed,) = wait_for(
        lambda: truth.rows("SELECT * FROM process_orders WHERE ordered_at > %s AND obeyed_at IS NOT NULL", before),
        what="the order to restart is obeyed",
        within_s=20,
    )
    assert (obeyed["kind"], obeyed["reason"]) == ("restart", "stalled")
    wait_for(lambda: plane.processes()["worker-batch"]["pid"] not in {None, stalled}, what="another one", within_s=40)
    (receipt,) = wait_for(
        lambda: truth.rows(RECEIPTS, "queue-batch", "restart_pool", before), what="the receipt", within_s=90
    )
    assert (receipt["outcome"], receipt["facts"]["ordered"]) == ("helped", 1)
    assert receipt["proof"]["status"] == "up"
    assert [flip["new"] for flip in truth.rows(FLIPS, "worker-batch", before) if flip["new"] == "down"] == []
    job = caller.wait(caller.submit("ops.noop", environment="batch")["job_id"])
    assert job["outcome"] == "succeeded"


def test_a_watcher_that_was_away_says_unknown_and_not_down(plane: Plane, modules: Caller, truth: Truth) -> None:
    beat = {"component": "feed", "terms": {"interval_s": 3, "grace_s": 2, "failure_threshold": 1}}
    assert modules.request("POST", "/operations/health/heartbeats", json=beat).status_code == 202
    before, began = now(truth), time.monotonic()
    watcher = psutil.Process(plane.pid("watcher"))
    watcher.suspend()
    try:
        wait_for(lambda: time.monotonic() - began > 14, what="longer than it may be away", within_s=30)
    finally:
        watcher.resume()
    flips = wait_for(lambda: truth.rows(FLIPS, "feed", before), what="a word on the feed", within_s=20)
    assert [(flip["new"], flip["reason"]) for flip in flips] == [("unknown", "distrust")]
    (watch,) = truth.rows("SELECT * FROM health_watch")
    assert watch["distrusted_since"] is not None
    map_ = modules.request("GET", "/operations/health").json()
    assert map_["trusted"] is False
    assert truth.rows(BAD_SINCE, before) == []
    assert truth.rows("SELECT 1 FROM recovery_receipts WHERE begun_at > %s", before) == [], "recovery rests"
    wait_for(
        lambda: modules.request("GET", "/operations/health").json()["trusted"], what="it trusts again", within_s=60
    )
    down = wait_for(
        lambda: [flip for flip in truth.rows(FLIPS, "feed", before) if flip["new"] == "down"],
        what="the feed, which is silent still, is down now",
        within_s=30,
    )
    assert [flip["reason"] for flip in down] == ["timeout"]
    truth.execute("UPDATE health_status SET deleted_at = now(), due_at = NULL WHERE component = 'feed'")


def test_a_database_that_was_away_leaves_unknown_and_not_down(plane: Plane, truth: Truth) -> None:
    before, began = now(truth), time.monotonic()
    embedded.stop_postgres(home=plane.home)
    try:
        wait_for(lambda: time.monotonic() - began > 14, what="longer than a look may take", within_s=30)
    finally:
        embedded.start_postgres(home=plane.home)
    wait_for(
        lambda: truth.rows(
            "SELECT 1 FROM events WHERE type = 'operations.health.trusted' AND occurred_at > %s", before
        ),
        what="the plane trusts its ears again",
        within_s=90,
    )
    flips = wait_for(
        lambda: found if len(found := truth.rows(FLIPS, "database", before)) > 1 else None, what="the database answers"
    )
    assert [(flip["new"], flip["reason"]) for flip in flips] == [("down", "unreachable"), ("up", "answers")]
    assert flips[0]["at"] < flips[1]["at"], "dated back to the outage's beginning"
    bad = [row for row in truth.rows(BAD_SINCE, before) if row["component"] != "database"]
    assert [row for row in bad if row["reason"] in {"timeout", "lost", "never_seen"}] == []


def test_two_watchers_do_no_harm_and_the_second_takes_over(plane: Plane, truth: Truth) -> None:
    environment = {**os.environ, "OPS_HOME": str(plane.home), "OPS_PROCESS": "watcher-2"}
    second = subprocess.Popen(
        [sys.executable, "manage.py", "run_watcher"], cwd=CHECKOUT, env=environment, stdout=subprocess.DEVNULL
    )
    try:
        wait_for(
            lambda: truth.rows(
                "SELECT 1 FROM processes a JOIN processes b ON a.beat_at > b.started_at"
                " WHERE b.name = 'watcher-2' AND b.state = 'live' AND a.name = 'watcher' AND a.state = 'live'"
            ),
            what="both live",
        )
        before = now(truth)
        plane.kill("watcher")
        wait_for(
            lambda: truth.rows("SELECT 1 FROM health_watch WHERE looked_at > %s + interval '3 s'", before),
            what="somebody looks",
            within_s=10,
        )
        lost = wait_for(
            lambda: [flip for flip in truth.rows(FLIPS, "watcher", before) if flip["reason"] == "lost"],
            what="the killed one is missed",
            within_s=20,
        )
        assert [flip["new"] for flip in lost] == ["degraded"], "another watched on"
    finally:
        second.terminate()
        second.wait(timeout=20)

"""Cancels and time limits on a running plane: a handler that listens, one that does not, a worker that dies over it."""

from __future__ import annotations

from typing import Any

import psutil

from opsplatform.plane import Plane
from tests.support.client import Caller, Truth, wait_for


def control(caller: Caller, job_id: str, what: str, **body: Any) -> dict[str, Any]:
    caller._scope = "jobs:submit jobs:read jobs:control"
    answer = caller.request("POST", f"/operations/jobs/{job_id}/{what}", json=body)
    assert answer.status_code == 202, answer.text
    return dict(answer.json())


def test_a_handler_that_listens_stops_within_seconds(caller: Caller, truth: Truth) -> None:
    job_id = caller.submit("ops.sleep", {"seconds": 60})["job_id"]
    caller.wait(job_id, status="running")
    asked = control(caller, job_id, "cancel", reason="a drill")
    assert asked["cancel_reason"] == "a drill"
    job = caller.wait(job_id, within_s=15)
    assert (job["outcome"], job["reason_code"], job["error"]["how"]) == ("cancelled", "cancelled", "cooperative")


def test_a_handler_that_does_not_listen_is_killed_after_its_grace_and_its_worker_goes_on(
    caller: Caller, truth: Truth
) -> None:
    job_id = caller.submit("ops.sleep", {"seconds": 600, "stubborn": True})["job_id"]
    caller.wait(job_id, status="running")
    pid = truth.one("SELECT worker_pid FROM jobs WHERE job_id = %s", job_id)["worker_pid"]
    control(caller, job_id, "cancel")
    job = caller.wait(job_id, within_s=15)
    assert (job["outcome"], job["reason_code"], job["error"]["how"]) == ("cancelled", "cancelled_killed", "killed")
    wait_for(lambda: not psutil.pid_exists(pid), what="its process is gone", within_s=15)
    after = caller.submit("ops.noop")["job_id"]
    assert caller.wait(after)["outcome"] == "succeeded"
    endings = truth.rows("SELECT ending FROM attempts WHERE job_id = %s", job_id)
    assert [row["ending"] for row in endings] == ["cancelled"]


def test_a_job_whose_worker_dies_while_a_cancel_waits_for_it_is_cancelled(
    plane: Plane, caller: Caller, truth: Truth
) -> None:
    job_id = caller.submit("ops.sleep", {"seconds": 600, "stubborn": True})["job_id"]
    caller.wait(job_id, status="running")
    truth.execute("UPDATE jobs SET cancel_grace_s = 600 WHERE job_id = %s", job_id)
    control(caller, job_id, "cancel")
    worker = psutil.Process(plane.pid("worker-default"))
    for process in [*worker.children(recursive=True), worker]:
        process.kill()
    job = caller.wait(job_id, within_s=30)
    assert (job["outcome"], job["error"]["how"], job["retries"]) == ("cancelled", "worker_lost", 0)


def test_a_silent_attempt_is_ended_and_its_process_killed(caller: Caller, truth: Truth) -> None:
    job_id = caller.submit("ops.sleep", {"seconds": 600, "stubborn": True}, retry={"max_attempts": 1})["job_id"]
    caller.wait(job_id, status="running")
    pid = truth.one("SELECT worker_pid FROM jobs WHERE job_id = %s", job_id)["worker_pid"]
    truth.execute("UPDATE jobs SET heartbeat_s = 1 WHERE job_id = %s", job_id)
    job = caller.wait(job_id, within_s=20)
    assert (job["outcome"], job["reason_code"]) == ("timed_out", "heartbeat")
    wait_for(lambda: not psutil.pid_exists(pid), what="its process is gone", within_s=15)


def test_a_deadline_ends_a_running_attempt_and_retry_by_hand_runs_it_once_more(caller: Caller, truth: Truth) -> None:
    job_id = caller.submit("ops.sleep", {"seconds": 60}, deadline_s=2)["job_id"]
    job = caller.wait(job_id, within_s=15)
    assert (job["outcome"], job["reason_code"], job["attempt"]) == ("timed_out", "deadline", 1)
    truth.execute("UPDATE jobs SET params = '{\"seconds\": 0.1}' WHERE job_id = %s", job_id)
    again = control(caller, job_id, "retry")
    assert again["outcome"] is None
    job = caller.wait(job_id)
    assert (job["outcome"], job["attempt"]) == ("succeeded", 2)


def test_a_job_that_cannot_start_in_time_is_ended(caller: Caller, truth: Truth) -> None:
    truth.execute("UPDATE environments SET paused_until = now() + interval '1 hour' WHERE name = 'batch'")
    try:
        job_id = caller.submit("ops.noop", environment="batch", start_by_s=1)["job_id"]
        job = caller.wait(job_id, within_s=10)
    finally:
        truth.execute("UPDATE environments SET paused_until = NULL WHERE name = 'batch'")
    assert (job["outcome"], job["reason_code"], job["attempt"]) == ("timed_out", "start_by", 0)

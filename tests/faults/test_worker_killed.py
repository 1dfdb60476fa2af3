"""Fault 3: a worker is killed in the middle of a job; a child dies; a job kills whatever runs it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import psutil
import pytest

from opsplatform.plane import Plane
from tests.support.client import Caller, Truth, wait_for


def running(truth: Truth, job_id: str) -> dict[str, object] | None:
    """Return the job's row once a worker runs it."""
    row = truth.one("SELECT status, worker_pid, worker_id, fence, attempt FROM jobs WHERE job_id = %s", job_id)
    return row if row["status"] == "running" else None


@pytest.mark.alone
def test_a_job_whose_whole_worker_was_killed_is_known_within_20_s_and_succeeds_once(
    plane: Plane, caller: Caller, truth: Truth
) -> None:
    job_id = caller.submit("ops.sleep", {"seconds": 3})["job_id"]
    before = wait_for(lambda: running(truth, job_id), what="the job runs")
    worker = psutil.Process(plane.pid("worker-default"))
    for process in [*worker.children(recursive=True), worker]:
        process.kill()
    wait_for(
        lambda: truth.rows("SELECT 1 FROM attempts WHERE job_id = %s AND ending = 'worker_lost'", job_id),
        what="the loss is known",
        within_s=20,
    )
    job = caller.wait(job_id)
    assert (job["outcome"], job["attempt"], job["retries"]) == ("succeeded", 2, 1)
    attempts = truth.rows("SELECT ending, fence, worker_id FROM attempts WHERE job_id = %s ORDER BY fence", job_id)
    assert [row["ending"] for row in attempts] == ["worker_lost", "succeeded"]
    assert attempts[0]["worker_id"] == before["worker_id"] != attempts[1]["worker_id"]


def test_a_job_whose_own_process_was_killed_is_handed_back_at_once(caller: Caller, truth: Truth) -> None:
    job_id = caller.submit("ops.sleep", {"seconds": 2})["job_id"]
    row = wait_for(lambda: running(truth, job_id), what="the job runs")
    os.kill(int(str(row["worker_pid"])), signal.SIGKILL)
    wait_for(
        lambda: truth.rows("SELECT 1 FROM attempts WHERE job_id = %s AND ending = 'worker_lost'", job_id),
        what="the loss is known",
        within_s=15,
    )
    job = caller.wait(job_id)
    assert (job["outcome"], job["attempt"]) == ("succeeded", 2)


def test_a_job_that_kills_whatever_runs_it_stops_after_its_attempts(
    calling: Callable[..., Caller], truth: Truth
) -> None:
    sandbox = calling("sandbox")
    job_id = sandbox.submit("ops.crash")["job_id"]
    job = sandbox.wait(job_id)
    assert (job["outcome"], job["reason_code"]) == ("failed", "worker_lost")
    assert job["attempt"] == job["max_attempts"]
    endings = truth.rows("SELECT ending FROM attempts WHERE job_id = %s", job_id)
    assert [row["ending"] for row in endings] == ["worker_lost"] * job["max_attempts"]


def test_a_worker_that_slept_through_its_lease_finds_itself_fenced_off_and_ends(
    plane: Plane, caller: Caller, truth: Truth
) -> None:
    job_id = caller.submit("ops.sleep", {"seconds": 30})["job_id"]
    before = wait_for(lambda: running(truth, job_id), what="the job runs")
    worker = psutil.Process(plane.pid("worker-default"))
    tree = [worker, *worker.children(recursive=True)]
    for process in tree:
        process.suspend()
    try:
        wait_for(
            lambda: truth.rows("SELECT 1 FROM attempts WHERE job_id = %s AND ending = 'worker_lost'", job_id),
            what="the lease ran out",
            within_s=25,
        )
        assert truth.one("SELECT fence FROM jobs WHERE job_id = %s", job_id)["fence"] >= int(str(before["fence"]))
    finally:
        for process in tree:
            process.resume()
    _, alive = psutil.wait_procs(tree, timeout=20)
    assert not alive, "the fenced-off worker still runs"
    truth.execute("UPDATE jobs SET params = '{\"seconds\": 0.1}' WHERE job_id = %s", job_id)
    job = caller.wait(job_id, within_s=90)
    assert job["outcome"] == "succeeded"
    successes = truth.rows("SELECT 1 FROM attempts WHERE job_id = %s AND ending = 'succeeded'", job_id)
    assert len(successes) == 1

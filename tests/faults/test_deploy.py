"""Fault 6: SIGTERM, as a deploy sends it: no job loses an attempt for it. And fault 17: a clock that is off."""

from __future__ import annotations

import os
import signal

from opsplatform.plane import Plane
from tests.support.client import Caller, Truth, wait_for


def test_a_worker_that_is_told_to_stop_finishes_what_it_holds(plane: Plane, caller: Caller, truth: Truth) -> None:
    short = caller.submit("ops.sleep", {"seconds": 2})["job_id"]
    caller.wait(short, status="running")
    before = plane.pid("worker-default")
    os.kill(before, signal.SIGTERM)
    assert caller.wait(short)["attempt"] == 1
    wait_for(lambda: plane.processes()["worker-default"]["pid"] not in {None, before}, what="a new worker", within_s=60)
    endings = truth.rows("SELECT ending FROM attempts WHERE job_id = %s", short)
    assert [row["ending"] for row in endings] == ["succeeded"]


def test_what_a_stopping_worker_cannot_finish_is_handed_back_without_costing_an_attempt(
    plane: Plane, caller: Caller, truth: Truth
) -> None:
    long = caller.submit("ops.sleep", {"seconds": 60})["job_id"]
    caller.wait(long, status="running")
    before = plane.pid("worker-default")
    os.kill(before, signal.SIGTERM)
    handed = wait_for(
        lambda: truth.rows("SELECT ending FROM attempts WHERE job_id = %s", long),
        what="the job is handed back",
        within_s=60,
    )
    assert [row["ending"] for row in handed] == ["handed_back"]
    truth.execute("UPDATE jobs SET params = '{\"seconds\": 0.1}' WHERE job_id = %s", long)
    job = caller.wait(long, within_s=60)
    assert (job["outcome"], job["attempt"], job["retries"]) == ("succeeded", 1, 0)

"""Fault 8: scheduler and relay are killed, or two of them run at once."""

from __future__ import annotations

import os
import subprocess
import sys

import psutil
import pytest

from opsplatform.plane import CHECKOUT, Plane
from tests.support.client import Caller, Truth, wait_for


@pytest.mark.alone
@pytest.mark.parametrize("name", ["scheduler", "relay"])
def test_the_restarted_process_takes_over_within_10_s(plane: Plane, caller: Caller, truth: Truth, name: str) -> None:
    plane.kill(name)
    job_id = caller.submit("ops.noop")["job_id"]
    wait_for(
        lambda: truth.rows(
            "SELECT 1 FROM events WHERE subject = %s AND type = 'operations.job.completed' AND sequence IS NOT NULL",
            job_id,
        ),
        what="the job ran and its end is in the log",
        within_s=10,
    )


def test_a_second_scheduler_does_no_harm_and_takes_over_when_the_first_dies(
    plane: Plane, caller: Caller, truth: Truth
) -> None:
    environment = {**os.environ, "OPS_HOME": str(plane.home), "OPS_PROCESS": "scheduler-2"}
    second = subprocess.Popen(
        [sys.executable, "manage.py", "run_scheduler"], cwd=CHECKOUT, env=environment, stdout=subprocess.DEVNULL
    )
    try:
        wait_for(
            lambda: truth.rows("SELECT 1 FROM processes WHERE name = 'scheduler-2' AND state = 'live'"),
            what="the second lives",
        )
        jobs = [caller.submit("ops.noop")["job_id"] for _ in range(10)]
        first = psutil.Process(plane.pid("scheduler"))
        first.suspend()  # alive and holding the lock: nothing may be lost, only late
        first.resume()
        plane.kill("scheduler")
        jobs += [caller.submit("ops.noop")["job_id"] for _ in range(10)]
        for job_id in jobs:
            assert caller.wait(job_id, within_s=30)["outcome"] == "succeeded"
    finally:
        second.terminate()
        second.wait(timeout=20)

"""Fault 8: scheduler, relay and sealer are killed, or two of them run at once."""

from __future__ import annotations

import os
import signal
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


@pytest.mark.skipif(sys.platform != "linux", reason="loops are forked on Linux only")
def test_the_fork_server_is_killed_and_nobody_misses_it(plane: Plane, caller: Caller, truth: Truth) -> None:
    before = {name: process["pid"] for name, process in plane.processes().items()}
    server = plane.state()["forkserver"]["pid"]
    os.kill(server, signal.SIGKILL)
    for name in ("relay", "worker-default"):
        plane.kill(name, within_s=60)
    wait_for(lambda: plane.state()["forkserver"]["pid"] not in {None, server}, what="the server is back")
    job_id = caller.submit("ops.noop")["job_id"]
    assert caller.wait(job_id, within_s=30)["outcome"] == "succeeded"
    after = {name: process["pid"] for name, process in plane.processes().items()}
    assert {name for name, pid in before.items() if after[name] != pid} == {"relay", "worker-default"}


UNSEALED = "SELECT 1 FROM evidence_records WHERE number IS NULL"


def test_a_sealer_that_is_killed_again_and_again_loses_nothing(plane: Plane, caller: Caller, truth: Truth) -> None:
    jobs: list[str] = []
    for _ in range(3):
        jobs += [caller.submit("ops.noop")["job_id"] for _ in range(20)]
        plane.kill("sealer")
    for job_id in jobs:
        caller.wait(job_id, within_s=30)
    wait_for(lambda: not truth.rows(UNSEALED), what="every record is sealed", within_s=15)
    _verified(plane)


def test_two_sealers_at_once_do_no_harm_and_one_takes_over(plane: Plane, caller: Caller, truth: Truth) -> None:
    environment = {**os.environ, "OPS_HOME": str(plane.home), "OPS_PROCESS": "sealer-2"}
    second = subprocess.Popen(
        [sys.executable, "manage.py", "run_sealer"], cwd=CHECKOUT, env=environment, stdout=subprocess.DEVNULL
    )
    try:
        wait_for(
            lambda: truth.rows("SELECT 1 FROM processes WHERE name = 'sealer-2' AND state = 'live'"),
            what="the second lives",
        )
        for job_id in [caller.submit("ops.noop")["job_id"] for _ in range(10)]:
            caller.wait(job_id, within_s=30)
        plane.kill("sealer")
        job_id = caller.submit("ops.noop")["job_id"]
        caller.wait(job_id, within_s=30)
        wait_for(lambda: not truth.rows(UNSEALED), what="every record is sealed", within_s=10)
        _verified(plane)
    finally:
        second.terminate()
        second.wait(timeout=20)


def _verified(plane: Plane) -> None:
    """Verify every log of the plane, by the command that people use."""
    run = subprocess.run(
        [sys.executable, "manage.py", "evidence_verify"],
        cwd=CHECKOUT,
        env={**os.environ, "OPS_HOME": str(plane.home)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.startswith("intact: ")


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

"""Fault 17: a worker's clock is off by an hour, and nothing changes: the database's clock decides."""

from __future__ import annotations

import glob
import secrets
from datetime import timedelta

import psutil
import pytest

from opsplatform.plane import Plane
from tests.support.client import Caller, Truth, wait_for
from tests.support.worker import extra_worker

FOUND = sorted(glob.glob("/usr/lib/*/faketime/libfaketime.so.1"))  # noqa: PTH207 - a pattern from the root


@pytest.mark.skipif(not FOUND, reason="needs Debian's faketime: .ci/run installs it")
@pytest.mark.parametrize("off", ["+1h", "-1h"])
def test_a_worker_an_hour_off_runs_its_jobs_and_every_time_is_the_databases(
    plane: Plane, caller: Caller, truth: Truth, off: str
) -> None:
    wrong = {"LD_PRELOAD": FOUND[0], "FAKETIME": off, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    own = psutil.Process(plane.pid("worker-batch"))
    name = f"clock{'ahead' if off.startswith('+') else 'behind'}-{secrets.token_hex(4)}"  # not one that played before
    with extra_worker(plane, name=name, variables=wrong):
        worker = wait_for(
            lambda: truth.rows("SELECT process_id FROM processes WHERE name LIKE %s AND state = 'live'", f"{name}@%"),
            what="it lives",
        )[0]["process_id"]
        own.suspend()  # so that the jobs come to the other
        try:
            # No ops.sleep: the library that bends the clock breaks the system's sleep as well.
            good = caller.submit("ops.noop", environment="batch")["job_id"]
            again = caller.submit("ops.fail", {"times": 1}, environment="batch")["job_id"]
            jobs = [caller.wait(good), caller.wait(again)]
        finally:
            own.resume()
    ends = truth.rows("SELECT ending, error, started_at, finished_at FROM attempts ORDER BY id")
    assert [(job["outcome"], job["attempt"]) for job in jobs] == [("succeeded", 1), ("succeeded", 2)], ends
    attempts = truth.rows(
        "SELECT worker_id, dispatched_at, started_at, finished_at, clock_timestamp() AS now FROM attempts"
        " WHERE job_id = ANY (%s::uuid[]) AND ending <> 'unclaimed'",
        [good, again],
    )
    assert {row["worker_id"] for row in attempts} == {worker}
    for row in attempts:
        assert row["dispatched_at"] <= row["started_at"] <= row["finished_at"] <= row["now"]
        assert row["finished_at"] - row["started_at"] < timedelta(seconds=30)

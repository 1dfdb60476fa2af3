"""Fault 12 on a real plane: the evidence sink hangs, or is killed. Jobs run on, and owe their evidence meanwhile."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil
import pytest

from opsplatform.plane import Plane
from tests.support.client import Caller, Truth, wait_for

STATUS = "SELECT status, outcome FROM jobs WHERE job_id = %s"
BUDGET = "UPDATE plans SET audit_debt = %s WHERE plan_id = 'gold'"


@contextmanager
def hanging(plane: Plane) -> Iterator[None]:
    """Stop the sink's processes where they stand: they take connections and say nothing."""
    leader = psutil.Process(plane.pid("sink"))
    stopped = [leader, *leader.children(recursive=True)]
    for each in stopped:
        os.kill(each.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for each in stopped:
            os.kill(each.pid, signal.SIGCONT)


@pytest.fixture
def budget(truth: Truth) -> Iterator[None]:
    """Acme's plan lets three records wait."""
    truth.execute(BUDGET, 3)
    yield
    truth.execute(BUDGET, 10_000)


def reads(truth: Truth, job_id: str, *, status: str, outcome: str = "succeeded") -> Callable[[], bool]:
    return lambda: truth.one(STATUS, job_id) == {"status": status, "outcome": outcome}


def submits(caller: Caller) -> int:
    return caller.request("POST", "/operations/jobs", json={"type": "ops.noop"}).status_code


def test_a_sink_that_hangs_delays_no_job_and_costs_a_tenant_its_budget_and_nothing_else(
    plane: Plane, caller: Caller, calling: Callable[..., Caller], truth: Truth, budget: None
) -> None:
    with hanging(plane):
        jobs = [caller.submit("ops.noop")["job_id"] for _ in range(3)]
        for job_id in jobs:
            ended = reads(truth, job_id, status="pending_audit")
            wait_for(ended, what="the job ran, and owes its evidence", within_s=40)
        read = caller.job(jobs[0])
        assert (read["status"], read["outcome"], read["evidence"]["state"]) == ("pending_audit", "succeeded", "pending")
        refused = caller.request("POST", "/operations/jobs", json={"type": "ops.noop"})
        assert (refused.status_code, refused.json()["code"]) == (429, "audit_debt")
        assert int(refused.headers["Retry-After"]) > 0
        assert caller.job(refused.json()["job_id"])["outcome"] == "rejected", "the refused job is kept"
        other = calling("globex")
        other.wait(other.submit("ops.noop")["job_id"], status=None)
    for job_id in jobs:
        wait_for(reads(truth, job_id, status="succeeded"), what="its true status is back", within_s=60)
    read = caller.job(jobs[0])
    assert read["evidence"]["state"] == "emitted"
    assert read["evidence"]["ref"].startswith("operations-witness-")
    wait_for(lambda: submits(caller) == 202, what="the debt is paid", within_s=60)


@pytest.mark.parametrize("name", ["emitter", "sink"])
def test_either_of_the_two_killed_loses_and_doubles_nothing(
    plane: Plane, caller: Caller, truth: Truth, name: str
) -> None:
    jobs = []
    for _ in range(3):
        jobs += [caller.submit("ops.noop")["job_id"] for _ in range(4)]
        plane.kill(name)

    def emitted() -> bool:
        return all(caller.job(job_id)["evidence"]["state"] == "emitted" for job_id in jobs)

    wait_for(emitted, what="all of it was emitted", within_s=60)
    ranges = truth.rows("SELECT start, size FROM evidence_emissions WHERE tenant_id = 'acme' ORDER BY start")
    assert [row["start"] for row in ranges[1:]] == [row["size"] for row in ranges[:-1]], "side by side, no overlap"

"""Bundles under harm: what hangs or kills its process costs the jobs that travel with it a second dispatch, no more."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from typing import Any

import psutil
import pytest
import redis

from opsplatform import embedded
from opsplatform.plane import Plane
from tests.support.client import Caller, Truth, wait_for

MANY = 300


def submit_all(caller: Caller, jobs: list[dict[str, Any]]) -> list[str]:
    """Submit jobs of the moody type in one batch; return their ids, in order."""
    body = {"jobs": [{"type": "test.moody", "params": params} for params in jobs]}
    answer = caller.request("POST", "/operations/jobs/batch", json=body)
    assert answer.status_code == 202, answer.text
    return [result["job_id"] for result in answer.json()["results"]]


@pytest.fixture(autouse=True)
def known_as_short(caller: Caller, truth: Truth, healthy: None) -> None:
    """Let the scheduler learn that the type is short: only then its jobs travel together."""
    learnt = "SELECT 1 FROM jobs WHERE type = 'test.moody' AND bundle_size > 1 AND outcome IS NOT NULL LIMIT 1"

    def together() -> bool:
        submit_all(caller, [{}] * 60)
        return bool(truth.rows(learnt))

    wait_for(together, what="jobs that travel together")
    wait_for(lambda: not truth.rows("SELECT 1 FROM jobs WHERE outcome IS NULL"), what="they are over")


def ends(truth: Truth, ids: list[str]) -> list[tuple[str, int, int]]:
    """Return how each job ended: outcome, attempts spent, successes."""
    rows = truth.rows(
        "SELECT j.job_id::text, j.outcome, j.attempt, count(a.*) FILTER (WHERE a.ending = 'succeeded') AS won"
        " FROM jobs j LEFT JOIN attempts a USING (job_id) WHERE j.job_id = ANY (%s::uuid[]) GROUP BY j.job_id",
        ids,
    )
    found = {row["job_id"]: (row["outcome"], row["attempt"], row["won"]) for row in rows}
    return [found[job_id] for job_id in ids]


def all_over(truth: Truth, ids: list[str]) -> Callable[[], bool]:
    query = "SELECT 1 FROM jobs WHERE job_id = ANY (%s::uuid[]) AND outcome IS NULL LIMIT 1"
    return lambda: not truth.rows(query, ids)


def test_jobs_behind_one_that_hangs_are_run_elsewhere_while_it_still_hangs(caller: Caller, truth: Truth) -> None:
    hanging, *others = submit_all(caller, [{"hang_s": 8}, *[{}] * 200])
    wait_for(all_over(truth, others), what="the others over", within_s=7)
    assert truth.one("SELECT status FROM jobs WHERE job_id = %s", hanging)["status"] == "running"
    assert set(ends(truth, others)) == {("succeeded", 1, 1)}
    caller.wait(hanging)
    assert ends(truth, [hanging]) == [("succeeded", 1, 1)]


def test_one_that_kills_its_process_spends_its_own_attempts_and_nobody_elses(caller: Caller, truth: Truth) -> None:
    ids = submit_all(caller, [*[{}] * 100, {"kill": True}, *[{}] * 100])
    killer = ids.pop(100)
    wait_for(all_over(truth, [*ids, killer]), what="all over", within_s=90)
    assert set(ends(truth, ids)) == {("succeeded", 1, 1)}
    assert ends(truth, [killer]) == [("failed", 3, 0)]
    reason = truth.one("SELECT reason_code, alone FROM jobs WHERE job_id = %s", killer)
    assert reason == {"reason_code": "worker_lost", "alone": True}


def kill_child(plane: Plane) -> None:
    """Kill a process that runs jobs."""
    children = psutil.Process(plane.pid("worker-default")).children()
    with contextlib.suppress(psutil.NoSuchProcess, IndexError):
        children[0].kill()


def kill_worker(plane: Plane) -> None:
    """Kill a whole worker."""
    worker = psutil.Process(plane.pid("worker-default"))
    for process in [*worker.children(recursive=True), worker]:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def flush_broker(plane: Plane) -> None:
    """Empty the broker."""
    found = embedded.find(home=plane.home)
    assert found is not None
    assert found.broker_url is not None
    with redis.Redis.from_url(found.broker_url) as broker:
        broker.flushall()


def kill_scheduler(plane: Plane) -> None:
    """Kill who sends bundles."""
    os.kill(plane.pid("scheduler"), signal.SIGKILL)


def restart_postgres(plane: Plane) -> None:
    """Restart the database by force: what was not waited for on disk may be forgotten."""
    embedded.restart_postgres(home=plane.home, mode="immediate")


@pytest.mark.parametrize("harm", [kill_child, kill_worker, flush_broker, kill_scheduler, restart_postgres])
def test_harm_in_the_middle_of_bundles_loses_nothing_doubles_nothing_and_costs_no_attempt(
    plane: Plane, caller: Caller, truth: Truth, harm: Callable[[Plane], None]
) -> None:
    ids = submit_all(caller, [{"hang_s": 0.002}] * MANY)
    some = "SELECT 1 FROM jobs WHERE job_id = ANY (%s::uuid[]) AND outcome IS NOT NULL LIMIT 1"
    wait_for(lambda: truth.rows(some, ids), what="the first of them over")
    harm(plane)
    wait_for(all_over(truth, ids), what="all over", within_s=90)
    assert {(outcome, won) for outcome, _, won in ends(truth, ids)} == {("succeeded", 1)}
    lost_alone = truth.rows(
        "SELECT j.job_id FROM jobs j JOIN attempts a USING (job_id) WHERE j.job_id = ANY (%s::uuid[])"
        " AND a.ending = 'worker_lost'",
        ids,
    )
    assert len(lost_alone) <= 4, "only a job that travelled by itself pays for its process"

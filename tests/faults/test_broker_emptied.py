"""Fault 2: the broker loses everything it holds."""

from __future__ import annotations

import psutil
import redis

from opsplatform import embedded
from opsplatform.plane import Plane
from tests.support.client import Caller, Truth, wait_for


def broker(plane: Plane) -> redis.Redis:
    """Return a connection to the plane's broker."""
    found = embedded.find(home=plane.home)
    assert found is not None
    assert found.broker_url is not None
    return redis.Redis.from_url(found.broker_url)


def test_every_dispatch_that_was_in_an_emptied_broker_is_sent_again_and_nothing_runs_twice(
    plane: Plane, caller: Caller, truth: Truth
) -> None:
    # Stop the workers' parents: what is dispatched then stays in the broker, which is where it gets lost.
    worker = psutil.Process(plane.pid("worker-default"))
    worker.suspend()
    try:
        jobs = [caller.submit("ops.noop")["job_id"] for _ in range(8)]
        wait_for(
            lambda: truth.rows("SELECT 1 FROM jobs WHERE status = 'dispatched' AND job_id = ANY (%s::uuid[])", jobs),
            what="some are dispatched",
        )
        broker(plane).flushall()
    finally:
        worker.resume()
    for job_id in jobs:
        job = caller.wait(job_id, within_s=60)
        assert job["outcome"] == "succeeded"
    rows = truth.rows(
        "SELECT job_id, count(*) FILTER (WHERE ending = 'succeeded') AS succeeded FROM attempts"
        " WHERE job_id = ANY (%s::uuid[]) GROUP BY job_id",
        jobs,
    )
    assert [row["succeeded"] for row in rows] == [1] * len(jobs)

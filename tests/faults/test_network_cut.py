"""Fault 4: a worker's way to the database is cut; it lives, its lease does not, and it ends when it finds out."""

from __future__ import annotations

from urllib.parse import urlsplit

import psutil

from opsplatform import embedded
from opsplatform.plane import Plane
from tests.support.client import Caller, Truth, wait_for
from tests.support.proxy import Proxy
from tests.support.worker import extra_worker


def test_a_worker_cut_off_from_the_database_is_fenced_off_and_ends_when_it_hears_of_it(
    plane: Plane, caller: Caller, truth: Truth
) -> None:
    database = urlsplit((embedded.find(home=plane.home) or embedded.Services()).database_url or "")
    own = psutil.Process(plane.pid("worker-batch"))
    with (
        Proxy(host="127.0.0.1", port=database.port or 0) as proxy,
        extra_worker(plane, name="cut", database_port=proxy.port) as worker,
    ):
        wait_for(
            lambda: truth.rows("SELECT 1 FROM processes WHERE name LIKE 'cut@%%' AND state = 'live'"), what="it lives"
        )
        own.suspend()  # so that the job comes to the other
        try:
            job_id = caller.submit("ops.sleep", {"seconds": 120}, environment="batch")["job_id"]
            first = wait_for(
                lambda: truth.rows("SELECT worker_id FROM jobs WHERE job_id = %s AND status = 'running'", job_id),
                what="it runs",
            )[0]["worker_id"]
            proxy.cut()
        finally:
            own.resume()
        wait_for(
            lambda: truth.rows(
                "SELECT 1 FROM attempts WHERE job_id = %s AND worker_id = %s AND ending = 'worker_lost'", job_id, first
            ),
            what="the lease ran out",
            within_s=25,
        )
        assert worker.is_running(), "it was to live through the cut"
        truth.execute("UPDATE jobs SET params = '{\"seconds\": 0.1}' WHERE job_id = %s", job_id)
        proxy.mend()
        _, alive = psutil.wait_procs([worker], timeout=30)
        assert not alive, "the fenced-off worker still runs"
    job = caller.wait(job_id, within_s=60)
    assert job["outcome"] == "succeeded"
    attempts = truth.rows("SELECT ending, worker_id FROM attempts WHERE job_id = %s AND ending = 'succeeded'", job_id)
    assert [row["worker_id"] == first for row in attempts] == [False]

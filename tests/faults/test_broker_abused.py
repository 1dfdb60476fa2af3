"""Whoever can write to the broker can neither end a worker nor give it orders."""

from __future__ import annotations

import redis

from opsplatform import embedded
from opsplatform.plane import Plane
from tests.support.client import Caller, wait_for

JUNK = [b"not json", b"\x80\x04\x95", b"[]", b"{}", b"null", b'{"properties": {}}', b'{"body": 1, "headers": {}}']


def test_junk_in_a_queue_ends_no_worker_and_keeps_no_job_from_running(plane: Plane, caller: Caller) -> None:
    found = embedded.find(home=plane.home)
    assert found is not None
    before = plane.processes()["worker-default"]
    with redis.Redis.from_url(found.broker_url or "") as broker:
        for junk in JUNK:
            broker.lpush("po:ops.default", junk)
        job = caller.wait(caller.submit("ops.noop")["job_id"], within_s=20)
        wait_for(lambda: broker.llen("po:ops.default") == 0, what="the queue is empty")
    assert job["outcome"] == "succeeded"
    assert plane.processes()["worker-default"] == before


def test_orders_over_the_broker_are_not_taken(plane: Plane, caller: Caller) -> None:
    from celery import Celery  # noqa: PLC0415

    found = embedded.find(home=plane.home)
    assert found is not None
    stranger = Celery("stranger", broker=found.broker_url, set_as_current=False)
    stranger.conf.broker_transport_options = {"global_keyprefix": "po:"}
    before = plane.processes()
    try:
        assert stranger.control.ping(timeout=2), "nobody hears: the test would prove nothing"
        stranger.control.rate_limit("ops.noop", "1/h")
        stranger.control.pool_shrink(3)
        stranger.control.cancel_consumer("ops.default")
        stranger.control.shutdown()
        jobs = [caller.submit("ops.noop")["job_id"] for _ in range(6)]
        for job_id in jobs:
            assert caller.wait(job_id, within_s=20)["outcome"] == "succeeded"
    finally:
        stranger.close()
    assert plane.processes() == before

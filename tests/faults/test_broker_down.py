"""Fault 1: the broker is away while jobs are submitted, stopped or frozen; they are taken, kept in order, and run."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import psutil
import pytest
import redis

from opsplatform import embedded
from opsplatform.plane import Plane
from tests.support.client import Caller, Truth, wait_for

OPEN = "SELECT opened_at, reason FROM breakers WHERE name = 'broker' AND opened_at IS NOT NULL"
Outage = Callable[[Plane], AbstractContextManager[None]]


def valkey(plane: Plane) -> psutil.Process:
    """Return the broker's process, as the services' own record names it."""
    services = json.loads((plane.home / "run" / "services.json").read_text(encoding="utf-8"))
    return psutil.Process(services["valkey"]["pid"])


@contextmanager
def stopped(plane: Plane) -> Iterator[None]:
    """Stop the broker: whoever asks is refused at once."""
    embedded.stop_valkey(home=plane.home)
    try:
        yield
    finally:
        embedded.start_valkey(home=plane.home)


@contextmanager
def frozen(plane: Plane) -> Iterator[None]:
    """Freeze the broker: whoever asks hears nothing."""
    process = valkey(plane)
    process.suspend()
    try:
        yield
    finally:
        process.resume()


def known(truth: Truth) -> dict[str, object]:
    """Wait until the plane knows that its broker is away; return since when."""
    (row,) = wait_for(lambda: truth.rows(OPEN), what="the breaker open", within_s=10)
    return row


def latency(caller: Caller) -> tuple[float, list[str]]:
    """Submit some jobs; return the median seconds it took and their ids."""
    took, ids = [], []
    for _ in range(7):
        began = time.monotonic()
        ids.append(caller.submit("ops.noop")["job_id"])
        took.append(time.monotonic() - began)
    return statistics.median(took), ids


@pytest.mark.parametrize("outage", [stopped, frozen], ids=["stopped", "frozen"])
def test_jobs_are_taken_as_deferred_and_run_in_their_order_when_it_is_back(
    plane: Plane, caller: Caller, truth: Truth, outage: Outage, request: pytest.FixtureRequest
) -> None:
    usual_s, warm = latency(caller)
    for job_id in warm:
        caller.wait(job_id)
    # One key for all: what runs is one at a time, so that the order can be seen.
    key = f"one at a time: {request.node.name}"[:128]
    running = caller.submit("ops.sleep", {"seconds": 2}, concurrency_key=key)["job_id"]
    caller.wait(running, status="running")
    before = [caller.submit("ops.noop", concurrency_key=key, priority=word)["job_id"] for word in ("low", "normal")]
    with outage(plane):
        known(truth)
        caller.wait(running)
        words = ["bulk", "normal", "critical", "normal", "high", "critical"]
        taken = [caller.submit("ops.noop", concurrency_key=key, priority=word) for word in words]
        assert {job["status"] for job in taken} == {"deferred"}
        assert {caller.job(job["job_id"])["waiting_for"] for job in taken} == {"broker_down"}
        for job_id in before:
            job = caller.job(job_id)
            assert (job["status"], job["waiting_for"]) == ("queued", "broker_down")
        away_s, more = latency(caller)
        assert away_s < usual_s + 1, f"{away_s:.3f} s a submission, {usual_s:.3f} s before"
        assert len(truth.rows("SELECT 1 FROM jobs WHERE status = 'deferred'")) == len(taken) + len(more)
    ended = [caller.wait(job_id) for job_id in [*before, *(job["job_id"] for job in taken), *more]]
    assert {(job["outcome"], job["attempt"]) for job in ended} == {("succeeded", 1)}
    keyed = [job for job in ended if job["concurrency_key"] == key]
    ranks = {word: rank for rank, word in enumerate(("critical", "high", "normal", "low", "bulk"))}
    order = sorted(keyed, key=lambda job: (ranks[job["priority"]], job["submitted_at"]))
    assert [job["job_id"] for job in sorted(keyed, key=lambda job: job["started_at"])] == [
        job["job_id"] for job in order
    ]
    wait_for(lambda: not truth.rows(OPEN), what="the breaker closed", within_s=10)
    assert caller.submit("ops.noop")["status"] == "queued"


def test_a_scheduler_that_is_killed_meanwhile_finds_the_breaker_as_it_was_left(
    plane: Plane, caller: Caller, truth: Truth
) -> None:
    with stopped(plane):
        since = known(truth)
        first = caller.submit("ops.noop")
        plane.kill("scheduler")
        second = caller.submit("ops.noop")
        wait_for(
            lambda: truth.rows(
                "SELECT 1 FROM processes WHERE role = 'scheduler' AND state = 'live' AND pid = %s",
                plane.pid("scheduler"),
            ),
            what="the new scheduler",
        )
        third = caller.submit("ops.noop")
        assert {job["status"] for job in (first, second, third)} == {"deferred"}
        assert truth.rows(OPEN) == [since]
    for job in (first, second, third):
        assert caller.wait(job["job_id"])["outcome"] == "succeeded"


def test_an_outage_is_known_without_any_traffic_and_heals_without_any(plane: Plane, truth: Truth) -> None:
    with stopped(plane):
        known(truth)
    wait_for(lambda: not truth.rows(OPEN), what="the breaker closed", within_s=10)


def test_a_broker_that_answers_and_takes_nothing_is_away_as_well(plane: Plane, caller: Caller, truth: Truth) -> None:
    found = embedded.find(home=plane.home)
    assert found is not None
    assert found.broker_url is not None
    broker = redis.Redis.from_url(found.broker_url)
    broker.config_set("maxmemory", 1)
    try:
        known(truth)
        job = caller.submit("ops.noop")
        assert job["status"] == "deferred"
    finally:
        broker.config_set("maxmemory", 0)
        broker.close()
    assert caller.wait(job["job_id"])["outcome"] == "succeeded"

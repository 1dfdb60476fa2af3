"""Webhooks of a real plane: the sender is killed in the middle of a delivery, and receivers are at their worst."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from opsplatform.plane import CHECKOUT, Plane
from tests.support.client import Caller, Truth, wait_for
from tests.support.receiver import Receiver, receiving

SCOPES = "jobs:submit jobs:read events:read webhooks:write"
OWED = "SELECT * FROM webhook_deliveries WHERE webhook_id = %s AND state NOT IN ('delivered')"


@pytest.fixture
def acme(plane: Plane) -> Iterator[Caller]:
    """Acme's module, which may make webhooks that reach this machine."""
    (plane.home / "keys" / "outbound.json").write_text(json.dumps({"acme": {"networks": ["127.0.0.0/8"]}}))
    caller = Caller(url=plane.url, home=plane.home, tenants=("acme",), scope=SCOPES)
    yield caller
    for webhook in caller.request("GET", "/operations/webhooks").json()["items"]:
        caller.request("DELETE", f"/operations/webhooks/{webhook['webhook_id']}")
    caller.close()


def hooked(acme: Caller, receiver: Receiver, *event_types: str) -> dict[str, Any]:
    asked = {"url": receiver.url, "event_types": event_types or ["operations.job.completed"]}
    answer = acme.request("POST", "/operations/webhooks", json=asked)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def test_a_sender_killed_in_the_middle_of_deliveries_loses_none(plane: Plane, acme: Caller, truth: Truth) -> None:
    go_on = threading.Event()

    def slowly(_: Any) -> tuple[int, dict[str, str], bytes]:
        go_on.wait(60)
        return 204, {}, b""

    with receiving(slowly) as receiver:
        webhook = hooked(acme, receiver)
        jobs = [acme.submit("ops.noop")["job_id"] for _ in range(5)]
        wait_for(lambda: receiver.open_now, what="a request is under way")
        plane.kill("webhooks")
        jobs += [acme.submit("ops.noop")["job_id"] for _ in range(5)]
        go_on.set()  # what the killed one asked is answered to nobody
        wait_for(
            lambda: {told.event["subject"] for told in receiver.told} >= set(jobs), what="all is told", within_s=20
        )
        wait_for(lambda: not truth.rows(OWED, webhook["webhook_id"]), what="nothing is owed any more", within_s=20)
        assert len(set(receiver.ids())) == len(jobs)
        assert len(receiver.told) > len(jobs), "what was under way was told again, under the same id"
        assert all(told.signed_by(webhook["secret"]) for told in receiver.told)


def test_bad_receivers_delay_neither_jobs_nor_good_receivers(plane: Plane, acme: Caller, truth: Truth) -> None:
    go_on = threading.Event()
    with (
        receiving(lambda _: (204 + go_on.wait(60), {}, b"")) as hanging,
        receiving((500, {}, b"")) as failing,
        receiving() as good,
    ):
        try:
            for bad in (hanging, hanging, hanging, failing, failing):
                hooked(acme, bad, "operations.*")
            hooked(acme, good)
            jobs = [acme.submit("ops.noop")["job_id"] for _ in range(20)]
            wait_for(lambda: hanging.open_now and failing.told, what="the bad ones are asked")
            for job_id in jobs:
                assert acme.wait(job_id, within_s=10)["outcome"] == "succeeded"
            wait_for(
                lambda: {told.event["subject"] for told in good.told} >= set(jobs),
                what="the good one is told",
                within_s=10,
            )
            assert truth.rows("SELECT 1 FROM webhook_deliveries WHERE state = 'sending'"), "while others still hang"
        finally:
            go_on.set()


def test_two_senders_at_once_do_no_harm_and_what_happens_during_a_death_is_told(
    plane: Plane, acme: Caller, truth: Truth
) -> None:
    environment = {**os.environ, "OPS_HOME": str(plane.home), "OPS_PROCESS": "webhooks-2"}
    second = subprocess.Popen(
        [sys.executable, "manage.py", "run_webhooks"], cwd=CHECKOUT, env=environment, stdout=subprocess.DEVNULL
    )
    try:
        with receiving() as receiver:
            webhook = hooked(acme, receiver, "operations.job.*")
            for _ in range(3):
                plane.kill("webhooks")
                acme.wait(acme.submit("ops.noop")["job_id"])
            told = (
                "SELECT event_id FROM events WHERE tenant_id = 'acme' AND type LIKE 'operations.job.%%'"
                " AND occurred_at > %s"
            )
            wanted = {str(row["event_id"]) for row in truth.rows(told, webhook["created_at"])}
            assert len(wanted) >= 6
            wait_for(lambda: set(receiver.ids()) >= wanted, what="every event is told", within_s=20)
            assert set(receiver.ids()) == wanted
    finally:
        second.terminate()
        second.wait(timeout=30)

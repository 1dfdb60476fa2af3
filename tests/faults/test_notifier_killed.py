"""Notifications of a real plane: the notifier is killed in the middle of a delivery; a job that fails is told of."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from opsplatform.plane import CHECKOUT, Plane
from tests.support.client import Caller, Truth, wait_for
from tests.support.receiver import Receiver, receiving

SCOPES = "jobs:submit jobs:read events:read notify:send notify:read"
SECRET = "whsec_" + "c2VjcmV0" * 5
OPEN = "SELECT id FROM notifications WHERE source = 'drill' AND status <> 'delivered'"


@pytest.fixture
def acme(plane: Plane) -> Iterator[Caller]:
    """Acme's module."""
    caller = Caller(url=plane.url, home=plane.home, tenants=("acme",), scope=SCOPES)
    yield caller
    caller.close()


@pytest.fixture
def channelled(plane: Plane, truth: Truth) -> Iterator[Callable[[Receiver, str], None]]:
    """Return a maker of channels with a route, which are taken away again."""
    allowed = plane.home / "keys" / "outbound.json"
    before = allowed.read_text() if allowed.exists() else "{}"
    allowed.write_text(json.dumps({**json.loads(before), "*": {"networks": ["127.0.0.0/8"]}}))

    def make(receiver: Receiver, matcher: str) -> None:
        command = [sys.executable, "manage.py", "notification_channel", "drill", "webhook", "--route", matcher]
        subprocess.run(
            command, cwd=CHECKOUT, env={**os.environ, "OPS_HOME": str(plane.home)}, check=True, capture_output=True,
            input=f"url: {receiver.url}\nsecret: {SECRET}\n".encode(),
        )  # fmt: skip

    yield make
    truth.execute("DELETE FROM notification_routes WHERE name = 'drill'")
    truth.execute("UPDATE notification_channels SET enabled = false, name = channel_id::text WHERE name = 'drill'")
    allowed.write_text(before)


def said(acme: Caller, key: str) -> str:
    body = {"summary": "A drill.", "source": "drill", "severity": "critical", "dedup_key": key}
    answer = acme.request("POST", "/operations/notify", json=body)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["notification_id"])


def told(receiver: Receiver) -> set[str]:
    with receiver.lock:
        return {item["notification_id"] for each in receiver.told for item in each.event["data"]["notifications"]}


def test_a_notifier_killed_in_the_middle_of_deliveries_loses_none(
    acme: Caller, plane: Plane, truth: Truth, channelled: Callable[[Receiver, str], None]
) -> None:
    go_on = threading.Event()

    def slowly(_: Any) -> tuple[int, dict[str, str], bytes]:
        go_on.wait(60)
        return 204, {}, b""

    with receiving(slowly) as receiver:
        channelled(receiver, "source=drill")
        try:
            ids = {said(acme, f"before-{number}") for number in range(5)}
            wait_for(lambda: receiver.open_now, what="an attempt is under way")
            plane.kill("notifier")
            ids |= {said(acme, f"after-{number}") for number in range(5)}
        finally:
            go_on.set()  # what the killed one asked is answered to nobody
        wait_for(lambda: not truth.rows(OPEN), what="everything is delivered", within_s=30)
        assert told(receiver) >= ids
        assert len(receiver.ids()) > len(set(receiver.ids())), "what was under way came again, under the same id"
        assert all(each.signed_by(SECRET) for each in receiver.told)


def test_two_notifiers_at_once_do_no_harm(
    acme: Caller, plane: Plane, truth: Truth, channelled: Callable[[Receiver, str], None]
) -> None:
    environment = {**os.environ, "OPS_HOME": str(plane.home), "OPS_PROCESS": "notifier-2"}
    second = subprocess.Popen(
        [sys.executable, "manage.py", "run_notifier"], cwd=CHECKOUT, env=environment, stdout=subprocess.DEVNULL
    )
    try:
        with receiving() as receiver:
            channelled(receiver, "source=drill")
            ids = set()
            for number in range(3):
                plane.kill("notifier")
                ids.add(said(acme, f"two-{number}"))
            wait_for(lambda: not truth.rows(OPEN), what="everything is delivered", within_s=30)
            assert told(receiver) >= ids
    finally:
        second.terminate()
        second.wait(timeout=30)


def test_a_job_that_fails_for_good_is_in_the_inbox_of_a_live_plane(acme: Caller, truth: Truth) -> None:
    job_id = acme.submit("ops.fail", {"times": 9, "permanent": True})["job_id"]
    found = (
        "SELECT n.status, i.audience FROM notifications n JOIN inbox_items i ON i.notification_id = n.id"
        " WHERE n.details->>'job_id' = %s ORDER BY audience"
    )
    wait_for(lambda: truth.rows(found, job_id), what="it is told of", within_s=20)
    assert truth.rows(found, job_id) == [
        {"status": "delivered", "audience": "operators"},
        {"status": "delivered", "audience": "tenant"},
    ]

"""A module calls back on a real plane: its answer is fetched at once, whether it calls after its 202 or before."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from opsplatform.plane import Plane
from tests.support.client import Caller, wait_for
from tests.support.receiver import Receiver, Told, receiving

SECRET = "whsec_" + base64.b64encode(b"a key of the module's").decode()
LATER = (202, {"Retry-After": "600"}, b"")


class Module:
    """A module that needs time: it answers 202, and calls back when it is done; `hasty`: before it has answered."""

    def __init__(self, plane: Plane, *, hasty: bool) -> None:
        self._plane, self._hasty = plane, hasty
        self.done = False

    def answer(self, told: Told) -> tuple[int, dict[str, str], bytes]:
        if self.done:
            return 200, {}, b'{"rows": 3}'
        if self._hasty:
            self.finish(told)
        return LATER

    def finish(self, told: Told) -> None:
        self.done = True
        answer = httpx.post(self._plane.url + told.event["callback"], content=b"done")
        assert answer.status_code == 202, answer.text


@pytest.fixture
def outside(plane: Plane) -> Iterator[Any]:
    """Return a word to the operator: let acme's jobs call a receiver."""
    grants, secrets = plane.home / "keys" / "outbound.json", plane.home / "keys" / "secrets.json"

    def allow(receiver: Receiver) -> None:
        host = receiver.url.split("/")[2]
        grants.write_text(json.dumps({"acme": {"hosts": [host], "networks": ["127.0.0.0/8"]}}))
        secrets.write_text(json.dumps({"acme": {"module": SECRET}}))

    yield allow
    grants.unlink(missing_ok=True)
    secrets.unlink(missing_ok=True)


@pytest.mark.parametrize("hasty", [False, True], ids=["after its 202", "before its 202"])
def test_a_callback_brings_the_answer_at_once_and_no_log_tells_its_token(
    plane: Plane, caller: Caller, outside: Any, hasty: bool
) -> None:
    module = Module(plane, hasty=hasty)
    with receiving(module.answer) as receiver:
        outside(receiver)
        job_id = caller.submit("http.call", {"url": receiver.url, "secret": "module"})["job_id"]
        if not hasty:
            caller.wait(job_id, status="retrying")
            module.finish(receiver.told[0])
        job = caller.wait(job_id, within_s=30)
    assert (job["status"], job["attempt"]) == ("succeeded", 2)
    assert [each["name"] for each in job["result"]["artifacts"]] == ["answer"]
    assert all(told.signed_by(SECRET) for told in receiver.told)
    gone = httpx.post(plane.url + receiver.told[0].event["callback"])
    assert (gone.status_code, gone.json()["code"]) == (410, "job_over")
    token = receiver.told[0].event["callback"].rpartition("/")[2]
    assert gone.json()["instance"] == "/operations/callbacks/***"
    logs = {path: path.read_text(encoding="utf-8") for path in (plane.home / "logs").iterdir()}
    assert any('"path": "/operations/callbacks/***"' in text for text in logs.values())
    assert [path.name for path, text in logs.items() if token in text] == [], "the token is told in no log"
    wait_for(lambda: len(receiver.ids()) == 2, what="the second call was the last")

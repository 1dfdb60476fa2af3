"""Whoever can write to the broker runs nothing by it: forged, repeated, pickled and compressed, to real workers."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import redis

from opsplatform import embedded
from opsplatform.plane import Plane
from tests.support.client import Caller, Truth, wait_for
from workers.message import Message

TASK = "ops.noop"
# As the scheduler dispatches, but for the message, which is the test's.
OFFER = """
UPDATE jobs SET status = 'dispatched', fence = 1, dispatched_at = clock_timestamp(), bundle_id = %s, bundle_size = 1,
       due_at = NULL, queued_at = clock_timestamp() WHERE job_id = %s AND status = 'scheduled'
"""


class Touch:
    """What unpickles into a file: proof that a pickle was read."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mknod, (self._path,)


class Stranger:
    """Somebody who can write to the broker, with Celery's own means."""

    def __init__(self, url: str) -> None:
        from celery import Celery  # noqa: PLC0415 - importing it sets a default that other tests must not inherit

        self._app = Celery("stranger", broker=url, set_as_current=False)
        self._app.conf.broker_transport_options = {"global_keyprefix": "po:"}
        self._broker = redis.Redis.from_url(url)

    def send(self, args: Any, **how: Any) -> None:
        self._app.send_task(TASK, args=args, queue="ops.default", ignore_result=True, **how)

    def taken(self) -> bool:
        return bool(self._broker.llen("po:ops.default") == 0)

    def close(self) -> None:
        self._app.close()
        self._broker.close()


@pytest.fixture
def stranger(plane: Plane) -> Iterator[Stranger]:
    """A stranger at the plane's broker."""
    found = embedded.find(home=plane.home)
    assert found is not None
    made = Stranger(found.broker_url or "")
    yield made
    made.close()


@pytest.fixture
def unharmed(plane: Plane, caller: Caller, stranger: Stranger) -> Iterator[None]:
    """Afterwards the queue is empty, the worker is the one it was, and runs what is submitted."""
    before = plane.processes()["worker-default"]
    yield
    wait_for(stranger.taken, what="the stranger's message is taken")
    assert caller.wait(caller.submit(TASK)["job_id"], within_s=20)["outcome"] == "succeeded"
    assert plane.processes()["worker-default"] == before


@pytest.mark.usefixtures("unharmed")
def test_a_pickle_is_not_read(stranger: Stranger, tmp_path: Path) -> None:
    by_hand, by_worker = tmp_path / "by-hand", tmp_path / "by-worker"
    pickle.loads(pickle.dumps(Touch(by_hand)))  # noqa: S301 - the attack itself
    assert by_hand.exists(), "the attack must work where a pickle is read"
    stranger.send([Touch(by_worker)], serializer="pickle")
    wait_for(stranger.taken, what="the message is taken")
    assert not by_worker.exists()


@pytest.mark.usefixtures("unharmed")
def test_a_compressed_message_is_not_unpacked(stranger: Stranger, plane: Plane) -> None:
    log = plane.home / "logs" / "worker-default.log"
    before = told(log, "message_malformed")
    stranger.send(["x" * 50_000_000], compression="zlib")
    wait_for(lambda: told(log, "message_malformed") > before, what="it is dropped and told")


@pytest.mark.usefixtures("unharmed")
def test_a_forged_message_runs_nothing_and_the_genuine_one_runs_it_once(
    stranger: Stranger, plane: Plane, caller: Caller, truth: Truth
) -> None:
    """The job is on offer, so that nothing but the MAC stands between the messages and its run."""
    job_id = caller.submit(TASK, run_at="2099-01-01T00:00:00Z")["job_id"]
    log, key = plane.home / "logs" / "worker-default.log", (plane.home / "keys" / "messages.key").read_bytes()
    forged_before, stale_before = told(log, "message_forged"), told(log, "message_stale")
    bundle = uuid4()
    truth.execute(OFFER, bundle, job_id)
    genuine = Message(bundle, ((UUID(job_id), 1),))
    for args in (
        genuine.args(task=TASK, key=b"x" * 32),
        genuine.args(task="ops.sleep", key=key),
        (*genuine.args(task=TASK, key=key)[:2], ""),
    ):
        stranger.send(args)
    wait_for(lambda: told(log, "message_forged") >= forged_before + 3, what="all are told as forged", within_s=20)
    assert truth.one("SELECT attempt, status FROM jobs WHERE job_id = %s", job_id) == {
        "attempt": 0,
        "status": "dispatched",
    }
    for _ in range(3):
        stranger.send(genuine.args(task=TASK, key=key))
    assert caller.wait(job_id)["outcome"] == "succeeded"
    wait_for(lambda: told(log, "message_stale") >= stale_before + 2, what="the repeated ones are told as stale")
    assert len(truth.rows("SELECT 1 FROM attempts WHERE job_id = %s", job_id)) == 1


def told(log: Path, word: str) -> int:
    return log.read_text(encoding="utf-8").count(word)

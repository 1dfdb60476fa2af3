"""The worker's parent process: when a child dies it hands back what the plane dispatched, and believes no forgery."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from apps.jobs.operations.run import Claimed
from apps.tenancy import keys
from tests.integration.conftest import Control, Look
from tests.support.work import admitted, claimed, only, worker
from workers.heart import Heart
from workers.message import Message
from workers.worker import Worker

TASK = SimpleNamespace(name="ops.noop")


@pytest.fixture
def parent() -> Worker:
    """A worker's parent as it is once it has registered."""
    made = Worker()
    made._heart = Heart(role="worker", name="worker-default", environment="default", capacity=1)
    return made


def message_of(run: Claimed, *, key: bytes) -> list[Any]:
    """Return the arguments that the run's message had, as they come over the wire."""
    assert run.bundle_id is not None
    message = Message(run.bundle_id, ((run.job_id, run.fence),))
    return list(json.loads(json.dumps(message.args(task="ops.noop", key=key))))


def status(look: Look, job_id: UUID) -> str:
    return str(only(look("SELECT status FROM jobs WHERE job_id = %s", job_id))["status"])


def test_a_child_that_died_under_a_dispatch_gives_its_job_back_at_once(
    look: Look, control: Control, parent: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPS_POOL_CHILD", raising=False)
    job_id = admitted()
    with control():
        run = claimed(job_id, worker_id=worker())
        parent.on_task_failure(sender=TASK, args=message_of(run, key=keys.message_key()))
    assert status(look, job_id) == "retrying"


@pytest.mark.parametrize("how", ["no MAC", "another's MAC", "no dispatch at all"])
def test_a_forged_message_that_is_sure_to_die_ends_nobodys_job(
    look: Look, control: Control, parent: Worker, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.delenv("OPS_POOL_CHILD", raising=False)
    job_id = admitted()
    with control():
        run = claimed(job_id, worker_id=worker())
        signed = message_of(run, key=b"x" * 32)
        args = {"no MAC": [*signed[:2], ""], "another's MAC": signed, "no dispatch at all": ["x"]}[how]
        parent.on_task_failure(sender=TASK, args=args)
    assert status(look, job_id) == "running"


def test_a_child_itself_hands_nothing_back(
    look: Look, control: Control, parent: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPS_POOL_CHILD", "1")
    job_id = admitted()
    with control():
        run = claimed(job_id, worker_id=worker())
        parent.on_task_failure(sender=TASK, args=message_of(run, key=keys.message_key()))
    assert status(look, job_id) == "running"

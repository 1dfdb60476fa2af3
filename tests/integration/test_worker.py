"""The worker's parent process: when a child dies it hands back what the plane dispatched, and believes no forgery."""

from __future__ import annotations

from types import SimpleNamespace
from uuid import UUID

import pytest

from apps.tenancy import keys
from tests.integration.conftest import Control, Look
from tests.support.work import admitted, claimed, only, worker
from workers.heart import Heart
from workers.message import sign
from workers.worker import Worker

TASK = SimpleNamespace(name="ops.noop")


@pytest.fixture
def parent() -> Worker:
    """A worker's parent as it is once it has registered."""
    made = Worker()
    made._heart = Heart(role="worker", name="worker-default", environment="default", capacity=1)
    return made


def status(look: Look, job_id: UUID) -> str:
    return str(only(look("SELECT status FROM jobs WHERE job_id = %s", job_id))["status"])


def test_a_child_that_died_under_a_dispatch_gives_its_job_back_at_once(
    look: Look, control: Control, parent: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPS_POOL_CHILD", raising=False)
    job_id = admitted()
    with control():
        run = claimed(job_id, worker_id=worker())
        mac = sign(task="ops.noop", job_id=job_id, fence=run.fence, key=keys.message_key())
        parent.on_task_failure(sender=TASK, args=[str(job_id), run.fence, mac])
    assert status(look, job_id) == "retrying"


@pytest.mark.parametrize("how", ["no MAC", "another's MAC", "no dispatch at all"])
def test_a_forged_message_that_is_sure_to_die_ends_nobodys_job(
    look: Look, control: Control, parent: Worker, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.delenv("OPS_POOL_CHILD", raising=False)
    job_id = admitted()
    with control():
        run = claimed(job_id, worker_id=worker())
        mac = sign(task="ops.noop", job_id=job_id, fence=run.fence, key=b"x" * 32) if how == "another's MAC" else ""
        args = ["x"] if how == "no dispatch at all" else [str(job_id), run.fence, mac]
        parent.on_task_failure(sender=TASK, args=args)
    assert status(look, job_id) == "running"


def test_a_child_itself_hands_nothing_back(
    look: Look, control: Control, parent: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPS_POOL_CHILD", "1")
    job_id = admitted()
    with control():
        run = claimed(job_id, worker_id=worker())
        mac = sign(task="ops.noop", job_id=job_id, fence=run.fence, key=keys.message_key())
        parent.on_task_failure(sender=TASK, args=[str(job_id), run.fence, mac])
    assert status(look, job_id) == "running"

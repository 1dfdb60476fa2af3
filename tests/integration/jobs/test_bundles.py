"""Bundles in the database: claimed in one go, each job under its own fence, and lost at no attempt's cost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from apps.jobs import flight, queries
from apps.jobs.bundling import Flying
from apps.jobs.lifecycle import Ending
from apps.jobs.operations import end, recover
from apps.jobs.operations.dispatch import Dispatched, dispatch
from apps.jobs.operations.run import Claimed, claim, report
from tests.integration.conftest import Change, Control, Look
from tests.support.work import AT_ONCE, PID, admitted, claimed, dispatched, ended, finish, naming, only, worker
from workers.policies import retry_of


def job(look: Look, job_id: UUID) -> dict[str, Any]:
    return dict(only(look("SELECT * FROM jobs WHERE job_id = %s", job_id)))


def claim_all(made: list[Dispatched], *, worker_id: UUID) -> list[Claimed]:
    dispatches = [(each.job_id, each.fence) for each in made]
    return list(claim(bundle_id=made[0].bundle_id, dispatches=dispatches, worker_id=worker_id, pid=PID))


def test_a_bundle_is_dispatched_under_one_id_and_claimed_in_its_order(look: Look, control: Control) -> None:
    ids = [admitted() for _ in range(5)]
    asked = [ids[3], ids[0], ids[4], ids[1], ids[2]]
    with control():
        (made,) = dispatch([asked])
        assert len({each.bundle_id for each in made}) == 1
        assert [each.job_id for each in claim_all(made, worker_id=worker())] == asked
        assert flight.flying(queries.holding()) == {"default": [Flying("ops.noop", frozenset({"acme"}))]}
    assert {row["bundle_size"] for row in look("SELECT bundle_size FROM jobs")} == {5}


def test_a_claim_takes_what_is_still_on_offer(look: Look, control: Control, change: Change) -> None:
    ids = [admitted() for _ in range(4)]
    with control():
        (made,) = dispatch([ids])
        recover.unpublished([(ids[0], made[0].fence)], retry_of=retry_of)
    change("UPDATE jobs SET cancel_requested_at = now() WHERE job_id = %s", ids[2])
    with control():
        found = claim_all(made, worker_id=worker())
        assert claim_all(made, worker_id=worker()) == []
    assert [each.job_id for each in found] == [ids[1], ids[3]]
    assert [job(look, each)["status"] for each in ids] == ["queued", "running", "dispatched", "running"]


def test_ends_are_written_together_and_each_is_its_own(look: Look, control: Control) -> None:
    ids = [admitted() for _ in range(3)]
    with control():
        (made,) = dispatch([ids])
        first, second, third = claim_all(made, worker_id=worker())
        assert finish(third), "one that was ended by somebody else meanwhile"
        ends = [
            ended(first, Ending.SUCCEEDED),
            ended(second, Ending.FAILED, error={"class": "E", "code": "e"}, permanent=True),
            ended(third, Ending.FAILED),
        ]
        assert end.write(ends) == {(ids[0], 1), (ids[1], 1)}
    assert [job(look, each)["status"] for each in ids] == ["succeeded", "failed", "succeeded"]
    assert only(look("SELECT late_ending FROM attempts WHERE late_at IS NOT NULL"))["late_ending"] == "failed"


def test_a_dispatch_that_postgresql_forgot_is_told_from_the_one_with_its_fence(
    look: Look, control: Control, change: Change
) -> None:
    job_id = admitted()
    with control():
        old = claimed(job_id, worker_id=worker())
    # A crash of PostgreSQL took dispatch and claim, which were not waited for on disk.
    change("UPDATE jobs SET status = 'queued', fence = 0, attempt = 0, bundle_id = NULL, started_at = NULL")
    with control():
        new = claimed(job_id, worker_id=worker())
        assert new.fence == old.fence
        assert report(**naming(old), progress={"done": 9}, first_line=1, lines=[]).fenced
        assert not finish(old)
        assert job(look, job_id)["status"] == "running"
        assert finish(new)
    row = job(look, job_id)
    assert (row["status"], row["attempt"], row["progress"]) == ("succeeded", 1, None)


def test_a_message_of_a_forgotten_dispatch_claims_nothing(look: Look, control: Control, change: Change) -> None:
    job_id = admitted()
    with control():
        old = dispatched(job_id)
    change("UPDATE jobs SET status = 'queued', fence = 0, bundle_id = NULL")
    with control():
        new = dispatched(job_id)
        assert (new.fence, new.bundle_id != old.bundle_id) == (old.fence, True)
        assert claim_all([old], worker_id=worker()) == []
    assert job(look, job_id)["status"] == "dispatched"


LOSSES: dict[str, Callable[[list[Dispatched], UUID], set[tuple[UUID, int]]]] = {
    "its process died": lambda made, _: recover.hand_back_of_dead_child(
        [(each.job_id, each.fence) for each in made], stopping=False, retry_of=retry_of
    ),
    "nobody runs it": lambda _, worker_id: recover.hand_back_of_nobody(
        worker_id=worker_id, running=[], retry_of=retry_of
    ),
    "its worker is gone": lambda _, __: recover.hand_back_lost(retry_of=retry_of),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_a_lost_bundle_costs_no_attempt_and_its_jobs_travel_alone(
    look: Look, control: Control, change: Change, loss: str
) -> None:
    ids = [admitted() for _ in range(3)]
    with control():
        mine = worker()
        (made,) = dispatch([ids])
        runs = claim_all(made, worker_id=mine)
        finish(runs[0])
    change("UPDATE jobs SET started_at = clock_timestamp() - interval '11 s' WHERE status = 'running'")
    if loss == "its worker is gone":
        change("UPDATE processes SET state = 'gone'")
    with control():
        assert len(LOSSES[loss](made, mine)) == 2
    rows = [job(look, each) for each in ids]
    assert [(row["status"], row["attempt"], row["alone"]) for row in rows] == [
        ("succeeded", 1, False),
        ("queued", 0, True),
        ("queued", 0, True),
    ]


def test_a_job_that_is_lost_by_itself_pays_for_it(look: Look, control: Control) -> None:
    job_id = admitted()
    with control():
        run = claimed(job_id, worker_id=worker())
        recover.hand_back_of_dead_child([(job_id, run.fence)], stopping=False, retry_of=lambda _: AT_ONCE)
    row = job(look, job_id)
    assert (row["status"], row["attempt"], row["alone"]) == ("retrying", 1, False)


def test_what_nine_of_ten_took_is_the_pace_of_a_type(control: Control, change: Change) -> None:
    ids = [admitted() for _ in range(10)]
    with control():
        mine = worker()
        for each in ids:
            finish(claimed(each, worker_id=mine))
    change("UPDATE attempts SET started_at = finished_at - interval '10 ms'")
    change("UPDATE attempts SET started_at = finished_at - interval '9 s' WHERE job_id = %s", ids[0])
    with control():
        assert flight.paces() == {"ops.noop": pytest.approx(0.01)}

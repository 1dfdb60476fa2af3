"""Steps become jobs, and what becomes of the jobs becomes the steps': both rows together, or neither."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from apps.core.authzen import DecisionPointAwayError
from apps.jobs import points
from apps.jobs.lifecycle import Ending
from apps.jobs.operations import control as job_control
from apps.jobs.operations.ruling import DecisionPoints
from apps.migrations.lifecycle import StepState
from apps.migrations.operations import asking, moving, steps
from apps.migrations.operations.writing import ChangedMeanwhileError
from apps.tenancy.context import in_tenant
from tests.integration.conftest import Change, Control, Look
from tests.support.campaigning import at_once, definition, ended, killed_before_commit, step
from tests.support.database import InRole
from tests.support.work import claimed, worker


def job(look: Look, job_id: UUID | None) -> dict[str, Any]:
    (row,) = look("SELECT * FROM jobs WHERE job_id = %s", job_id)
    return row


# beginning


def test_a_step_and_its_job_appear_together_in_the_targets_name(begun: Any, look: Look) -> None:
    mine = begun(step("add", params={"for": "${target}"}, job_type="ops.noop", timeout_s=77))
    mine.campaign.definition = definition(step("add", timeout_s=77))
    made = mine.begin()
    assert (made.state, made.direction, made.run, made.error_code) == ("running", "up", 1, None)
    row = job(look, made.job_id)
    assert (row["tenant_id"], row["type"], row["submitted_by"], row["trigger"]) == ("acme", "ops.noop", "ada", "system")
    assert (row["status"], row["timeout_s"]) == ("queued", 77)
    assert row["concurrency_key"] == f"migration:{made.target_id}"


def test_a_begin_that_is_killed_leaves_neither_job_nor_step_and_is_done_again(
    begun: Any, look: Look, in_role: InRole
) -> None:
    mine = begun()
    step_id = mine.campaign.step("acme", "add").step_id
    with in_role("control"), killed_before_commit():
        assert steps.begin(step_id, direction="up", definition=mine.campaign.definition) is not None
    assert look("SELECT 1 FROM jobs") == []
    assert look("SELECT 1 FROM events WHERE type LIKE 'operations.job.%%'") == []
    assert mine.campaign.states()["acme"] == "waiting pending pending pending"
    assert mine.begin().run == 1
    assert len(look("SELECT 1 FROM jobs")) == 1


def test_a_step_is_begun_once_however_often_and_by_how_many_it_is_decided(
    begun: Any, look: Look, in_role: InRole
) -> None:
    mine = begun()
    step_id = mine.campaign.step("acme", "add").step_id
    with in_role("control"):
        found = at_once(
            *[lambda: steps.begin(step_id, direction="up", definition=mine.campaign.definition) for _ in range(4)]
        )
    assert not [each for each in found if isinstance(each, Exception)], found
    assert len([each for each in found if each is not None]) == 1
    mine.begin()
    assert len(look("SELECT 1 FROM jobs")) == 1
    assert mine.campaign.step("acme", "add").run == 1


def test_a_step_that_is_done_is_not_begun_upwards_again_by_a_look_from_before(begun: Any, look: Look) -> None:
    mine = begun()
    mine.put("add", state=StepState.DONE, run=1)
    assert mine.begin().state == "done"
    assert look("SELECT 1 FROM jobs") == []


@pytest.mark.parametrize("asked", [asking.pause, asking.abort, asking.revert])
def test_nothing_is_submitted_upwards_once_a_person_stopped_it_though_a_look_decided_so_before(
    begun: Any, look: Look, asked: Any
) -> None:
    mine = begun()
    mine.campaign.ask(asked)
    with pytest.raises(ChangedMeanwhileError):
        mine.begin()
    assert look("SELECT 1 FROM jobs") == []
    assert mine.campaign.step("acme", "add").state == "pending"


def test_nothing_is_taken_back_while_it_is_paused(begun: Any, look: Look) -> None:
    mine = begun()
    mine.put("add", state=StepState.DONE, run=1)
    mine.campaign.ask(asking.pause)
    with pytest.raises(ChangedMeanwhileError):
        mine.begin(direction="down")
    assert look("SELECT 1 FROM jobs") == []


def test_a_contract_step_is_not_submitted_before_the_point_of_no_return_is_written(begun: Any, look: Look) -> None:
    mine = begun()
    with pytest.raises(ChangedMeanwhileError):
        mine.begin("drop")
    assert look("SELECT 1 FROM jobs") == []
    mine.campaign.by_itself(moving.contract)
    assert mine.begin("drop").state == "running"


def test_a_pause_and_a_submission_at_once_leave_no_job_that_the_next_look_does_not_know(
    begun: Any, look: Look, control: Control, in_role: InRole
) -> None:
    mine = begun()
    campaign, step_id = mine.campaign, mine.campaign.step("acme", "add").step_id

    def person() -> Any:
        with in_tenant("acme"):
            return asking.pause(migration_id=campaign.id, by="grace")

    with in_role("control"):
        found = at_once(person, lambda: steps.begin(step_id, direction="up", definition=campaign.definition))
    assert not isinstance(found[0], Exception), found
    jobs = look("SELECT 1 FROM jobs")
    assert len(jobs) == (campaign.step("acme", "add").state == "running")
    assert isinstance(found[1], ChangedMeanwhileError) is (not jobs)


# ending


@pytest.mark.parametrize(
    ("direction", "ending", "state"),
    [
        ("up", Ending.SUCCEEDED, "done"),
        ("down", Ending.SUCCEEDED, "reverted"),
        ("up", Ending.FAILED, "failed"),
        ("down", Ending.FAILED, "failed"),
        ("up", Ending.TIMED_OUT, "failed"),
    ],
)
def test_how_a_job_ends_is_how_its_step_stands(
    begun: Any, control: Control, direction: str, ending: Ending, state: str
) -> None:
    mine = begun()
    if direction == "down":
        mine.put("add", state=StepState.DONE, run=1)
    job_id = mine.begin(direction=direction).job_id
    mine.look()
    assert mine.campaign.step("acme", "add").state == "running"
    error = {"class": "X", "code": "boom", "message": "it broke", "location": "a.py:1"}
    with control():
        ended(job_id, ending, error=error, reason_code="boom")
    for _ in range(2):
        mine.look()
    found = mine.campaign.step("acme", "add")
    assert (found.state, found.direction) == (state, direction)
    assert found.finished_at is not None
    assert (found.error_code, found.error) == (("boom", "it broke") if state == "failed" else (None, None))


@pytest.mark.parametrize(("direction", "state"), [("up", "pending"), ("down", "done")])
def test_a_job_that_was_stopped_before_it_ran_leaves_its_step_to_be_gone_on_with(
    begun: Any, look: Look, direction: str, state: str
) -> None:
    mine = begun()
    if direction == "down":
        mine.put("add", state=StepState.DONE, run=1)
    job_id = mine.begin(direction=direction).job_id
    assert mine.stop().state == "stopping"
    assert job(look, job_id)["outcome"] == "cancelled"
    mine.look()
    found = mine.campaign.step("acme", "add")
    assert (found.state, found.error_code, found.error) == (state, None, None)
    again = mine.begin(direction=direction)
    assert (again.state, again.run) == ("running", 3 if direction == "down" else 2)
    assert again.job_id != job_id


def test_a_job_that_runs_is_asked_to_stop_and_what_it_still_finished_is_done(
    begun: Any, look: Look, control: Control
) -> None:
    from tests.support.work import finish  # noqa: PLC0415 - beside its use

    mine = begun()
    job_id = mine.begin().job_id
    with control():
        run = claimed(job_id, worker_id=worker())
    for _ in range(2):
        assert mine.stop().state == "stopping"
    assert job(look, job_id)["cancel_requested_by"] == "plane"
    mine.look()
    assert mine.campaign.step("acme", "add").state == "stopping"
    with control():
        assert finish(run)
    mine.look()
    assert mine.campaign.step("acme", "add").state == "done"


def test_a_stop_that_comes_too_late_finds_the_job_over_and_the_next_look_says_how(begun: Any, control: Control) -> None:
    mine = begun()
    job_id = mine.begin().job_id
    with control():
        ended(job_id)
    assert mine.stop().state == "stopping"
    mine.look()
    assert mine.campaign.step("acme", "add").state == "done"


def test_a_job_that_somebody_else_cancelled_is_a_failure_of_its_step(begun: Any) -> None:
    mine = begun()
    job_id = mine.begin().job_id
    with in_tenant("acme"):
        job_control.cancel(job_id=job_id, by="eve")
    mine.look()
    found = mine.campaign.step("acme", "add")
    assert (found.state, found.error_code) == ("failed", "cancelled")


# refusals


class _Away:
    def evaluate(self, question: Any) -> Any:
        raise DecisionPointAwayError(point="Governance", retry_after_s=1)


def test_while_a_decision_point_is_away_nothing_is_written_and_it_is_asked_again(begun: Any, look: Look) -> None:
    mine = begun()
    there = points.in_force()
    points.install(DecisionPoints(governance=_Away(), subscription=there.subscription))
    try:
        with pytest.raises(DecisionPointAwayError):
            mine.begin()
    finally:
        points.install(there)
    assert look("SELECT 1 FROM jobs") == []
    assert mine.campaign.step("acme", "add").state == "pending"
    assert mine.begin().state == "running"


def test_a_limit_lets_a_step_wait_as_long_as_it_says(begun: Any, change: Change, look: Look) -> None:
    mine = begun()
    change("UPDATE plans SET backlog_cap = 0")
    found = mine.begin()
    assert (found.state, found.run, found.job_id, found.error_code) == ("pending", 0, None, "backlog_full")
    assert found.not_before is not None
    (seen, *_) = mine.campaign.view().targets[0].steps
    assert seen.due is False
    change("UPDATE migration_steps SET not_before = clock_timestamp() - interval '1 s'")
    (seen, *_) = mine.campaign.view().targets[0].steps
    assert seen.due is True
    change("UPDATE plans SET backlog_cap = 100")
    assert (mine.begin().state, mine.campaign.step("acme", "add").not_before) == ("running", None)


@pytest.mark.parametrize("direction", ["up", "down"])
def test_a_refusal_that_waiting_does_not_cure_fails_the_step_in_its_direction(
    begun: Any, change: Change, direction: str
) -> None:
    mine = begun()
    if direction == "down":
        mine.put("add", state=StepState.DONE, run=1)
    change("UPDATE plans SET job_types = '{nothing.*}'")
    found = mine.begin(direction=direction)
    assert (found.state, found.direction, found.job_id) == ("failed", direction, None)
    assert found.error_code == "not_entitled"
    assert found.error


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"job_type": "crm.gone"}, "no job type is called 'crm.gone'"),
        ({"params": {"rows": 3}}, "params of ops.noop"),
        ({"job_type": "ops.drill"}, "no job type is called"),
    ],
)
def test_a_job_that_cannot_be_made_fails_its_step_instead_of_the_migrator(
    begun: Any, look: Look, changes: dict[str, Any], words: str
) -> None:
    mine = begun(step("add", **changes))
    found = mine.begin()
    assert (found.state, found.error_code) == ("failed", "job_not_taken")
    assert found.error is not None
    assert words in found.error
    assert look("SELECT 1 FROM jobs") == []


# skipping


def test_a_step_with_nothing_to_take_back_is_skipped_unless_it_runs(begun: Any) -> None:
    mine = begun()
    mine.put("add", state=StepState.DONE, run=1)
    step_id = mine.campaign.step("acme", "add").step_id
    mine.campaign.by_itself(steps.skip, step_id)
    found = mine.campaign.step("acme", "add")
    assert (found.state, found.direction) == ("reverted", "down")
    for state in (StepState.RUNNING, StepState.STOPPING):
        mine.put("add", state=state)
        mine.campaign.by_itself(steps.skip, step_id)
        assert mine.campaign.step("acme", "add").state == state

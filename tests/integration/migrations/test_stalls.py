"""How far steps came, and what follows where one comes no further: by its rate, never by its age."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from apps.migrations.definition import OnFailure, Stall
from apps.migrations.lifecycle import StepState
from apps.migrations.operations import asking, moving, steps
from tests.integration.conftest import Change, Control, Look
from tests.integration.migrations.conftest import Proven, Told
from tests.support.work import claimed, dispatched, worker


def _at_work(mine: Any, control: Control, name: str = "add") -> UUID:
    """Begin a step and have its job run; return the job."""
    job_id = mine.begin(name).job_id
    with control():
        claimed(job_id, worker_id=worker())
    return UUID(str(job_id))


def test_how_far_a_job_came_is_how_far_its_step_and_all_came(begun: Any, change: Change, control: Control) -> None:
    mine = begun()
    job_id = _at_work(mine, control)
    change("""UPDATE jobs SET progress = '{"done": 50, "total": 200, "message": "4711"}' WHERE job_id = %s""", job_id)
    mine.look()
    found = mine.campaign.step("acme", "add")
    assert (found.done, found.total, found.cursor) == (50, 200, "4711")
    assert mine.campaign.row().progress == pytest.approx(0.25 / 6)
    version = mine.campaign.row().version
    mine.look()
    assert mine.campaign.row().version == version, "how far it came is no transition"


def stalls(mine: Any) -> bool:
    """Ask once whether anything stalled."""
    return bool(mine.campaign.by_itself(steps.stalled, definition=mine.campaign.definition))


AGED = "UPDATE migration_steps SET mark_at = mark_at - interval '1 h' WHERE mark_at IS NOT NULL"


def test_a_step_that_comes_no_further_pauses_its_campaign_and_is_told(
    begun: Any, change: Change, control: Control, told: Told, proven: Proven, look: Look
) -> None:
    mine = begun()
    job_id = _at_work(mine, control)
    assert not stalls(mine)
    assert not stalls(mine)
    change(AGED)
    assert stalls(mine)
    assert not stalls(mine)
    row = mine.campaign.row()
    assert (row.status, row.reason_code) == ("paused", "stalled")
    assert told(mine.campaign)[-2:] == ["stalled", "paused"]
    (event,) = look("SELECT data FROM events WHERE type = 'operations.migration.stalled'")
    assert (event["data"]["target"], event["data"]["step"], event["data"]["job_id"]) == ("acme", "add", str(job_id))
    assert proven(mine.campaign)[-1]["facts"]["step"] == "add"


def test_a_step_that_came_on_has_not_stalled_however_long_ago_it_began(
    begun: Any, change: Change, control: Control
) -> None:
    mine = begun()
    job_id = _at_work(mine, control)
    stalls(mine)
    for done in (1, 2, 3):
        change(AGED)
        text = f'{{"done": {done}, "total": 9}}'
        change("UPDATE jobs SET progress = %s WHERE job_id = %s", text, job_id)
        mine.look()
        assert not stalls(mine)
    assert mine.campaign.step("acme", "add").mark_done == 3


@pytest.mark.parametrize(("then", "status"), [(OnFailure.REVERT, "reverting"), (OnFailure.REVERT_WAVE, "reverting")])
def test_a_stall_brings_back_where_its_definition_says_so(
    begun: Any, change: Change, control: Control, then: OnFailure, status: str
) -> None:
    mine = begun(stall=Stall(within_s=60, then=then))
    _at_work(mine, control)
    stalls(mine)
    change(AGED)
    assert stalls(mine)
    row = mine.campaign.row()
    assert (row.status, row.reverting_wave) == (status, 0 if then is OnFailure.REVERT_WAVE else None)


def test_no_mark_grows_old_while_the_campaign_is_paused(begun: Any, change: Change, control: Control) -> None:
    mine = begun()
    _at_work(mine, control)
    stalls(mine)
    mine.campaign.ask(asking.pause)
    change(AGED)
    assert not stalls(mine)
    mine.campaign.ask(asking.resume)
    mine.campaign.by_itself(moving.carry_out)
    assert not stalls(mine), "it has its whole time again"
    change(AGED)
    assert stalls(mine)


def test_no_mark_grows_old_while_the_job_waits_for_another_attempt(
    begun: Any, change: Change, control: Control
) -> None:
    mine = begun()
    job_id = _at_work(mine, control)
    stalls(mine)
    change(AGED)
    change("UPDATE jobs SET status = 'queued' WHERE job_id = %s", job_id)
    mine.look()
    assert not stalls(mine)
    change("UPDATE jobs SET status = 'running' WHERE job_id = %s", job_id)
    assert not stalls(mine), "the new attempt has its whole time"
    change(AGED)
    assert stalls(mine)


def test_a_job_that_waits_in_a_queue_has_not_stalled(begun: Any, control: Control) -> None:
    mine = begun()
    job_id = mine.begin().job_id
    assert not stalls(mine)
    with control():
        dispatched(job_id)
    assert not stalls(mine)
    assert mine.campaign.step("acme", "add").mark_at is None


def test_a_stall_on_the_way_back_is_told_once_a_mark_and_tried_on(
    begun: Any, change: Change, control: Control, told: Told
) -> None:
    mine = begun()
    mine.put("add", state=StepState.DONE, run=1)
    mine.campaign.ask(asking.revert)
    job_id = mine.begin(direction="down").job_id
    with control():
        claimed(job_id, worker_id=worker())
    stalls(mine)
    change(AGED)
    for _ in range(3):
        assert not stalls(mine)
    row = mine.campaign.row()
    assert (row.status, row.reason_code) == ("reverting", "asked"), "it is still known why it goes back"
    assert told(mine.campaign).count("stalled") == 1


def test_a_job_that_says_it_did_more_than_any_column_holds_stops_no_campaign(
    begun: Any, change: Change, control: Control, look: Look
) -> None:
    mine = begun()
    job_id = _at_work(mine, control)
    for said in ("9223372036854775807", "1e300"):
        change(f"""UPDATE jobs SET progress = '{{"done": {said}, "total": {said}}}' WHERE job_id = %s""", job_id)
        mine.look()
        found = mine.campaign.step("acme", "add")
        assert (found.done, found.total) == (9 * 10**18, 9 * 10**18)

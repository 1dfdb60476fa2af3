"""The way back: of everything, after the end too, of what was stuck, and as a drill."""

from __future__ import annotations

from apps.migrations.campaign import Bake, Verify, decide
from apps.migrations.lifecycle import StepState, TargetState
from apps.migrations.operations import asking, drills, moving, targets
from tests.integration.conftest import Change, Look
from tests.integration.migrations.conftest import Made, Told
from tests.support.campaigning import Campaign, put


def _aborted(campaign: Campaign) -> None:
    campaign.ask(asking.abort)
    campaign.by_itself(moving.abandon)
    assert campaign.row().status == "failed"


def test_all_that_came_back_ends_reverted_and_lets_its_targets_go(made: Made, told: Told, look: Look) -> None:
    campaign = made().started()
    campaign.by_itself(moving.begin_wave, number=0, facts={})
    campaign.ask(asking.revert)
    assert campaign.by_itself(moving.hold_again) is True
    campaign.by_itself(moving.come_back, stuck=0)
    assert campaign.row().status == "reverted"
    assert (campaign.wave(0).state, campaign.wave(1).state) == ("reverted", "waiting")
    assert look("SELECT 1 FROM migration_targets WHERE holds") == []
    assert told(campaign)[4:] == ["reverting", "reverted"]


def test_what_could_not_be_brought_back_is_told_as_critical_and_tried_again_on_a_revert(
    made: Made, look: Look, told: Told
) -> None:
    campaign = made().started()
    campaign.ask(asking.revert)
    put(campaign, "acme", TargetState.STUCK, StepState.DONE, StepState.FAILED)
    campaign.by_itself(moving.come_back, stuck=1)
    assert (campaign.row().status, campaign.row().reason_code) == ("failed", "revert_failed")
    (event,) = look("SELECT data FROM events WHERE type = 'operations.migration.failed'")
    assert event["data"]["severity"] == "critical"
    campaign.ask(asking.revert)
    for _ in range(2):
        assert campaign.by_itself(moving.hold_again) is True
    assert campaign.states()["acme"] == "reverting done done pending"
    assert campaign.target("acme").holds
    assert not campaign.target("globex").holds, "it was never touched, and may be another's"


def test_a_step_that_failed_on_its_way_back_while_all_stood_still_is_tried_again_on_a_revert(made: Made) -> None:
    campaign = made().started()
    put(campaign, "acme", TargetState.REVERTING, StepState.DONE, StepState.FAILED)
    _aborted(campaign)
    campaign.ask(asking.revert)
    assert campaign.by_itself(moving.hold_again) is True
    assert campaign.states()["acme"] == "reverting done done pending"


def test_what_did_not_go_up_again_is_not_taken_back_again(made: Made) -> None:
    campaign = made().started()
    campaign.by_itself(moving.begin_wave, number=0, facts={})
    put(campaign, "acme", TargetState.REVERTED, *[StepState.REVERTED] * 2)
    campaign.by_itself(targets.up_again, wave=0)
    put(campaign, "acme", TargetState.REVERTING)
    campaign.ask(asking.revert)
    (seen, _) = campaign.view().targets
    assert [step.begun for step in seen.steps] == [False, False, False]
    (action,) = decide(campaign.view())
    assert isinstance(action, Verify)


def test_a_way_back_whose_definition_is_lost_ends_once_nothing_runs_and_lets_its_targets_go(made: Made) -> None:
    campaign = made().started()
    put(campaign, "acme", TargetState.REVERTING, StepState.DONE, StepState.RUNNING)
    campaign.ask(asking.revert)
    campaign.by_itself(moving.give_up, code="definition_changed", why="its folder is another")
    assert campaign.row().status == "reverting", "a job is at one of its targets still"
    put(campaign, "acme", TargetState.REVERTING, StepState.DONE, StepState.FAILED)
    campaign.by_itself(moving.give_up, code="definition_changed", why="its folder is another")
    assert (campaign.row().status, campaign.row().reason_code) == ("failed", "definition_changed")
    assert not campaign.target("acme").holds
    campaign.ask(asking.revert)
    assert campaign.by_itself(moving.hold_again) is True
    assert campaign.states()["acme"] == "reverting done done pending"


def test_a_revert_after_the_end_is_refused_where_a_touched_target_is_anothers_by_now(made: Made, told: Told) -> None:
    campaign = made().started()
    put(campaign, "acme", TargetState.UPGRADED, *[StepState.DONE] * 2)
    _aborted(campaign)
    other = made().started(["acme"])
    campaign.ask(asking.revert)
    assert campaign.by_itself(moving.hold_again) is False
    row = campaign.row()
    assert (row.status, row.reason_code) == ("failed", "target_busy")
    assert not campaign.target("acme").holds
    assert told(campaign)[-2:] == ["reverting", "failed"]
    other.by_itself(moving.complete)
    campaign.ask(asking.revert)
    assert campaign.by_itself(moving.hold_again) is True
    assert campaign.target("acme").holds


def test_a_revert_after_the_end_minds_no_target_that_it_never_touched(made: Made) -> None:
    campaign = made().started()
    put(campaign, "acme", TargetState.UPGRADED, *[StepState.DONE] * 2)
    _aborted(campaign)
    made().started(["globex"])
    campaign.ask(asking.revert)
    assert campaign.by_itself(moving.hold_again) is True
    assert campaign.row().status == "reverting"


def test_a_drill_is_told_once_the_first_wave_came_back_and_goes_up_again(made: Made, told: Told) -> None:
    campaign = made(drill=True).started()
    campaign.by_itself(moving.begin_wave, number=0, facts={})
    campaign.by_itself(drills.down, number=0)
    assert campaign.wave().drill == "down"
    put(campaign, "acme", TargetState.REVERTED, *[StepState.REVERTED] * 2)
    campaign.by_itself(drills.again, number=0)
    assert campaign.wave().drill == "done"
    assert campaign.states()["acme"] == "waiting pending pending pending"
    assert told(campaign)[4:] == ["drilled"]
    campaign.by_itself(drills.down, number=0)
    assert campaign.wave().drill == "done"


def test_a_drill_of_a_wave_that_was_all_set_aside_is_the_next_ones_and_is_not_told(
    made: Made, told: Told, change: Change
) -> None:
    campaign = made(drill=True).started(["acme"], ["globex"], ["sandbox"])
    campaign.by_itself(moving.begin_wave, number=0, facts={})
    change("UPDATE migration_targets SET state = 'set_aside', holds = false WHERE key = 'acme'")
    for _ in range(2):
        campaign.by_itself(drills.down, number=0)
    assert [campaign.wave(number).drill for number in (0, 1, 2)] == ["none", "up", "none"]
    assert decide(campaign.view()) == [Bake(0)]
    campaign.by_itself(moving.begin_wave, number=1, facts={})
    campaign.by_itself(drills.down, number=1)
    assert campaign.wave(1).drill == "down"
    assert "drilled" not in told(campaign)

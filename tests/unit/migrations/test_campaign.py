"""What a campaign does next: situations made by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from apps.migrations import campaign
from apps.migrations.campaign import (
    DOWN,
    UP,
    Abandon,
    Bake,
    Begin,
    BeginWave,
    ComeBack,
    Complete,
    Contract,
    DrillAgain,
    DrillDown,
    FailTarget,
    FailWave,
    Judge,
    Skip,
    StepView,
    Stop,
    Submit,
    TargetView,
    Verify,
    View,
    WaveView,
    decide,
)
from apps.migrations.definition import Kind, Phase
from apps.migrations.lifecycle import OVER, Drill, Stage, State, StepState, TargetState, WaveState

PHASES = (Phase.EXPAND, Phase.BACKFILL, Phase.VERIFY)


def step(number: int, state: str = "pending", **more: Any) -> StepView:
    """Return step `number` of target 0, of the phase that its number has."""
    phase = more.pop("phase", (*PHASES, Phase.CONTRACT)[number])
    ran = state != "pending"
    values: dict[str, Any] = {"kind": Kind.SQL, "undoes": True, "begun": ran, **more}
    return StepView(step_id=UUID(int=number), number=number, phase=phase, state=StepState(state), **values)


def steps(*states: str) -> list[StepView]:
    return [step(number, state) for number, state in enumerate(states)]


def target(number: int, state: str, of: Sequence[StepView] | None = None, *, wave: int = 0, **more: Any) -> TargetView:
    """Return target `number` of a wave; its steps' ids tell them from other targets'."""
    own = [replace(each, step_id=UUID(int=number * 100 + each.number)) for each in of or steps(*["pending"] * 3)]
    return TargetView(target_id=UUID(int=1000 + number), wave=wave, state=TargetState(state), steps=own, **more)


def view(*targets: TargetView, status: str = "running", wave: str = "running", **more: Any) -> View:
    values: dict[str, Any] = {
        "stage": Stage.FORWARD,
        "wave": 0,
        "waves": [WaveView(number=0, state=WaveState(wave)), WaveView(number=1, state=WaveState.WAITING)],
        "parallel": 2,
        **more,
    }
    return View(status=State(status), targets=targets, **values)


def drilled(drill: str, *targets: TargetView, **more: Any) -> View:
    return view(*targets, waves=[WaveView(number=0, state=WaveState.RUNNING, drill=Drill(drill))], **more)


def key(number: int) -> UUID:
    return UUID(int=1000 + number)


def at(number: int, place: int) -> UUID:
    return UUID(int=number * 100 + place)


ALL_DONE = steps("done", "done", "done")
WITH_CONTRACT = [*ALL_DONE, step(3)]


# forward


def test_the_first_wave_begins_where_none_is_under_way() -> None:
    assert decide(replace(view(wave="waiting"), wave=None)) == [BeginWave(0)]


def test_a_wave_that_waits_is_begun() -> None:
    assert decide(view(wave="waiting")) == [BeginWave(0)]


def test_a_wave_that_is_held_before_its_contract_phase_is_asked_for_again() -> None:
    assert decide(view(wave="held", stage=Stage.CONTRACT)) == [BeginWave(0, contract=True)]


def test_as_many_targets_begin_as_may_be_at_work_at_once() -> None:
    waiting = [target(number, "waiting") for number in range(4)]
    assert decide(view(*waiting)) == [Begin(key(0)), Begin(key(1))]
    assert decide(view(*waiting, parallel=10)) == [Begin(key(number)) for number in range(4)]


def test_one_that_is_read_back_still_takes_up_its_place() -> None:
    found = decide(view(target(0, "verifying", ALL_DONE), target(1, "running"), target(2, "waiting")))
    assert found == [Verify(key(0)), Submit(at(1, 0), UP)]


def test_a_target_that_runs_has_its_first_step_submitted_that_is_not_done() -> None:
    assert decide(view(target(0, "running", steps("done", "pending", "pending")))) == [Submit(at(0, 1), UP)]


def test_nothing_is_submitted_behind_a_step_under_way_whatever_way_it_ends() -> None:
    for state in ("running", "stopping"):
        assert decide(view(target(0, "running", steps("done", state, "pending")))) == []


def test_a_step_that_a_limit_keeps_back_waits_for_it() -> None:
    late = [step(0, due=False), step(1), step(2)]
    assert decide(view(target(0, "running", late))) == []


def test_a_target_whose_steps_are_done_is_read_back() -> None:
    assert decide(view(target(0, "running", ALL_DONE))) == [Verify(key(0))]


def test_contract_steps_are_left_alone_on_the_way_forward() -> None:
    assert decide(view(target(0, "running", WITH_CONTRACT))) == [Verify(key(0))]
    assert decide(view(target(0, "upgraded", WITH_CONTRACT))) == [Bake(0)]


def test_a_step_that_failed_fails_its_target_by_its_own_code() -> None:
    failed = [step(0, "failed", error_code="lock_timeout"), step(1), step(2)]
    assert decide(view(target(0, "running", failed))) == [FailTarget(key(0), "lock_timeout")]


def test_a_target_that_failed_fails_its_wave_and_nothing_else_is_begun() -> None:
    found = decide(view(target(0, "failed", reason_code="not_at_version"), target(1, "waiting")))
    assert found == [FailWave(0, "not_at_version")]
    assert decide(view(target(0, "failed"))) == [FailWave(0, "target_failed")]


def test_a_target_that_fails_while_its_wave_bakes_fails_it_too() -> None:
    assert decide(view(target(0, "failed"), wave="baking")) == [FailWave(0, "target_failed")]


def test_a_wave_that_was_brought_back_does_not_go_up_by_itself() -> None:
    assert decide(view(target(0, "reverted"), wave="reverted")) == [FailWave(0, "wave_reverted")]


def test_a_wave_whose_targets_are_all_up_bakes_and_is_judged_while_it_does() -> None:
    up = [target(0, "upgraded", ALL_DONE), target(1, "upgraded", ALL_DONE)]
    assert decide(view(*up)) == [Bake(0)]
    assert decide(view(*up, wave="baking")) == [Judge(0)]


def test_the_next_wave_begins_once_the_one_before_it_passed_and_after_the_last_all_is_done() -> None:
    assert decide(view(wave="passed")) == [BeginWave(1)]
    last = [WaveView(number=0, state=WaveState.PASSED), WaveView(number=1, state=WaveState.PASSED)]
    assert decide(replace(view(), waves=last, wave=1)) == [Complete()]


def test_a_contract_phase_is_gone_through_after_the_last_wave_and_once() -> None:
    last = [WaveView(number=0, state=WaveState.PASSED), WaveView(number=1, state=WaveState.PASSED)]
    assert decide(replace(view(), waves=last, wave=1, contracts=True)) == [Contract()]
    again = replace(view(), waves=last, wave=1, contracts=True, stage=Stage.CONTRACT)
    assert decide(again) == [Complete()]
    assert decide(replace(again, wave=0)) == [BeginWave(1, contract=True)]


def test_in_the_contract_phase_upgraded_targets_begin_once_more_with_what_is_left() -> None:
    contract: dict[str, Any] = {"stage": Stage.CONTRACT, "contracts": True}
    assert decide(view(target(0, "upgraded", WITH_CONTRACT), **contract)) == [Begin(key(0))]
    assert decide(view(target(0, "running", WITH_CONTRACT), **contract)) == [Submit(at(0, 3), UP)]
    done = [*ALL_DONE, step(3, "done")]
    assert decide(view(target(0, "running", done), **contract)) == [Verify(key(0))]
    assert decide(view(target(0, "upgraded", done), **contract)) == [Bake(0)]


# the drill


def test_a_drill_brings_the_first_wave_back_once_it_is_up_and_then_up_again() -> None:
    assert decide(drilled("up", target(0, "upgraded", ALL_DONE))) == [DrillDown(0)]
    assert decide(drilled("down", target(0, "upgraded", ALL_DONE))) == [Begin(key(0), back=True)]
    assert decide(drilled("down", target(0, "reverting", ALL_DONE))) == [Submit(at(0, 2), DOWN)]
    assert decide(drilled("down", target(0, "reverted", steps(*["reverted"] * 3)))) == [DrillAgain(0)]
    assert decide(drilled("done", target(0, "upgraded", ALL_DONE))) == [Bake(0)]


def test_a_drill_that_cannot_come_back_fails_the_wave_once_nothing_else_is_left() -> None:
    stuck = target(0, "stuck", reason_code="schema_not_back")
    assert decide(drilled("down", stuck, target(1, "reverted"))) == [FailWave(0, "schema_not_back")]


# stopped


def test_a_pause_lets_steps_end_but_stops_backfills_and_what_has_not_begun() -> None:
    expanding = target(0, "running", [step(0, "running", started=True)])
    queued = target(1, "running", [step(0, "running", started=False)])
    filling = target(2, "running", [step(1, "running", started=True)])
    for status in ("paused", "inconclusive"):
        found = decide(view(expanding, queued, filling, target(3, "waiting"), status=status))
        assert found == [Stop(at(1, 0)), Stop(at(2, 1))]


def test_while_paused_nothing_is_submitted_read_or_begun() -> None:
    still = [target(0, "running", ALL_DONE), target(1, "running"), target(2, "verifying", ALL_DONE)]
    assert decide(view(*still, status="paused")) == []


def test_an_abort_stops_whatever_runs_and_is_done_once_nothing_does() -> None:
    running = target(0, "running", [step(0, "running", started=True)])
    stopping = target(0, "running", [step(0, "stopping", started=True)])
    assert decide(view(running, status="aborting")) == [Stop(at(0, 0))]
    assert decide(view(stopping, status="aborting")) == []
    assert decide(view(target(0, "running"), status="aborting")) == [Abandon()]


@pytest.mark.parametrize("status", ["draft", "awaiting_approval", *sorted(OVER)])
def test_what_has_not_begun_or_is_over_does_nothing(status: str) -> None:
    assert decide(view(target(0, "running"), status=status)) == []


# back


def back(*targets: TargetView, **more: Any) -> View:
    return view(*targets, status="reverting", **more)


def test_the_last_wave_goes_back_first_and_untouched_targets_are_left_alone() -> None:
    found = decide(back(target(0, "upgraded"), target(1, "upgraded", wave=1), target(2, "waiting", wave=1)))
    assert found == [Begin(key(1), back=True)]
    assert decide(back(target(0, "upgraded"), target(1, "reverted", wave=1))) == [Begin(key(0), back=True)]


def test_within_a_wave_the_last_target_goes_back_first_and_not_more_than_may_at_once() -> None:
    found = decide(back(*(target(number, "upgraded") for number in range(4))))
    assert found == [Begin(key(3), back=True), Begin(key(2), back=True)]


def test_a_job_that_still_runs_upwards_counts_among_those_at_once() -> None:
    up = [step(0, "running", started=True)]
    found = decide(back(target(0, "running", up), target(1, "upgraded"), target(2, "upgraded"), parallel=1))
    assert found == [Begin(key(0), back=True)]


def test_steps_go_back_in_reverse_one_at_a_time() -> None:
    assert decide(back(target(0, "reverting", ALL_DONE))) == [Submit(at(0, 2), DOWN)]
    assert decide(back(target(0, "reverting", steps("done", "done", "reverted")))) == [Submit(at(0, 1), DOWN)]
    going = [step(0, "done"), step(1, "running", direction=DOWN), step(2, "reverted")]
    assert decide(back(target(0, "reverting", going))) == []
    assert decide(back(target(0, "reverting", steps(*["reverted"] * 3)))) == [Verify(key(0), back=True)]


def test_what_runs_upwards_is_stopped_before_anything_goes_back() -> None:
    up = [step(0, "done"), step(1, "running", started=True), step(2)]
    assert decide(back(target(0, "reverting", up))) == [Stop(at(0, 1))]
    assert decide(back(target(0, "reverting", steps("done", "stopping", "pending")))) == []


def test_a_step_that_failed_or_was_stopped_upwards_is_taken_back_and_one_never_begun_is_not() -> None:
    failed = [step(0, "done"), step(1, "failed"), step(2)]
    assert decide(back(target(0, "reverting", failed))) == [Submit(at(0, 1), DOWN)]
    stopped = [step(0, "done"), step(1, "pending", begun=True), step(2)]
    assert decide(back(target(0, "reverting", stopped))) == [Submit(at(0, 1), DOWN)]
    refused = [step(0, "done"), step(1, "failed", begun=False), step(2)]
    assert decide(back(target(0, "reverting", refused))) == [Submit(at(0, 0), DOWN)]


def test_a_step_that_fails_on_its_way_back_has_its_target_stuck_and_the_others_go_on() -> None:
    failed = [step(0, "done"), step(1, "failed", direction=DOWN, error_code="boom")]
    found = decide(back(target(0, "reverting", ALL_DONE), target(1, "reverting", failed)))
    assert found == [FailTarget(key(1), "boom", back=True), Submit(at(0, 2), DOWN)]


def test_a_job_with_nothing_to_take_back_is_skipped_and_a_step_with_a_ledger_is_not() -> None:
    job = [step(0, "done", kind=Kind.JOB, undoes=False)]
    assert decide(back(target(0, "reverting", job))) == [Skip(at(0, 0))]
    for kind in (Kind.SQL, Kind.PYTHON, Kind.MODULE, Kind.DJANGO):
        assert decide(back(target(0, "reverting", [step(0, "done", kind=kind, undoes=False)]))) == [
            Submit(at(0, 0), DOWN)
        ]
    undone = [step(0, "done", kind=Kind.JOB, undoes=True)]
    assert decide(back(target(0, "reverting", undone))) == [Submit(at(0, 0), DOWN)]


def test_a_limit_keeps_a_step_back_on_its_way_down_too() -> None:
    assert decide(back(target(0, "reverting", [step(0, "done", due=False)]))) == []


def test_where_one_wave_alone_goes_back_the_others_stay() -> None:
    found = decide(back(target(0, "upgraded"), target(1, "failed", wave=1), reverting_wave=1))
    assert found == [Begin(key(1), back=True)]
    assert decide(back(target(0, "upgraded"), target(1, "reverted", wave=1), reverting_wave=1)) == [ComeBack(0)]


def test_the_way_back_ends_once_all_are_back_or_stuck_and_says_how_many_are() -> None:
    assert decide(back(target(0, "reverted"), target(1, "set_aside"), target(2, "waiting"))) == [ComeBack(0)]
    assert decide(back(target(0, "reverted"), target(1, "stuck"), target(2, "stuck"))) == [ComeBack(2)]


def test_a_step_needs_a_job_back_unless_it_is_a_job_without_a_way_back() -> None:
    assert [campaign.needs_a_job_back(step(0, kind=kind, undoes=False)) for kind in Kind] == [
        kind is not Kind.JOB for kind in Kind
    ]

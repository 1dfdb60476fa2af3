"""How a campaign moves by itself: each move with its event and evidence, and orders carried out once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from apps.evidence import keys
from apps.evidence.heads import Heads
from apps.evidence.verification import verify
from apps.migrations.definition import FailureRate, Gates, OnFailure
from apps.migrations.lifecycle import Drill, IllegalMoveError, StepState, TargetState, WaveState
from apps.migrations.operations import asking, drills, moving, planning, targets
from tests.integration.conftest import Change, Control, Look
from tests.integration.migrations.conftest import Made, Proven, Told
from tests.support.campaigning import SUM, bring, definition, killed_before_commit, put
from workers.migrations import judging
from workers.sealer import Sealer


def test_a_whole_campaign_tells_and_proves_each_step_of_its_way(made: Made, told: Told, proven: Proven) -> None:
    campaign = made().started()
    for number in (0, 1):
        campaign.by_itself(moving.begin_wave, number=number, facts={"health": {}})
        campaign.by_itself(moving.bake, number=number)
        facts = {"health": {"verdict": "succeed"}}
        campaign.by_itself(moving.pass_wave, number=number, verdict="succeed", facts=facts)
    campaign.by_itself(moving.begin_contract)
    campaign.by_itself(moving.contract)
    campaign.by_itself(moving.contract)
    campaign.by_itself(moving.complete)
    assert told(campaign) == [
        "requested", "planned", "started", "wave_started", "wave_passed", "wave_started", "wave_passed", "contracting",
        "completed",
    ]  # fmt: skip
    found = proven(campaign)
    assert [each["_"] for each in found] == ["admission", *["transition"] * 8, "outcome"]
    assert found[4]["facts"]["gates"] == {"health": {"verdict": "succeed"}}
    assert {each["plan_checksum"] for each in found[1:]} == {SUM}
    assert {each["_of"] for each in found} == {"acme"}
    assert campaign.row().contract_begun_at is not None
    assert campaign.row().version == len(found)


def test_what_was_proven_of_migrations_and_targets_is_sealed_and_verifies(
    made: Made, control: Control, look: Look, tmp_path: Path
) -> None:
    campaign = made().started()
    put(campaign, "acme", TargetState.VERIFYING)
    campaign.by_itself(
        targets.verified, campaign.target("acme").target_id, back=False, version="1.5", digest=SUM
    )  # fmt: skip
    campaign.by_itself(moving.complete)
    with control():
        sealer = Sealer(heads=Heads(tmp_path))
        while sealer.step() == 0.0:
            pass
        reports = list(verify(ring=keys.ring(), heads=Heads(tmp_path)))
    assert [finding for report in reports for finding in report.findings] == []
    assert sum(report.records for report in reports) == 5
    kinds = {row["kind"] for row in look("SELECT DISTINCT kind FROM evidence_records WHERE number IS NOT NULL")}
    assert kinds == {"migration", "migration_target"}
    assert look("SELECT 1 FROM evidence_records WHERE number IS NULL") == []


@pytest.mark.parametrize(
    ("operation", "more"),
    [
        (moving.begin_wave, {"number": 0, "facts": {}}),
        (moving.bake, {"number": 0}),
        (moving.pass_wave, {"number": 0, "verdict": "succeed", "facts": {}}),
        (moving.fail_wave, {"number": 0, "code": "boom", "then": OnFailure.PAUSE}),
        (moving.hold_wave, {"number": 0, "by": ["crm/api"], "patience_s": 0}),
        (moving.doubt, {"code": "gate_health", "why": "?", "facts": {}}),
        (moving.give_up, {"code": "boom", "why": "?"}),
        (drills.again, {"number": 0}),
        (moving.begin_contract, {}),
        (moving.contract, {}),
        (moving.complete, {}),
        (moving.abandon, {}),
        (moving.come_back, {"stuck": 0}),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)
def test_what_was_decided_before_a_pause_changes_nothing_behind_it(
    made: Made, told: Told, look: Look, operation: Any, more: dict[str, Any]
) -> None:
    campaign = made().started()
    campaign.ask(asking.pause)
    before = [look("SELECT * FROM migrations"), look("SELECT * FROM migration_waves ORDER BY number"), told(campaign)]
    campaign.by_itself(operation, **more)
    after = [look("SELECT * FROM migrations"), look("SELECT * FROM migration_waves ORDER BY number"), told(campaign)]
    assert after == before


# failing


@pytest.mark.parametrize(
    ("then", "status", "scope", "events"),
    [
        (OnFailure.PAUSE, "paused", None, ["wave_failed", "paused"]),
        (OnFailure.REVERT, "reverting", None, ["wave_failed", "reverting"]),
        (OnFailure.REVERT_WAVE, "reverting", 0, ["wave_failed", "reverting"]),
    ],
)
def test_a_wave_that_fails_has_done_what_its_definition_says(
    made: Made, told: Told, proven: Proven, then: OnFailure, status: str, scope: int | None, events: list[str]
) -> None:
    campaign = made().started()
    campaign.by_itself(moving.begin_wave, number=0, facts={})
    found = {"health": {"verdict": "fail", "unwell": ["api"]}}
    campaign.by_itself(moving.fail_wave, number=0, code="gate_health", then=then, gate="health", facts=found)
    row, wave = campaign.row(), campaign.wave()
    assert (row.status, row.reason_code, row.reverting_wave) == (status, "gate_health", scope)
    assert (wave.state, wave.verdict, wave.facts["gates"]) == ("failed", "fail", found)
    assert told(campaign)[4:] == events
    last = proven(campaign)[-1]
    assert (last["from"], last["to"], last["facts"]) == ("running", status, {"gate": "health", **found})


@pytest.mark.parametrize("then", list(OnFailure))
def test_once_it_contracts_a_failure_only_pauses(made: Made, then: OnFailure) -> None:
    campaign = made().started()
    campaign.by_itself(moving.contract)
    campaign.by_itself(moving.fail_wave, number=0, code="boom", then=then)
    assert campaign.row().status == "paused"


def test_a_failing_wave_is_written_whole_or_not_at_all(made: Made, told: Told, control: Control) -> None:
    campaign = made().started()
    with control(), killed_before_commit():
        moving.fail_wave(campaign.id, number=0, code="boom", then=OnFailure.PAUSE)
    assert (campaign.row().status, campaign.wave().state) == ("running", "waiting")
    assert told(campaign) == ["requested", "planned", "started"]


# holding a wave back


def test_a_wave_is_held_while_the_old_version_lives_and_a_person_is_asked_after_a_while(made: Made, told: Told) -> None:
    campaign = made().started()
    for _ in range(3):
        campaign.by_itself(moving.hold_wave, number=0, by=["crm/api"], patience_s=600)
    wave = campaign.wave()
    assert (wave.state, wave.facts["held_by"]) == ("held", ["crm/api"])
    assert campaign.row().status == "running"
    campaign.by_itself(moving.hold_wave, number=0, by=["crm/api"], patience_s=0)
    row = campaign.row()
    assert (row.status, row.reason_code) == ("inconclusive", "old_version_alive")
    assert row.reason == "the old version is still reported by crm/api"
    assert campaign.wave().held_since == wave.held_since
    campaign.ask(asking.resume)
    campaign.by_itself(moving.carry_out)
    held = campaign.wave()
    assert held.state == "held", "a person's word does not make the old version go"
    assert held.held_since is not None
    assert wave.held_since is not None
    assert held.held_since > wave.held_since
    campaign.by_itself(moving.begin_wave, number=0, facts={})
    assert (campaign.wave().state, campaign.wave().held_since) == ("running", None)


# orders


def test_a_persons_verdict_passes_a_wave_whose_gate_could_not_tell(made: Made, told: Told, proven: Proven) -> None:
    campaign = made().started()
    campaign.by_itself(moving.begin_wave, number=0, facts={})
    campaign.by_itself(moving.bake, number=0)
    campaign.by_itself(moving.doubt, code="gate_health", why="nobody knows", facts={"unknown": ["api"]})
    assert (campaign.row().status, campaign.wave().verdict) == ("inconclusive", "inconclusive")
    campaign.ask(asking.resume)
    assert campaign.row().order == "pass_wave"
    for _ in range(2):
        campaign.by_itself(moving.carry_out)
    assert (campaign.wave().state, campaign.wave().verdict, campaign.row().order) == ("passed", "succeed", None)
    assert told(campaign)[4:] == ["inconclusive", "resumed", "wave_passed"]
    assert proven(campaign)[-1]["facts"] == {"order": "pass_wave"}


def test_a_resumed_wave_whose_gates_failed_is_judged_anew_and_one_whose_target_failed_is_not(made: Made) -> None:
    campaign = made().started()
    campaign.by_itself(moving.begin_wave, number=0, facts={})
    campaign.by_itself(moving.bake, number=0)
    campaign.by_itself(moving.fail_wave, number=0, code="gate_health", then=OnFailure.PAUSE, gate="health")
    first = campaign.wave().baking_since
    campaign.ask(asking.resume)
    campaign.by_itself(moving.carry_out)
    wave = campaign.wave()
    assert (wave.state, wave.verdict, wave.finished_at) == ("baking", None, None)
    assert first is not None
    assert wave.baking_since is not None
    assert wave.baking_since > first
    bring(campaign, 0, state=WaveState.RUNNING, baking_since=None)
    put(campaign, "acme", TargetState.FAILED, StepState.DONE, StepState.FAILED)
    campaign.by_itself(moving.fail_wave, number=0, code="boom", then=OnFailure.PAUSE)
    campaign.ask(asking.resume)
    campaign.by_itself(moving.carry_out)
    assert campaign.wave().state == "running"
    assert campaign.states()["acme"] == "failed done failed pending"


def test_a_retry_tries_what_failed_again_also_where_it_failed_behind_the_pause(made: Made) -> None:
    campaign = made().started(["acme", "globex"])
    campaign.by_itself(moving.begin_wave, number=0, facts={})
    put(campaign, "acme", TargetState.FAILED, StepState.DONE, StepState.FAILED)
    campaign.by_itself(moving.fail_wave, number=0, code="boom", then=OnFailure.PAUSE)
    put(campaign, "globex", TargetState.RUNNING, StepState.FAILED)
    campaign.ask(asking.retry)
    campaign.by_itself(moving.carry_out)
    assert campaign.states() == {"acme": "running done pending pending", "globex": "running pending pending pending"}
    assert (campaign.wave().state, campaign.row().order) == ("running", None)


def test_a_wave_that_came_back_goes_up_once_more_on_a_retry_with_whatever_failed(made: Made) -> None:
    campaign = made(drill=True).started(["acme", "globex"])
    campaign.by_itself(moving.begin_wave, number=0, facts={})
    bring(campaign, 0, drill=Drill.DOWN)
    campaign.by_itself(moving.fail_wave, number=0, code="boom", then=OnFailure.REVERT_WAVE)
    put(campaign, "acme", TargetState.REVERTED, StepState.REVERTED, StepState.FAILED)
    put(campaign, "globex", TargetState.WAITING)
    campaign.by_itself(moving.come_back, stuck=0)
    assert (campaign.row().status, campaign.row().reason_code, campaign.wave().state) == (
        "paused", "wave_reverted", "reverted",
    )  # fmt: skip
    campaign.ask(asking.retry)
    campaign.by_itself(moving.carry_out)
    assert campaign.states() == {"acme": "waiting pending pending pending", "globex": "waiting pending pending pending"}
    assert (campaign.wave().state, campaign.wave().drill) == ("running", "up")


def test_a_wave_that_came_back_is_not_resumed_past_a_pause_that_came_before_its_retry(made: Made) -> None:
    campaign = made().started()
    campaign.by_itself(moving.begin_wave, number=0, facts={})
    campaign.by_itself(moving.fail_wave, number=0, code="boom", then=OnFailure.REVERT_WAVE)
    put(campaign, "acme", TargetState.REVERTED, *[StepState.REVERTED] * 2)
    campaign.by_itself(moving.come_back, stuck=0)
    campaign.ask(asking.retry)
    campaign.ask(asking.pause)
    with pytest.raises(IllegalMoveError, match="retry it, or revert all"):
        campaign.ask(asking.resume)
    campaign.ask(asking.retry)
    campaign.by_itself(moving.carry_out)
    assert campaign.states()["acme"] == "waiting pending pending pending"


def test_a_wave_that_is_judged_or_goes_up_anew_is_not_judged_by_what_failed_before(
    made: Made, control: Control
) -> None:
    of = definition(gates=Gates(bake_s=0, health=False, failure_rate=FailureRate(at_least=1, when_few="inconclusive")))
    campaign = made(of).started()
    campaign.by_itself(moving.begin_wave, number=0, facts={})
    campaign.by_itself(moving.bake, number=0)
    first = campaign.wave().started_at
    campaign.by_itself(moving.fail_wave, number=0, code="gate", then=OnFailure.PAUSE, gate="failure_rate")
    campaign.ask(asking.resume)
    campaign.by_itself(moving.carry_out)
    assert judging.since(campaign.wave()) == campaign.wave().baking_since
    campaign.by_itself(moving.fail_wave, number=0, code="gate", then=OnFailure.REVERT_WAVE, gate="failure_rate")
    campaign.by_itself(moving.come_back, stuck=0)
    campaign.ask(asking.retry)
    campaign.by_itself(moving.carry_out)
    again = campaign.wave()
    assert first is not None
    assert again.started_at is not None
    assert again.started_at > first
    assert judging.since(again) == again.started_at


def test_a_wave_whose_gate_could_not_tell_bakes_anew_on_a_retry(made: Made) -> None:
    campaign = made().started()
    campaign.by_itself(moving.begin_wave, number=0, facts={})
    campaign.by_itself(moving.bake, number=0)
    campaign.by_itself(moving.doubt, code="gate_smoke", why="its job was cancelled", facts={})
    before = campaign.wave().baking_since
    campaign.ask(asking.retry)
    campaign.by_itself(moving.carry_out)
    wave = campaign.wave()
    assert (wave.state, wave.verdict) == ("baking", None)
    assert before is not None
    assert wave.baking_since is not None
    assert wave.baking_since > before, "its checks' jobs are made anew"


def test_an_order_waits_until_it_runs_and_is_forgotten_by_the_next_one(made: Made) -> None:
    campaign = made().started()
    campaign.by_itself(moving.begin_wave, number=0, facts={})
    put(campaign, "acme", TargetState.FAILED, StepState.FAILED)
    campaign.by_itself(moving.fail_wave, number=0, code="boom", then=OnFailure.PAUSE)
    campaign.by_itself(moving.carry_out)
    assert campaign.wave().state == "failed"
    campaign.ask(asking.retry)
    campaign.ask(asking.pause)
    assert campaign.row().order is None
    campaign.by_itself(moving.carry_out)
    assert campaign.states()["acme"] == "failed failed pending pending"


def test_a_second_look_of_a_second_migrator_writes_nothing_twice(made: Made, told: Told, control: Control) -> None:
    campaign = made().started()
    for _ in range(2):
        campaign.by_itself(moving.complete)
        campaign.by_itself(planning.start)
    assert told(campaign).count("completed") == told(campaign).count("started") == 1


def test_a_campaign_is_seen_as_it_stands_with_the_wave_under_way_alone_while_it_runs(made: Made) -> None:
    campaign = made().started()
    assert campaign.view().targets == []
    campaign.by_itself(moving.begin_wave, number=1, facts={})
    assert [each.wave for each in campaign.view().targets] == [1]
    campaign.ask(asking.revert)
    seen = campaign.view()
    assert [each.wave for each in seen.targets] == [0, 1]
    assert [each.number for each in seen.targets[0].steps] == [0, 1, 2]
    assert seen.contracts is True


@pytest.mark.parametrize("operation", [moving.begin_contract, moving.complete])
def test_a_campaign_of_which_nothing_is_left_asks_a_person_and_is_no_success(
    made: Made, change: Change, operation: Any
) -> None:
    campaign = made().started()
    change("UPDATE migration_targets SET state = 'set_aside', holds = false")
    campaign.by_itself(operation)
    assert (campaign.row().status, campaign.row().reason_code) == ("paused", "no_targets")
    assert campaign.row().stage == "forward", "nobody has to be asked whether the old version is gone"

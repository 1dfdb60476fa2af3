"""What people ask of migrations: each answer with its event and its evidence, and of two at once one that holds."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from apps.migrations.definition import OnFailure
from apps.migrations.lifecycle import ContractBegunError, IllegalMoveError
from apps.migrations.operations import asking, moving, planning
from apps.migrations.operations.writing import NoMigrationError
from apps.tenancy.context import in_tenant
from tests.integration.conftest import Change, Control, Look
from tests.integration.migrations.conftest import Made, Proven, Told
from tests.support.campaigning import SUM, Campaign, alone, at_once, definition

SECRET = "Herr Huber from the bank said so"


def test_one_that_is_asked_for_is_a_draft_with_its_event_and_its_evidence(
    made: Made, told: Told, proven: Proven, look: Look
) -> None:
    campaign = made(dry_run=True)
    row = campaign.row()
    assert (row.status, row.version, row.requested_by, row.dry_run, row.plan) == ("draft", 1, "ada", True, None)
    assert told(campaign) == ["requested"]
    (proof,) = proven(campaign)
    assert (proof["_"], proof["tenant"], proof["requested_by"]) == ("admission", "acme", "ada")
    assert proof["definition_checksum"] == SUM
    (record,) = look("SELECT record_id FROM evidence_records WHERE subject_id = %s", str(campaign.id))
    assert record["record_id"] == row.evidence_ref


def test_a_target_that_another_migration_holds_cannot_be_asked_for_by_name(made: Made) -> None:
    first = made().started()
    with pytest.raises(asking.TargetBusyError) as refused:
        made(targets={"tenants": ["acme"]})
    assert (refused.value.target, refused.value.migration_id) == ("acme", first.id)
    made(targets={"tenants": ["acme"]}, dry_run=True)
    made(definition(module="shop"), targets={"tenants": ["acme"]})


# approval


def test_whoever_asked_cannot_approve_however_they_spell_themselves(made: Made, told: Told) -> None:
    campaign = made(by="Ada@Example.com").laid(approvals=1)
    for by in ("Ada@Example.com", "ada@example.com", "ADA@EXAMPLE.COM"):
        with pytest.raises(asking.AuthorApprovesError):
            campaign.ask(asking.approve, by=by)
    assert told(campaign) == ["requested", "planned"]
    assert campaign.by_itself(planning.start) is False


def test_it_begins_once_as_many_people_agreed_as_its_risk_asks_for(made: Made, told: Told, proven: Proven) -> None:
    campaign = made().laid(approvals=2)
    assert campaign.by_itself(planning.start) is False
    campaign.ask(asking.approve, by="grace", note=SECRET)
    assert campaign.by_itself(planning.start) is False
    campaign.ask(asking.approve, by="Linus")
    assert campaign.by_itself(planning.start) is True
    assert campaign.by_itself(planning.start) is False
    assert campaign.row().status == "running"
    assert told(campaign) == ["requested", "planned", "approved", "approved", "started"]
    started = proven(campaign)[-1]
    assert [each["by"] for each in started["approvals"]] == ["grace", "Linus"]
    assert (started["from"], started["to"], started["plan_checksum"]) == ("awaiting_approval", "running", SUM)


def test_who_agrees_twice_to_a_plan_has_agreed_once_whatever_case(made: Made, told: Told) -> None:
    campaign = made().laid(approvals=2)
    for by in ("grace", "grace", "GRACE"):
        campaign.ask(asking.approve, by=by)
    assert told(campaign) == ["requested", "planned", "approved"]
    assert campaign.by_itself(planning.start) is False


def test_only_what_awaits_approval_is_approved(made: Made) -> None:
    draft, running = made(), made(definition(module="shop")).started()
    for campaign in (draft, running):
        with pytest.raises(IllegalMoveError, match="does not await approval"):
            campaign.ask(asking.approve)


def test_two_who_approve_at_once_both_count_and_one_who_does_so_twice_counts_once(
    made: Made, look: Look, change: Change
) -> None:
    for number in range(4):
        campaign = made(definition(module=f"m{number}")).laid(approvals=2)
        found = at_once(
            *(partial(campaign.ask, asking.approve, by=by) for by in ("grace", "linus", "grace", "Grace", "linus"))
        )
        assert not [each for each in found if isinstance(each, Exception)]
        rows = look("SELECT approver FROM migration_approvals WHERE migration_id = %s", campaign.id)
        assert sorted(row["approver"].casefold() for row in rows) == ["grace", "linus"]
        assert campaign.row().version == 4


# moves


def test_a_pause_and_what_follows_each_write_event_and_evidence(made: Made, told: Told, proven: Proven) -> None:
    campaign = made().started()
    for operation in (asking.pause, asking.resume, asking.pause, asking.retry, asking.abort):
        campaign.ask(operation, why=SECRET)
    assert told(campaign)[3:] == ["paused", "resumed", "paused", "resumed", "aborting"]
    ways = [(each["from"], each["to"], each["by"]) for each in proven(campaign)[3:]]
    assert ways == [
        ("running", "paused", "grace"),
        ("paused", "running", "grace"),
        ("running", "paused", "grace"),
        ("paused", "running", "grace"),
        ("running", "aborting", "grace"),
    ]
    assert campaign.row().reason == SECRET


def test_evidence_keeps_no_sentence_that_a_person_wrote(made: Made, look: Look) -> None:
    campaign = made(definition(description=SECRET)).laid(approvals=1)
    campaign.ask(asking.approve, note=SECRET)
    assert campaign.by_itself(planning.start)
    campaign.ask(asking.pause, why=SECRET)
    campaign.ask(asking.abort, why=SECRET)
    campaign.by_itself(moving.abandon)
    rows = look("SELECT convert_from(payload, 'UTF8') AS text FROM evidence_records")
    assert len(rows) == 7
    told = look("SELECT data::text AS text FROM events")
    assert not [row for row in (*rows, *told) if "Huber" in row["text"]]
    assert any('"reason_digest":"sha256:' in row["text"] for row in rows)


@pytest.mark.parametrize("operation", [asking.pause, asking.resume, asking.retry, asking.abort, asking.revert])
def test_what_its_state_forbids_is_refused_and_writes_nothing(made: Made, told: Told, operation: Any) -> None:
    campaign = made().started()
    campaign.ask(asking.abort)
    before, version = told(campaign), campaign.row().version
    with pytest.raises(IllegalMoveError):
        campaign.ask(operation)
    assert (told(campaign), campaign.row().version) == (before, version)


def test_time_that_it_was_stopped_is_counted_and_ends_with_the_stop(made: Made) -> None:
    campaign = made().started()
    campaign.ask(asking.pause)
    stopped = campaign.row()
    assert stopped.stopped_at is not None
    campaign.ask(asking.resume)
    going = campaign.row()
    assert going.stopped_at is None
    assert going.stopped_s > 0


def test_one_that_was_never_begun_has_nothing_to_bring_back(made: Made) -> None:
    campaign = made().laid()
    campaign.ask(asking.abort)
    campaign.by_itself(moving.abandon)
    assert campaign.row().status == "failed"
    with pytest.raises(IllegalMoveError, match="nothing was begun"):
        campaign.ask(asking.revert)


def test_a_draft_whose_plan_was_never_made_can_be_aborted(made: Made, told: Told) -> None:
    campaign = made()
    campaign.ask(asking.abort)
    campaign.by_itself(moving.abandon)
    assert campaign.row().status == "failed"
    assert told(campaign) == ["requested", "aborting", "failed"]


def test_once_it_contracts_nothing_is_brought_back(made: Made) -> None:
    campaign = made().started()
    campaign.by_itself(moving.contract)
    campaign.ask(asking.pause)
    with pytest.raises(ContractBegunError):
        campaign.ask(asking.revert)
    assert campaign.row().status == "paused"


def test_a_wave_that_was_brought_back_is_retried_and_not_resumed(made: Made) -> None:
    campaign = made().started()
    campaign.by_itself(moving.begin_wave, number=0, facts={})
    campaign.by_itself(moving.fail_wave, number=0, code="boom", then=OnFailure.REVERT_WAVE)
    campaign.by_itself(moving.come_back, stuck=0)
    assert campaign.row().status == "paused"
    with pytest.raises(IllegalMoveError, match="retry it, or revert all"):
        campaign.ask(asking.resume)
    assert campaign.ask(asking.retry).status == "running"


def test_another_tenants_migration_is_none(made: Made) -> None:
    campaign = made().started()
    with in_tenant("globex"), pytest.raises(NoMigrationError):
        asking.pause(migration_id=campaign.id, by="eve")
    assert campaign.row().status == "running"


# at once


def _end_of(campaign: Campaign, told: Told) -> tuple[str, list[str]]:
    return campaign.row().status, told(campaign)


def test_a_pause_that_races_the_end_leaves_one_of_them(made: Made, told: Told, control: Control) -> None:
    for number in range(6):
        campaign = made(definition(module=f"m{number}")).started()
        found = _racing(campaign, asking.pause, moving.complete, control=control)
        status, events = _end_of(campaign, told)
        if status == "succeeded":
            assert isinstance(found, IllegalMoveError)
            assert events[-1] == "completed"
            assert "paused" not in events
        else:
            assert status == "paused"
            assert events[-1] == "paused"
            assert "completed" not in events


def test_a_start_that_races_an_abort_never_runs_on(made: Made, told: Told, control: Control) -> None:
    for number in range(6):
        campaign = made(definition(module=f"m{number}")).laid()
        found = _racing(campaign, asking.abort, planning.start, control=control)
        assert not isinstance(found, Exception)
        status, events = _end_of(campaign, told)
        assert status == "aborting"
        assert events[-1] == "aborting"


def _racing(campaign: Campaign, asked: Any, by_itself: Any, *, control: Control) -> Any:
    """Have a person ask and the migrator write at the same moment; return what came of the person's."""
    with control():
        found = at_once(
            alone(lambda: asked(migration_id=campaign.id, by="grace")), alone(lambda: by_itself(campaign.id))
        )
    assert not isinstance(found[1], Exception), found[1]
    return found[0]

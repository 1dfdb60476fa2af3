"""Plans become rows: waves, targets, steps, holds; and one migration a target at a time."""

from __future__ import annotations

from functools import partial

import pytest

from apps.migrations.definition import Risk
from apps.migrations.lifecycle import State
from apps.migrations.operations import asking, moving, planning
from tests.integration.conftest import Control, Look
from tests.integration.migrations.conftest import Made, Proven, Told
from tests.support.campaigning import OTHER_SUM, SUM, alone, at_once, definition, killed_before_commit, plan, step


def test_a_plan_becomes_waves_targets_and_steps_and_holds_its_targets(made: Made, told: Told, look: Look) -> None:
    campaign = made(drill=True).laid(["acme"], ["globex"], aside=["sandbox"], risk=Risk.MEDIUM, approvals=1)
    row = campaign.row()
    assert (row.status, row.risk, row.approvals_needed, row.plan_checksum) == ("awaiting_approval", "medium", 1, SUM)
    assert row.plan == {"targets": 2, "waves": [["acme"], ["globex"]]}
    waves = look("SELECT number, state, drill FROM migration_waves ORDER BY number")
    assert waves == [
        {"number": 0, "state": "waiting", "drill": "up"},
        {"number": 1, "state": "waiting", "drill": "none"},
    ]
    targets = look(
        "SELECT key, tenant_id, wave, state, holds, reason_code, differs FROM migration_targets ORDER BY key"
    )
    assert [(t["key"], t["tenant_id"], t["wave"], t["state"], t["holds"]) for t in targets] == [
        ("acme", "acme", 0, "waiting", True),
        ("globex", "globex", 1, "waiting", True),
        ("sandbox", "sandbox", None, "set_aside", False),
    ]
    assert targets[2]["reason_code"] == "schema_differs"
    assert targets[2]["differs"] == ["column customers.nick"]
    assert campaign.states() == {
        "acme": "waiting pending pending pending", "globex": "waiting pending pending pending", "sandbox": "set_aside",
    }  # fmt: skip
    assert told(campaign) == ["requested", "planned"]


def test_a_step_that_is_a_job_undoes_what_it_names_a_way_back_for(made: Made) -> None:
    steps = (step("both", undoes=False), step("one_way", revert_job_type=None, undoes=True))
    campaign = made(definition(*steps)).laid(["acme"])
    assert campaign.step("acme", "both").undoes is True
    assert campaign.step("acme", "one_way").undoes is False


def test_a_dry_run_leaves_its_plan_and_holds_nothing(made: Made, told: Told, look: Look) -> None:
    campaign = made(dry_run=True)
    campaign.laid()
    row = campaign.row()
    assert (row.status, row.reason_code, row.plan_checksum) == ("draft", "dry_run", SUM)
    assert look("SELECT 1 FROM migration_steps") == []
    assert {each["holds"] for each in look("SELECT holds FROM migration_targets")} == {False}
    assert told(campaign) == ["requested", "planned"]
    assert campaign.by_itself(planning.start) is False
    made().started()


def test_a_dry_run_says_what_would_happen_to_targets_that_are_held(made: Made) -> None:
    made().started()
    campaign = made(dry_run=True).laid()
    assert campaign.row().status == "draft"


@pytest.mark.parametrize(
    ("expected", "waves", "code"),
    [(OTHER_SUM, [["acme"]], "plan_changed"), (None, [[]], "no_targets"), (SUM, [[]], "no_targets")],
)
def test_a_plan_that_may_not_run_ends_its_migration_and_holds_nothing(
    made: Made, told: Told, look: Look, proven: Proven, expected: str | None, waves: list[list[str]], code: str
) -> None:
    campaign = made(expected_plan=expected)
    campaign.laid(*waves, aside=["globex"])
    row = campaign.row()
    assert (row.status, row.reason_code, row.plan_checksum) == ("failed", code, SUM)
    assert row.finished_at is not None
    assert look("SELECT 1 FROM migration_targets WHERE holds") == []
    assert told(campaign) == ["requested", "failed"]
    last = proven(campaign)[-1]
    assert (last["_"], last["outcome"], last["reason_code"]) == ("outcome", "failed", code)


def test_the_plan_that_was_expected_may_run(made: Made) -> None:
    assert made(expected_plan=SUM).laid().row().status == "awaiting_approval"


def test_a_second_migration_of_a_target_is_refused_and_leaves_no_rows(made: Made, told: Told, look: Look) -> None:
    first = made().laid(["acme"])
    second = made().laid(["sandbox", "acme"])
    row = second.row()
    assert (row.status, row.reason_code) == ("failed", "target_busy")
    assert row.reason == f"migration {first.id} holds a target: one migration at a time"
    for table in ("migration_waves", "migration_targets", "migration_steps"):
        assert look(f"SELECT 1 FROM {table} WHERE migration_id = %s", second.id) == []
    assert told(second) == ["requested", "failed"]


def test_another_modules_migration_of_the_same_tenant_is_none_of_its_business(made: Made) -> None:
    made().laid(["acme"])
    assert made(definition(module="shop")).laid(["acme"]).row().status == "awaiting_approval"


def test_of_two_that_are_laid_at_once_one_has_the_target(made: Made, control: Control, look: Look) -> None:
    for number in range(6):
        of = definition(module=f"m{number}")
        both = [made(of), made(of)]
        with control():
            found = at_once(
                *(
                    alone(partial(planning.lay, plan(["sandbox", "acme"]), migration_id=each.id, definition=of))
                    for each in both
                )
            )
        assert sorted(found) == [False, True], found
        assert sorted(each.row().status for each in both) == ["awaiting_approval", "failed"]
        assert [each.row().reason_code for each in both if each.row().status == "failed"] == ["target_busy"]
        holders = look("SELECT DISTINCT migration_id FROM migration_targets WHERE holds AND module = %s", f"m{number}")
        assert len(holders) == 1


def test_targets_are_free_again_once_their_migration_is_over(made: Made) -> None:
    first = made().started()
    first.by_itself(moving.complete)
    second = made().started()
    second.ask(asking.abort)
    second.by_itself(moving.abandon)
    assert made().laid().row().status == "awaiting_approval"


def test_a_migration_that_was_aborted_while_it_was_planned_is_not_laid(made: Made, look: Look) -> None:
    campaign = made()
    campaign.ask(asking.abort)
    campaign.laid()
    assert campaign.row().status == "aborting"
    assert look("SELECT 1 FROM migration_targets") == []


def test_a_lay_that_is_killed_leaves_nothing_and_is_done_again(
    made: Made, told: Told, look: Look, control: Control
) -> None:
    campaign = made()
    with control(), killed_before_commit():
        assert planning.lay(plan(["acme"]), migration_id=campaign.id, definition=campaign.definition)
    assert look("SELECT 1 FROM migration_targets") == []
    assert told(campaign) == ["requested"]
    assert campaign.laid().row().status == "awaiting_approval"


def test_one_is_taken_to_be_planned_at_a_time_and_each_try_is_counted(made: Made, control: Control) -> None:
    first, second = made(), made(definition(module="shop"))
    with control():
        taken = planning.take(without=[])
        assert taken is not None
        assert (taken.id, taken.planning_tries) == (first.id, 1)
        other = planning.take(without=[first.id])
        assert other is not None
        assert other.id == second.id
        assert planning.take(without=[first.id, second.id]) is None
    for _ in range(planning.MOST_TRIES - 1):
        with control():
            taken = planning.take(without=[second.id])
            assert taken is not None
            assert planning.may_try(taken)
    with control():
        taken = planning.take(without=[second.id])
        assert taken is not None
        assert not planning.may_try(taken)


def test_what_is_planned_is_not_taken_again(made: Made, control: Control) -> None:
    made(dry_run=True).laid()
    made().laid()
    with control():
        assert planning.take(without=[]) is None


def test_a_migration_that_cannot_be_planned_is_refused_once(made: Made, told: Told) -> None:
    campaign = made()
    for _ in range(2):
        campaign.by_itself(planning.refuse, code="definition_changed", why="its folder changed")
    assert (campaign.row().status, campaign.row().reason_code) == (State.FAILED, "definition_changed")
    assert told(campaign) == ["requested", "failed"]

"""What a step's job is told: which step of which campaign, and which version it has to write."""

from __future__ import annotations

from typing import Any

import pytest

from apps.jobs.types import REGISTRY
from apps.migrations.definition import Batch, Kind
from apps.migrations.lifecycle import StepState, TargetState
from apps.migrations.models import Target
from apps.migrations.operations import asking, step_jobs
from tests.integration.conftest import Look
from tests.integration.migrations.conftest import Made
from tests.support.campaigning import SUM, definition, step


@pytest.mark.parametrize(("direction", "version"), [("up", "1.5"), ("down", "1.4")])
def test_a_step_on_a_database_is_a_job_of_the_planes_own_type_that_is_told_all_it_has_to_know(
    begun: Any, look: Look, direction: str, version: str
) -> None:
    mine = begun(step("add", kind=Kind.SQL, job_type=None, revert_job_type=None))
    if direction == "down":
        mine.put("add", state=StepState.DONE, run=1)
        mine.campaign.ask(asking.revert)
    made = mine.begin(direction=direction)
    (row,) = look("SELECT type, tenant_id, params FROM jobs WHERE job_id = %s", made.job_id)
    assert (row["type"], row["tenant_id"]) == ("migration.step", "acme")
    assert row["params"] == {
        "migration": str(mine.campaign.id), "account": "acme",
        "definition": {"name": "crm", "from": "1.4", "to": "1.5", "checksum": SUM},
        "target": "acme", "step": "add", "direction": direction, "run": made.run, "sets_version": version,
    }  # fmt: skip
    assert made.run == (2 if direction == "down" else 1)
    assert REGISTRY.get("migration.step").problems(row["params"]) == []


def test_only_whole_values_stand_for_the_target_and_the_versions(made: Made) -> None:
    row = made().row()
    given = {"a": "${target}", "b": ["${version_from}", {"c": "${version_to}"}], "d": "x ${target}", "e": 3}
    assert step_jobs.filled(given, target="acme", migration=row) == {
        "a": "acme", "b": ["1.4", {"c": "1.5"}], "d": "x ${target}", "e": 3,
    }  # fmt: skip
    assert step_jobs.filled({"m": "${migration}"}, target="acme", migration=row) == {"m": str(row.id)}


def test_the_last_step_before_contract_that_reaches_into_the_target_writes_its_version_and_the_first_one_back() -> None:
    sql: dict[str, Any] = {"kind": Kind.SQL, "job_type": None, "revert_job_type": None}
    of = definition(
        step("tell"),
        step("add", **sql),
        step("fill", "backfill", batch=Batch(), **sql),
        step("refresh", "verify"),
        step("drop", "contract", **sql),
    )
    up = {each.name: step_jobs.sets_version(each, direction="up", definition=of) for each in of.steps}
    down = {each.name: step_jobs.sets_version(each, direction="down", definition=of) for each in of.steps}
    assert {name: version for name, version in up.items() if version} == {"fill": "1.5"}
    assert {name: version for name, version in down.items() if version} == {"add": "1.4"}
    jobs = definition()
    assert not any(step_jobs.sets_version(each, direction="up", definition=jobs) for each in jobs.steps)


def test_rows_of_targets_are_left_as_they_were(begun: Any) -> None:
    mine = begun()
    mine.begin()
    mine.look()
    assert mine.campaign.target("acme").state == TargetState.WAITING
    with mine._in_role("control"):
        assert Target.every.filter(migration_id=mine.campaign.id).count() == 2

"""A target's turn: it is read once more, and begins, is set aside, or keeps its wave waiting for a person."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.conf import settings

from apps.migrations import registry
from apps.migrations.definition import Definition, OnFailure, TargetKind, Targets
from apps.migrations.lifecycle import OVER, STOPPED, StepState, TargetState
from apps.migrations.models import Migration, Target
from apps.migrations.operations import asking, moving, targets
from apps.tenancy.context import across_tenants
from tests.integration.conftest import Look
from tests.integration.migrations.conftest import Made, Proven, Told
from tests.integration.migrations.test_campaigns_live import CONTRACT, FOLDER, OPEN
from tests.support.at_once import AtOnce
from tests.support.campaigning import OTHER_SUM, SUM, Campaign, definition, put
from tests.support.database import InRole
from tests.support.work import claimed, finish, worker
from workers.migrations import reading
from workers.migrations.errands import Errands
from workers.migrations.reading import Reading
from workers.migrations.readings import Readings
from workers.migrator import Migrator

AS_PLANNED = Reading(version="1.4", digest=SUM)


class Turn:
    """A campaign's targets, and what each says of itself when it is read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.says: Reading = AS_PLANNED
        self._readings = Readings(Errands(AtOnce()))
        monkeypatch.setattr(reading, "read", lambda *_, **__: self.says)

    def comes(self, campaign: Campaign, key: str = "acme", *, looks: int = 2) -> str:
        """Let the turn of a target come for some looks; return the state in which it is then."""
        for _ in range(looks):
            self._look(campaign, self._readings.begin, key)
        return campaign.target(key).state

    def is_over(self, campaign: Campaign, key: str = "acme", *, back: bool) -> str:
        """Have a target read that went its way; return the state in which it is then."""
        for _ in range(2):
            self._look(campaign, self._readings.verify, key, back=back)
        return campaign.target(key).state

    def _look(self, campaign: Campaign, operation: Callable[..., None], key: str, **more: Any) -> None:
        def do() -> None:
            migration = Migration.objects.get(id=campaign.id)
            operation(_target_id(campaign, key), migration=migration, definition=campaign.definition, **more)

        campaign.by_itself(do)


def _target_id(campaign: Campaign, key: str) -> UUID:
    return Target.objects.get(migration_id=campaign.id, key=key).target_id


@pytest.fixture
def turn(monkeypatch: pytest.MonkeyPatch) -> Turn:
    """What comes of a target's turn."""
    return Turn(monkeypatch)


def in_databases(**more: Any) -> Definition:
    """Return a definition whose targets can be read."""
    return definition(targets=Targets(kind=TargetKind.TENANT, database="crm", schema="tenant_{target}"), **more)


def begun(made: Made, **more: Any) -> Campaign:
    campaign = made(in_databases(**more)).started(["acme"], ["globex"])
    campaign.by_itself(moving.begin_wave, number=0, facts={})
    return campaign


def says_no_version(campaign: Campaign) -> None:
    campaign.by_itself(lambda: Target.objects.filter(migration_id=campaign.id).update(version_before=None))


def test_a_target_that_is_as_planned_begins(made: Made, turn: Turn) -> None:
    assert turn.comes(begun(made)) == "running"


@pytest.mark.parametrize(
    ("says", "code"),
    [
        (Reading(version="1.3", digest=SUM), "version_differs"),
        (Reading(version="1.4", digest=OTHER_SUM), "schema_differs"),
        (Reading(problem="schema_absent"), "schema_absent"),
        (Reading(digest=SUM, problem="version_absent"), "version_absent"),
    ],
)
def test_one_that_drifted_is_set_aside_with_its_reason_and_evidence(
    made: Made, turn: Turn, told: Told, proven: Proven, says: Reading, code: str
) -> None:
    campaign = begun(made)
    turn.says = says
    assert turn.comes(campaign) == "set_aside"
    row = campaign.target("acme")
    assert (row.reason_code, row.holds) == (code, False)
    assert told(campaign)[-1] == "target_set_aside"
    assert [each["outcome"] for each in proven(row.target_id)] == ["set_aside"]


@pytest.mark.parametrize(("then", "status"), [(OnFailure.PAUSE, "paused"), (OnFailure.REVERT, "reverting")])
def test_one_that_cannot_be_reached_did_not_drift_and_has_its_turn_once_a_person_looked(
    made: Made, turn: Turn, told: Told, monkeypatch: pytest.MonkeyPatch, then: OnFailure, status: str
) -> None:
    campaign = begun(made, on_failure=then)
    turn.says = Reading(problem="unreachable", why="nobody answers")
    assert turn.comes(campaign, looks=10) == "waiting"
    assert campaign.row().status == "running"
    monkeypatch.setattr("workers.migrations.readings.AWAY_S", 0.0)
    assert turn.comes(campaign) == "waiting"
    row = campaign.row()
    assert (row.status, row.reason_code, row.reason) == (status, "unreachable", "acme: nobody answers")
    assert (campaign.wave().state, campaign.target("acme").holds) == ("failed", True)
    assert told(campaign)[-2:] == ["wave_failed", "paused" if status == "paused" else "reverting"]
    if status == "reverting":
        return
    turn.says = AS_PLANNED
    campaign.ask(asking.retry)
    campaign.by_itself(moving.carry_out)
    assert campaign.wave().state == "running"
    assert turn.comes(campaign) == "running"


def test_what_was_read_before_a_pause_says_nothing_of_a_target_after_it(made: Made, turn: Turn) -> None:
    campaign = begun(made)
    turn.comes(campaign, looks=1)
    campaign.ask(asking.pause)
    turn.says = Reading(version="1.4", digest=OTHER_SUM)
    campaign.ask(asking.resume)
    campaign.by_itself(moving.carry_out)
    assert turn.comes(campaign) == "set_aside"


def test_one_that_said_no_version_and_came_back_at_the_old_one_goes_up_again(made: Made, turn: Turn) -> None:
    campaign = begun(made)
    says_no_version(campaign)
    turn.says = Reading(digest=SUM, problem="version_absent")
    assert turn.comes(campaign) == "running"
    turn.says = AS_PLANNED
    put(campaign, "acme", TargetState.REVERTING, *[StepState.REVERTED] * 2)
    assert turn.is_over(campaign, back=True) == "reverted"
    campaign.by_itself(targets.up_again, wave=0)
    assert turn.comes(campaign) == "running"


def test_one_that_said_no_version_and_was_not_touched_is_back_without_one(made: Made, turn: Turn) -> None:
    campaign = begun(made)
    says_no_version(campaign)
    turn.says = Reading(digest=SUM, problem="version_absent")
    put(campaign, "acme", TargetState.REVERTING)
    assert turn.is_over(campaign, back=True) == "reverted"


# whole campaigns

DATABASES = '{kind: tenant, database: crm, schema: "tenant_{target}"}'


class Carried:
    """A campaign of which each look is followed by what its jobs do, whose targets say `says` of themselves."""

    def __init__(self, campaign: Campaign, in_role: InRole, look: Look) -> None:
        self.campaign, self._in_role, self._look = campaign, in_role, look
        self._migrator = Migrator()

    def still(self, *, looks: int = 80) -> Migration:
        """Carry it on until it stands still or is over; return it as it is then."""
        for _ in range(looks):
            with self._in_role("control"):
                self._migrator.step()
                with across_tenants():
                    for job in self._look(OPEN):
                        finish(claimed(job["job_id"], worker_id=worker()))
            row = self.campaign.row()
            if row.status in {*OVER, *STOPPED}:
                return row
        raise AssertionError(f"it does not end: {self.campaign.states()}")


@pytest.fixture
def carried(
    made: Made, in_role: InRole, look: Look, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Carried]:
    """Return a maker of campaigns that contract in the end, on targets in databases."""

    def make(says: Callable[[str], Reading], **more: Any) -> Carried:
        folder = tmp_path / "crm"
        folder.mkdir()
        text = FOLDER.replace("ON_FAILURE", "pause").replace("{kind: tenant}", DATABASES)
        (folder / "migration.yaml").write_text(text + CONTRACT)
        monkeypatch.setattr(settings, "ENVIRONMENT", replace(settings.ENVIRONMENT, migrations=(tmp_path,)))
        monkeypatch.setattr("workers.migrator.ThreadPoolExecutor", lambda **_: AtOnce())
        monkeypatch.setattr(reading, "read", lambda *_, target, **__: says(target))
        return Carried(made(registry.read(folder), **more).laid(["acme"], ["globex", "sandbox"]), in_role, look)

    return make


def test_one_that_was_set_aside_is_neither_drilled_nor_contracted_and_the_others_are(
    carried: Callable[..., Carried], told: Told
) -> None:
    up: dict[str, int] = {}

    def says(target: str) -> Reading:
        if target == "acme":
            return Reading(version="1.3", digest=SUM)
        up[target] = up.get(target, 0) + 1
        at = "1.4" if up[target] in {1, 3, 4} else "1.5"  # up, and in the drill down and up again
        return Reading(version=at, digest=SUM)

    life = carried(says, drill=True)
    row = life.still()
    campaign = life.campaign
    assert (row.status, row.progress) == ("succeeded", 1.0), row.reason
    assert campaign.states() == {
        "acme": "set_aside pending pending pending pending",
        "globex": "upgraded done done done done",
        "sandbox": "upgraded done done done done",
    }
    assert [campaign.wave(number).drill for number in (0, 1)] == ["none", "done"]
    assert told(campaign).count("drilled") == 1


def test_where_all_are_set_aside_it_asks_once_each_time_and_can_be_given_up_or_brought_back(
    carried: Callable[..., Carried], told: Told
) -> None:
    life = carried(lambda _: Reading(version="1.3", digest=SUM), drill=True)
    for _ in range(2):
        row = life.still()
        assert (row.status, row.reason_code, row.stage) == ("paused", "no_targets", "forward")
        life.campaign.ask(asking.resume)
    life.campaign.ask(asking.abort)
    assert life.still().status == "failed"
    life.campaign.ask(asking.revert)
    assert life.still().status == "reverted"
    assert "drilled" not in told(life.campaign)

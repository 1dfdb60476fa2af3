"""The migrator among campaigns that go wrong: what one of them meets is its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import DataError

from apps.jobs.lifecycle import Ending
from apps.migrations import registry
from apps.migrations.definition import Check, Gates, Kind
from apps.migrations.gates import Found, Verdict
from apps.migrations.lifecycle import TargetState
from apps.migrations.models import Migration
from apps.migrations.operations import asking, moving
from apps.migrations.queries import Active
from apps.tenancy.context import across_tenants
from tests.integration.conftest import Look
from tests.integration.migrations.conftest import Made
from tests.integration.migrations.test_campaigns_live import FOLDER, OPEN
from tests.support.at_once import AtOnce
from tests.support.campaigning import bring, definition, put
from tests.support.database import InRole
from tests.support.work import claimed, finish, worker
from workers.migrations.errands import Errands
from workers.migrations.verdicts import Verdicts
from workers.migrator import MOST_DEFECTS, Migrator


class Asks(Migrator):
    """One that asks others in one look, and hears of a defect in the next."""

    looks = 0

    def _look_at(self, active: Active) -> None:
        self.looks += 1
        if self.looks % 2 == 0:
            raise ValueError("no such encoding")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A definition that the migrator finds."""
    made = tmp_path / "crm"
    made.mkdir()
    (made / "migration.yaml").write_text(FOLDER.replace("ON_FAILURE", "pause"))
    monkeypatch.setattr(settings, "ENVIRONMENT", replace(settings.ENVIRONMENT, migrations=(tmp_path,)))
    return made


def test_a_statement_that_fails_for_one_campaign_pauses_it_and_ends_no_migrator(made: Made, in_role: InRole) -> None:
    class Meets(Migrator):
        def _look_at(self, active: Active) -> None:
            raise DataError("out of range")

    campaign = made().started()
    with in_role("control"):
        migrator = Meets()
        for _ in range(MOST_DEFECTS):
            migrator.step()
    assert (campaign.row().status, campaign.row().reason_code) == ("paused", "internal_error")


def test_what_asks_others_and_meets_a_defect_each_time_pauses_its_campaign_as_well(made: Made, in_role: InRole) -> None:
    campaign = made().started()
    with in_role("control"):
        migrator = Asks()
        for _ in range(2 * MOST_DEFECTS):
            migrator.step()
    assert (campaign.row().status, campaign.row().reason_code) == ("paused", "internal_error")


def test_defects_far_from_each_other_pause_no_campaign(
    made: Made, in_role: InRole, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.migrator.CALM_S", 0.0)
    campaign = made().started()
    with in_role("control"):
        migrator = Asks()
        for _ in range(2 * MOST_DEFECTS):
            migrator.step()
    assert campaign.row().status == "running"


def test_a_backfill_stops_with_its_campaign_where_the_definition_was_changed_meanwhile(
    made: Made, in_role: InRole, look: Look, folder: Path
) -> None:
    campaign = made(registry.read(folder)).laid(["acme"], ["globex"])
    with in_role("control"):
        migrator = Migrator()
        for _ in range(4):  # it begins, then its wave, its target, its first step
            migrator.step()
        (job,) = look(OPEN)
        with across_tenants():
            finish(claimed(job["job_id"], worker_id=worker()))
        migrator.step()
        (job,) = look(OPEN)
        with across_tenants():
            claimed(job["job_id"], worker_id=worker())
        (folder / "more.sql").write_text("SELECT 1")
        migrator.step()
    assert (campaign.row().status, campaign.row().reason_code) == ("paused", "definition_changed")
    assert campaign.step("acme", "fill").state == "stopping"
    assert look("SELECT 1 FROM jobs WHERE cancel_requested_at IS NOT NULL AND job_id = %s", job["job_id"])


# checks that are jobs


def _baking(made: Made, *targets: str) -> tuple[Any, Any]:
    check = Check(name="smoke", kind=Kind.JOB, job_type="ops.noop")
    of = definition(gates=Gates(bake_s=0, health=False, checks=[check]))
    campaign = made(of).started(list(targets))
    campaign.by_itself(moving.begin_wave, number=0, facts={})
    for each in targets:
        put(campaign, each, TargetState.UPGRADED)
    campaign.by_itself(moving.bake, number=0)
    return campaign, of


def _judge(campaign: Any, of: Any, verdicts: Verdicts | None = None) -> None:
    with across_tenants():
        migration = Migration.objects.get(id=campaign.id)
    asked = verdicts or Verdicts(Errands(None))  # type: ignore[arg-type]  # no errand is run
    asked.judge(0, migration=migration, definition=of)


def test_a_checks_jobs_are_submitted_once_though_the_migrator_is_killed_before_it_noted_them(
    made: Made, in_role: InRole, look: Look
) -> None:
    campaign, of = _baking(made, "acme", "globex")
    with in_role("control"):
        _judge(campaign, of)
        jobs = look("SELECT job_id FROM jobs")
        assert len(jobs) == 2
        facts = {name: kept for name, kept in campaign.wave().facts.items() if not name.startswith("checks")}
        bring(campaign, 0, facts=facts)
        _judge(campaign, of)
        assert len(look("SELECT job_id FROM jobs")) == 2
        with across_tenants():
            for job in jobs:
                finish(claimed(job["job_id"], worker_id=worker()))
        _judge(campaign, of)
    assert campaign.wave().state == "passed"


def test_what_a_check_said_before_a_pause_says_nothing_after_it(
    made: Made, in_role: InRole, monkeypatch: pytest.MonkeyPatch
) -> None:
    says = [Found(gate="well", verdict=Verdict.SUCCEED)]
    monkeypatch.setattr("workers.migrations.judging.checks", lambda *_, **__: says)
    check = Check(name="well", kind=Kind.SQL, text="SELECT true")
    of = definition(gates=Gates(bake_s=0, health=False, checks=[check]))
    campaign = made(of).started()
    campaign.by_itself(moving.begin_wave, number=0, facts={})
    campaign.by_itself(moving.bake, number=0)
    verdicts = Verdicts(Errands(AtOnce()))
    with in_role("control"):
        _judge(campaign, of, verdicts)
        campaign.ask(asking.pause)
        says = [Found(gate="well", verdict=Verdict.FAIL)]
        campaign.ask(asking.resume)
        campaign.by_itself(moving.carry_out)
        _judge(campaign, of, verdicts)
        assert campaign.wave().state == "baking"
        _judge(campaign, of, verdicts)
    assert (campaign.wave().state, campaign.row().reason_code) == ("failed", "gate_well")


def test_each_target_of_one_tenant_has_its_own_check_heard(made: Made, in_role: InRole, look: Look) -> None:
    campaign, of = _baking(made, "acme", "globex")
    campaign.by_itself(lambda: campaign.target("globex").__class__.objects.filter(key="globex").update(tenant="acme"))
    with in_role("control"):
        _judge(campaign, of)
        first, second = look("SELECT job_id FROM jobs ORDER BY job_id")
        with across_tenants():
            finish(claimed(first["job_id"], worker_id=worker()), Ending.FAILED, permanent=True)
            finish(claimed(second["job_id"], worker_id=worker()))
        _judge(campaign, of)
    assert campaign.wave().state == "failed"
    assert campaign.row().reason_code == "gate_smoke"


def test_a_wave_of_which_nobody_is_left_passes_at_once_and_asks_nobody(made: Made, in_role: InRole, look: Look) -> None:
    campaign, of = _baking(made, "acme", "globex")
    of = replace(of, gates=replace(of.gates, bake_s=3600))
    with in_role("control"):
        _judge(campaign, of)
        assert campaign.wave().state == "baking"
        for each in ("acme", "globex"):
            put(campaign, each, TargetState.SET_ASIDE)
        _judge(campaign, of)
    assert (campaign.wave().state, campaign.row().status) == ("passed", "running")
    assert look("SELECT 1 FROM jobs") == []

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
from apps.migrations.lifecycle import TargetState
from apps.migrations.models import Migration
from apps.migrations.operations import moving
from apps.migrations.queries import Active
from apps.tenancy.context import across_tenants
from tests.integration.conftest import Look
from tests.integration.migrations.conftest import Made
from tests.integration.migrations.test_campaigns_live import FOLDER, OPEN
from tests.support.campaigning import bring, definition, put
from tests.support.database import InRole
from tests.support.work import claimed, finish, worker
from workers.migrations.errands import Errands
from workers.migrations.verdicts import Verdicts
from workers.migrator import MOST_DEFECTS, Migrator


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


def _judge(campaign: Any, of: Any) -> None:
    with across_tenants():
        migration = Migration.objects.get(id=campaign.id)
    Verdicts(Errands(None)).judge(0, migration=migration, definition=of)  # type: ignore[arg-type]  # no errand is run


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

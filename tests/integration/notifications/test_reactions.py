"""What is told about others' events: failed jobs, but not their steps; components; targets that were left alone."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from apps.core.ids import uuid7
from apps.events.models import Event
from apps.jobs.lifecycle import Ending
from apps.notifications import reactions
from tests.integration.conftest import Control, Look
from tests.support.work import admitted, claimed, finish, worker

ROWS = "SELECT * FROM notifications ORDER BY id"


def failed(control: Control, *, params: dict[str, Any] | None = None) -> UUID:
    job_id = admitted("ops.fail", params={"times": 1})
    with control():
        error = {"class": "Oops", "code": "oops", "message": f"row {job_id} is odd"}
        finish(claimed(job_id, worker_id=worker()), Ending.FAILED, permanent=True, error=error)
    return job_id


def react(control: Control, job_id: UUID) -> None:
    with control():
        event = Event.every.get(subject=str(job_id), type="operations.job.failed")
        reactions.on_job_failed(event)
        reactions.on_job_failed(event)


def test_a_job_that_failed_for_good_is_an_alert_once_however_often_its_event_comes(
    control: Control, look: Look
) -> None:
    job_id = failed(control)
    react(control, job_id)
    (row,) = look(ROWS)
    assert (row["severity"], row["source"], row["component"], row["repeats"]) == ("error", "jobs", "ops.fail", 0)
    assert row["summary"] == "ops.fail failed for good: Oops"
    assert "odd" not in str(look("SELECT * FROM notifications")), "the error's own words stay with the job"
    assert row["dedup_key"].startswith("job:")


def test_alike_failures_are_one_alert(control: Control, look: Look) -> None:
    for _ in range(3):
        react(control, failed(control))
    (row,) = look(ROWS)
    assert row["repeats"] == 2


def test_of_a_step_only_its_plan_is_told(control: Control, look: Look) -> None:
    with control():
        reactions.on_job_failed(
            Event(
                event_id=uuid7(),
                tenant_id="acme",
                type="operations.job.failed",
                subject=str(uuid7()),
                data={"parent_id": str(uuid7()), "status": "failed", "attempt": 1},
            )
        )
    assert look(ROWS) == []


def health(kind: str, *, status: str, muted_by: tuple[str, ...] = ()) -> Event:
    data = {
        "module": "storage", "component": "disk", "status": status, "previous": "up", "reason": "timeout",
        "region": "local", "classification": "internal", "muted_by": list(muted_by),
        "affected": {"tenants": 2, "jobs": 7},
    }  # fmt: skip
    return Event(event_id=uuid7(), tenant_id=None, type=f"operations.health.{kind}", subject=str(uuid7()), data=data)


@pytest.mark.parametrize(("status", "severity"), [("down", "critical"), ("degraded", "warning")])
def test_a_component_that_falls_is_an_alert_and_its_rise_the_end_of_it(
    control: Control, look: Look, status: str, severity: str
) -> None:
    with control():
        reactions.on_health_degraded(health("degraded", status=status))
    (row,) = look(ROWS)
    assert (row["severity"], row["summary"]) == (severity, f"storage/disk is {status}: timeout")
    with control():
        reactions.on_health_recovered(health("recovered", status="up"))
    assert [row["resolved"] for row in look(ROWS)] == [True]


def test_what_is_muted_is_inhibited_by_what_is_behind_it(control: Control, look: Look) -> None:
    with control():
        reactions.on_health_degraded(health("degraded", status="down", muted_by=("storage/san",)))
    assert [row["inhibited_by"] for row in look(ROWS)] == ["storage/san"]


def test_a_target_that_was_left_alone_is_told_its_tenant_and_waits_for_nobody(control: Control, look: Look) -> None:
    data = {
        "migration_id": str(uuid7()), "name": "crm", "module": "storefronts", "version_from": "1.4",
        "version_to": "1.5", "wave": 1, "reason": "schema_differs", "target": "acme-1", "read_version": "1.4",
        "digest_before": None, "digest_after": None,
    }  # fmt: skip
    kind, subject = "operations.migration.target_set_aside", str(data["migration_id"])
    with control():
        reactions.on_migration_target(Event(event_id=uuid7(), tenant_id="acme", type=kind, subject=subject, data=data))
    (row,) = look(ROWS)
    assert (row["tenant_id"], row["severity"], row["category"], row["source"]) == (
        "acme", "warning", "event", "storefronts",
    )  # fmt: skip
    assert row["summary"] == "crm 1.4 → 1.5 left a target alone that is not as it was planned: schema differs"

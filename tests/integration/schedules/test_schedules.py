"""Schedules: made over HTTP, fired by the submitter's own steps, each fire time once."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.db import connection

from tests.integration.conftest import Change, Look
from tests.support.api import Module, fields, refused, said
from tests.support.database import InRole
from tests.support.work import only
from workers import submitter

SCHEDULES = "/operations/schedules"


@pytest.fixture
def acme(db: None) -> Module:
    """Acme's module."""
    return Module("acme")


def made(module: Module, **more: Any) -> dict[str, Any]:
    asked = {"name": "hourly", "cron": "0 * * * *", "job": {"type": "ops.noop"}, **more}
    return said(module.post(asked, path=SCHEDULES), 201)


def set_back(change: Change, hours: int) -> None:
    """Let the schedule's last fire times have been missed, as if the submitter had been away."""
    change("UPDATE schedules SET next_fire_at = date_trunc('hour', clock_timestamp()) - %s * interval '1 h'", hours - 1)


def step(in_role: InRole) -> None:
    with in_role("control"):
        for _ in range(20):
            if submitter.step() > 0:
                return
    raise AssertionError("the submitter finds no rest")


FIRES = """
SELECT f.*, j.trigger, j.submitted_by, j.priority, j.status
  FROM schedule_fires f LEFT JOIN jobs j USING (job_id) ORDER BY fire_at
"""


@pytest.mark.parametrize(("catch_up", "submitted"), [("none", 0), ("last", 1), ("all", 3)])
def test_after_an_outage_each_time_is_fired_once_by_its_policy(
    acme: Module, in_role: InRole, look: Look, change: Change, catch_up: str, submitted: int
) -> None:
    schedule = made(acme, catch_up=catch_up)
    assert len(schedule["next_fires"]) == 5
    set_back(change, 3)
    # On time is what is at most 30 s late: right after the hour the newest would be.
    change("UPDATE schedules SET cron = '0 * * * *', next_fire_at = next_fire_at - interval '1 h'")
    step(in_role)
    step(in_role)
    rows = look(FIRES)
    assert len(rows) == 4
    jobs = [row for row in rows if row["state"] == "submitted"]
    assert len(jobs) in {submitted, submitted + 1}
    assert {(row["trigger"], row["submitted_by"]) for row in jobs} <= {("schedule", "data-acquisition")}
    assert {row["reason_code"] for row in rows if row["state"] == "skipped"} <= {"missed"}
    assert len(look("SELECT 1 FROM jobs")) == len(jobs)
    assert len(said(acme.get(f"{SCHEDULES}/{schedule['schedule_id']}/fires"))["items"]) == 4


def test_two_submitters_at_once_fire_each_time_once(acme: Module, in_role: InRole, look: Look, change: Change) -> None:
    made(acme, catch_up="all")
    set_back(change, 12)
    errors: list[BaseException] = []

    def run() -> None:
        try:
            for _ in range(40):
                submitter.step()
        except BaseException as error:  # noqa: BLE001 - told by the test
            errors.append(error)
        finally:
            connection.close()

    with in_role("control"):
        threads = [threading.Thread(target=run) for _ in range(2)]
        for each in threads:
            each.start()
        for each in threads:
            each.join(60)
    assert errors == []
    assert [row["state"] for row in look(FIRES)] == ["submitted"] * 12
    assert len(look("SELECT 1 FROM jobs")) == 12


def test_a_refusal_is_kept_and_shown(acme: Module, in_role: InRole, look: Look, change: Change) -> None:
    made(acme, job={"type": "kpi.refresh"})
    set_back(change, 1)
    step(in_role)
    row = only(look(FIRES))
    assert (row["state"], row["reason_code"], row["status"]) == ("refused", "contract_required", "rejected")


def test_an_environment_that_is_not_the_tenants_is_refused_when_made_and_when_it_went_away(
    acme: Module, in_role: InRole, look: Look, change: Change
) -> None:
    made(acme, job={"type": "ops.noop", "environment": "batch"})
    change("UPDATE environments SET allowed_tenants = '{globex}' WHERE name = 'batch'")
    asked = {"name": "again", "cron": "0 * * * *", "job": {"type": "ops.noop", "environment": "batch"}}
    assert fields(refused(acme.post(asked, path=SCHEDULES), 400, "invalid_fields")) == ["job.environment"]
    set_back(change, 1)
    step(in_role)
    row = only(look(FIRES))
    assert (row["state"], row["reason_code"], row["job_id"]) == ("refused", "unknown_environment", None)


def test_overlap(acme: Module, in_role: InRole, look: Look, change: Change) -> None:
    for name, overlap in (("a", "allow"), ("s", "skip"), ("w", "wait"), ("c", "cancel_running")):
        made(acme, name=name, overlap=overlap, catch_up="all")
    set_back(change, 2)
    step(in_role)
    states = {
        name: [
            row["state"]
            for row in look(
                "SELECT f.state FROM schedule_fires f JOIN schedules USING (schedule_id)"
                " WHERE name = %s ORDER BY fire_at",
                name,
            )
        ]
        for name in "aswc"
    }
    assert states == {
        "a": ["submitted", "submitted"],
        "s": ["submitted", "skipped"],
        "w": ["submitted", "waiting"],
        "c": ["submitted", "submitted"],
    }
    assert [row["status"] for row in look("SELECT status FROM jobs WHERE status = 'cancelled'")] == ["cancelled"]


def test_a_backfill_runs_a_range_once_in_the_bulk_band(
    acme: Module, in_role: InRole, look: Look, change: Change
) -> None:
    path = f"{SCHEDULES}/{made(acme)['schedule_id']}/backfill"
    asked = {"start": "2026-01-01T00:00:00Z", "end": "2026-01-01T05:00:00Z"}
    assert said(acme.post(asked, path=path), 202) == {"times": 5, "added": 5}
    step(in_role)
    assert said(acme.post({**asked, "end": "2026-01-01T06:00:00Z"}, path=path), 202) == {"times": 6, "added": 1}
    step(in_role)
    rows = look(FIRES)
    assert [(row["state"], row["priority"], row["backfill"]) for row in rows] == [
        ("submitted", rows[0]["priority"], True)
    ] * 6
    assert only(look("SELECT DISTINCT priority FROM jobs"))["priority"] == 4
    too_long = {"start": "2025-01-01T00:00:00Z", "end": "2026-01-01T05:00:00Z"}
    assert fields(refused(acme.post(too_long, path=path), 400, "invalid_fields")) == ["end"]


def test_paused_it_does_not_fire_and_resumed_it_goes_on_from_then(
    acme: Module, in_role: InRole, look: Look, change: Change
) -> None:
    address = f"{SCHEDULES}/{made(acme)['schedule_id']}"
    paused = said(acme.post({"reason": "holidays"}, path=f"{address}/pause"))
    assert (paused["pause_reason"], paused["next_fires"]) == ("holidays", [])
    set_back(change, 2)
    step(in_role)
    assert look(FIRES) == []
    assert said(acme.post({}, path=f"{address}/resume"))["paused_at"] is None
    step(in_role)
    assert look(FIRES) == []


def test_changed_by_version_deleted_and_nobody_elses(acme: Module) -> None:
    schedule = made(acme)
    address = f"{SCHEDULES}/{schedule['schedule_id']}"
    refused(
        acme.post({"name": "hourly", "cron": "@daily", "job": {"type": "ops.noop"}}, path=SCHEDULES), 409, "name_taken"
    )

    def patch(body: dict[str, Any]) -> Any:
        bearer = {"Authorization": acme._bearer}
        return acme._client.patch(address, body, content_type="application/json", headers=bearer)

    changed = said(patch({"version": 1, "cron": "@daily", "time_zone": "Europe/Vienna"}))
    assert (changed["version"], changed["cron"], changed["name"], changed["overlap"]) == (
        2,
        "@daily",
        "hourly",
        "allow",
    )
    assert refused(patch({"version": 1, "cron": "@hourly"}), 409, "changed_meanwhile")["version"] == 2
    refused(Module("globex").get(address), 404, "not_found")
    assert said(Module("globex").get(SCHEDULES))["items"] == []
    assert acme.ask("DELETE", address).status_code == 204
    refused(acme.get(address), 404, "not_found")
    made(acme)  # the name is free again


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"cron": "61 * * * *"}, "cron"),
        ({"time_zone": "Moon/Base"}, "time_zone"),
        ({"overlap": "never"}, "overlap"),
        ({"job": {"type": "nothing.such"}}, "job.type"),
        ({"job": {"type": "ops.noop", "environment": "nowhere"}}, "job.environment"),
        ({"job": {"type": "ops.noop", "run_at": "2026-01-01T00:00:00Z"}}, "job.run_at"),
        ({"job": {"type": "ops.sleep", "params": {"seconds": "x"}}}, "job.params.seconds"),
        ({"starts_at": "2026-02-01T00:00:00Z", "ends_at": "2026-01-01T00:00:00Z"}, "ends_at"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_what_is_wrong_is_named(acme: Module, wrong: dict[str, Any], field: str) -> None:
    asked = {"name": "x", "cron": "@daily", "job": {"type": "ops.noop"}, **wrong}
    assert fields(refused(acme.post(asked, path=SCHEDULES), 400, "invalid_fields")) == [field]

"""Fault 8, of schedules and triggers: the submitter is killed around fire times and events, and two of them run."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from uuid import uuid4

from opsplatform.plane import CHECKOUT, Plane
from tests.support.client import Caller, Truth, wait_for

FIRES = "SELECT fire_at, state, job_id FROM schedule_fires WHERE schedule_id = %s ORDER BY fire_at"
JOBS = "SELECT job_id FROM jobs WHERE concurrency_key = %s"


def made(caller: Caller, kind: str, **asked: object) -> str:
    answer = caller.request("POST", f"/operations/{kind}", json=asked)
    assert answer.status_code == 201, answer.text
    return str(answer.json()[f"{kind[:-1]}_id"])


def test_fire_times_during_its_death_are_fired_once_each(plane: Plane, caller: Caller, truth: Truth) -> None:
    key = str(uuid4())
    job = {"type": "ops.noop", "concurrency_key": key}
    schedule = made(caller, "schedules", name=key, cron="0 * * * *", catch_up="all", job=job)
    second = subprocess.Popen(
        [sys.executable, "manage.py", "run_submitter"],
        cwd=CHECKOUT,
        env={**os.environ, "OPS_HOME": str(plane.home), "OPS_PROCESS": "submitter-2"},
        stdout=subprocess.DEVNULL,
    )
    try:
        plane.kill("submitter")
        truth.execute(
            "UPDATE schedules SET next_fire_at = date_trunc('hour', clock_timestamp()) - interval '19 h'"
            " WHERE schedule_id = %s",
            schedule,
        )
        wait_for(lambda: truth.rows(FIRES, schedule), what="somebody fires")
        plane.kill("submitter")

        def all_settled() -> bool:
            rows = truth.rows(FIRES, schedule)
            return len(rows) >= 20 and {row["state"] for row in rows} == {"submitted"}

        wait_for(all_settled, what="every fire time has its job", within_s=60)
    finally:
        second.kill()
        second.wait(timeout=20)
    rows = truth.rows(FIRES, schedule)
    assert len({row["fire_at"] for row in rows}) == len(rows)
    assert {row["job_id"] for row in rows} == {row["job_id"] for row in truth.rows(JOBS, key)}
    assert len(truth.rows(JOBS, key)) == len(rows)
    truth.execute("UPDATE schedules SET deleted_at = clock_timestamp(), next_fire_at = NULL")


def test_events_during_its_death_fire_once_each(plane: Plane, calling: Callable[..., Caller], truth: Truth) -> None:
    caller, key = calling("globex"), str(uuid4())
    job = {"type": "ops.noop", "concurrency_key": key}
    conditions = {"data.type": "ops.sleep"}
    trigger = made(caller, "triggers", name=key, event_type="operations.job.submitted", conditions=conditions, job=job)
    for _ in range(5):
        plane.kill("submitter")
        caller.submit("ops.sleep", {"seconds": 0})
    firings = "SELECT state, job_id FROM trigger_firings WHERE trigger_id = %s"

    def all_submitted() -> bool:
        return [row["state"] for row in truth.rows(firings, trigger)] == ["submitted"] * 5

    wait_for(all_submitted, what="each event has its job", within_s=60)
    assert {row["job_id"] for row in truth.rows(firings, trigger)} == {row["job_id"] for row in truth.rows(JOBS, key)}
    truth.execute("UPDATE triggers SET enabled = false, deleted_at = clock_timestamp()")

"""Job types of the plane's own parts: nobody else submits them, finds them listed, or tries their jobs again."""

from __future__ import annotations

import json
from typing import Any

import pytest

from apps.jobs.lifecycle import Ending
from tests.integration.conftest import Change, Control, Look
from tests.support.api import JOBS, Module, fields, refused, said
from tests.support.work import admitted, claimed, finish, worker

INTERNAL = "migration.step"
SCHEDULES, TRIGGERS = "/operations/schedules", "/operations/triggers"
PARAMS = {
    "migration": "01890000-0000-7000-8000-000000000000",
    "account": "globex",
    "definition": {"name": "crm", "from": "1.4", "to": "1.5", "checksum": "sha256:" + "ab" * 32},
    "target": "acme",
    "step": "add",
    "direction": "up",
    "run": 1,
}
ASKED = {"type": INTERNAL, "params": PARAMS}


@pytest.fixture
def acme(db: None) -> Module:
    """Acme's module."""
    return Module("acme")


def test_it_is_refused_as_if_it_were_not_there(acme: Module, look: Look) -> None:
    problem = refused(acme.post(ASKED), 400, "invalid_fields")
    assert fields(problem) == ["type"]
    assert problem["errors"][0]["message"].startswith(f"there is no job type '{INTERNAL}'")
    assert look("SELECT 1 FROM jobs") == []


def test_it_is_refused_in_a_batch_too(acme: Module, look: Look) -> None:
    answer = acme.post({"jobs": [ASKED]}, path=f"{JOBS}/batch")
    assert "no job type" in answer.content.decode()
    assert look("SELECT 1 FROM jobs") == []


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (SCHEDULES, {"name": "nightly", "cron": "0 * * * *", "job": ASKED}),
        (TRIGGERS, {"name": "after", "event_type": "operations.job.completed", "job": ASKED}),
    ],
)
def test_no_schedule_and_no_trigger_submits_it(acme: Module, look: Look, path: str, body: dict[str, Any]) -> None:
    answer = acme.post(body, path=path)
    assert answer.status_code == 400
    assert any(INTERNAL in error["message"] for error in answer.json()["errors"]), answer.json()
    assert look("SELECT 1 FROM schedules UNION ALL SELECT 1 FROM triggers") == []


def test_no_plan_has_it_as_a_step(acme: Module, change: Change, look: Look) -> None:
    change(
        "INSERT INTO contracts (name, version, state, job_types, document, obligations, digest, created_at)"
        " VALUES ('crm', 1, 'active', '{*}', %s, '{}', 'sha256:0', clock_timestamp())",
        json.dumps({"plan": {"steps": [{"name": "x", **ASKED}]}}),
    )
    problem = acme.post({"type": "contract.run", "contract": "crm@1"}).json()
    assert "no job type is called" in json.dumps(problem)
    assert look("SELECT 1 FROM jobs") == []


def test_it_is_not_listed(acme: Module) -> None:
    listed = [each["type"] for each in said(acme.get("/operations/job-types"))["items"]]
    assert listed
    assert INTERNAL not in listed


def test_its_jobs_are_not_tried_again_by_hand_and_stay_as_they_were(acme: Module, control: Control, look: Look) -> None:
    job_id = admitted(INTERNAL, params=PARAMS)
    with control():
        finish(claimed(job_id, worker_id=worker()), Ending.FAILED, permanent=True)
    before = look("SELECT * FROM jobs")
    refused(acme.ask("POST", f"{JOBS}/{job_id}/retry"), 409, "not_retryable")
    assert look("SELECT * FROM jobs") == before


def test_its_jobs_are_seen_and_cancelled_like_any_others(acme: Module) -> None:
    job_id = admitted(INTERNAL, params=PARAMS)
    assert said(acme.get(f"{JOBS}/{job_id}"))["type"] == INTERNAL
    assert said(acme.ask("POST", f"{JOBS}/{job_id}/cancel"), 202)["status"] == "cancelled"


def test_its_jobs_do_not_tell_their_tenant_on_whose_account_they_run(acme: Module) -> None:
    job_id = admitted(INTERNAL, params=PARAMS)
    shown = said(acme.get(f"{JOBS}/{job_id}"))
    assert shown["params"]["step"] == "add"
    for path in ("", f"/{job_id}", f"/{job_id}/timeline", f"/{job_id}/why", f"/{job_id}/evidence"):
        assert "globex" not in acme.get(f"{JOBS}{path}").content.decode(), path

"""Triggers: events of the log submit jobs, each event once, and chains of them end."""

from __future__ import annotations

from typing import Any

import pytest

from apps.events import operations as event_log
from apps.schedules.operations import firings
from apps.tenancy.context import across_tenants
from tests.integration.conftest import Change, Look
from tests.support.api import Module, fields, refused, said
from tests.support.database import InRole
from tests.support.work import admitted, only
from workers import submitter

TRIGGERS = "/operations/triggers"
FIRINGS = "SELECT * FROM trigger_firings ORDER BY created_at, depth"


@pytest.fixture
def acme(db: None) -> Module:
    """Acme's module."""
    return Module("acme")


def made(module: Module, **more: Any) -> dict[str, Any]:
    asked = {"name": "after", "event_type": "operations.job.submitted", "job": {"type": "ops.noop"}, **more}
    return said(module.post(asked, path=TRIGGERS), 201)


def follow(in_role: InRole, *, steps: int = 3) -> None:
    """Number what was told and let the submitter look, as often as that."""
    with in_role("control"):
        for _ in range(steps):
            with across_tenants():
                event_log.number_committed(limit=500)
            submitter.step()


def test_an_event_submits_its_job_once_with_what_it_says(acme: Module, in_role: InRole, look: Look) -> None:
    admitted("ops.sleep", params={"seconds": 0})  # before there was a trigger
    trigger = made(
        acme,
        conditions={"data.type": ["ops.sleep"], "job.environment": "default"},
        job={"type": "ops.noop", "concurrency_key": "after ${event.subject}"},
    )
    wanted = admitted("ops.sleep", params={"seconds": 0})
    admitted("ops.noop")
    admitted("ops.sleep", tenant="globex", params={"seconds": 0})
    follow(in_role)
    row = only(look(FIRINGS))
    assert (row["event_subject"], row["state"], row["depth"]) == (str(wanted), "submitted", 1)
    job = only(look("SELECT * FROM jobs WHERE job_id = %s", row["job_id"]))
    assert (job["trigger"], job["submitted_by"], job["tenant_id"]) == ("event", "data-acquisition", "acme")
    assert job["concurrency_key"] == f"after {wanted}"
    shown = said(acme.get(f"{TRIGGERS}/{trigger['trigger_id']}/firings"))["items"]
    assert [each["job_id"] for each in shown] == [str(row["job_id"])]


def test_events_read_again_fire_nothing_again(acme: Module, in_role: InRole, look: Look, change: Change) -> None:
    made(acme, conditions={"data.type": "ops.sleep"})
    admitted("ops.sleep", params={"seconds": 0})
    follow(in_role)
    change("UPDATE event_consumers SET position = 0 WHERE name = 'triggers'")
    follow(in_role)
    assert len(look(FIRINGS)) == 1
    assert len(look("SELECT 1 FROM jobs")) == 2


def test_killed_between_firing_and_job_it_goes_on_where_it_was(acme: Module, in_role: InRole, look: Look) -> None:
    made(acme, conditions={"data.type": "ops.sleep"})
    admitted("ops.sleep", params={"seconds": 0})
    with in_role("control"), across_tenants():
        event_log.number_committed(limit=500)
        assert firings.follow() == (1, True)  # and the process is gone
    assert only(look(FIRINGS))["state"] == "waiting"
    follow(in_role)
    assert only(look(FIRINGS))["state"] == "submitted"


def test_a_loop_ends_and_says_why(acme: Module, in_role: InRole, look: Look) -> None:
    made(acme, job={"type": "ops.noop"})
    admitted()
    follow(in_role, steps=25)
    rows = look(FIRINGS)
    assert [row["depth"] for row in rows] == list(range(1, 10))
    assert {row["state"] for row in rows[:8]} == {"submitted"}
    assert (rows[8]["state"], rows[8]["reason_code"]) == ("refused", "trigger_chain_too_long")
    assert len(look("SELECT 1 FROM jobs")) == 9


def test_what_cannot_be_filled_is_refused_and_told(acme: Module, in_role: InRole, look: Look) -> None:
    made(acme, conditions={"data.type": "ops.sleep"}, job={"type": "ops.noop", "concurrency_key": "${event.data.no}"})
    admitted("ops.sleep", params={"seconds": 0})
    follow(in_role)
    row = only(look(FIRINGS))
    assert (row["state"], row["reason_code"], row["job_id"]) == ("refused", "placeholder_unresolved", None)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"event_type": "operations.*.failed"}, "event_type"),
        ({"conditions": {"tenant": "x"}}, "conditions.tenant"),
        ({"conditions": {"data.type": {"a": 1}}}, "conditions.data.type"),
        ({"job": {"type": "ops.noop", "params": {"x": "${event.secret}"}}}, "job.params"),
        ({"job": {"type": "ops.noop", "contract": "${event.subject}"}}, "job.contract"),
        ({"job": {"type": "nothing.such"}}, "job.type"),
        ({"job": {"type": "ops.noop", "environment": "nowhere"}}, "job.environment"),
        (
            {"job": {"type": "ops.noop", "environment": "nowhere", "concurrency_key": "${event.subject}"}},
            "job.environment",
        ),
    ],
)
def test_what_is_wrong_is_named(acme: Module, wrong: dict[str, Any], field: str) -> None:
    asked = {"name": "x", "event_type": "operations.job.*", "job": {"type": "ops.noop"}, **wrong}
    assert fields(refused(acme.post(asked, path=TRIGGERS), 400, "invalid_fields")) == [field]


def test_nobody_elses(acme: Module) -> None:
    address = f"{TRIGGERS}/{made(acme)['trigger_id']}"
    refused(Module("globex").get(address), 404, "not_found")
    assert acme.ask("DELETE", address).status_code == 204
    refused(acme.get(address), 404, "not_found")

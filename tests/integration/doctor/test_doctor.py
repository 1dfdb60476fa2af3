"""`manage.py doctor` finds each promise broken by the one row that breaks it, and holds its tongue otherwise."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from contextlib import suppress
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from apps.evidence import heads
from apps.jobs.invariants import PROMISES, Finding, examine, silent_processes
from apps.jobs.lifecycle import Ending
from apps.jobs.operations import gates
from apps.jobs.operations.gates import Load, ShutGate
from tests.integration.conftest import Change, Control
from tests.support.work import admitted, claimed, dispatched, finish, worker
from workers.sealer import Sealer

LONG_AGO = "2020-01-01T00:00:00Z"


def found(control: Control, number: int) -> list[Finding]:
    (promise,) = [each for each in PROMISES if each.number == number]
    with control():
        return examine(promise, since=LONG_AGO)


@pytest.fixture
def done(control: Control) -> Any:
    """A job that succeeded."""
    job_id = admitted()
    with control():
        finish(claimed(job_id, worker_id=worker()), Ending.SUCCEEDED)
    return job_id


@pytest.fixture
def running(control: Control) -> Any:
    """A job that a living worker runs."""
    job_id = admitted()
    with control():
        claimed(job_id, worker_id=worker())
    return job_id


def test_a_well_plane_keeps_every_promise(control: Control, done: Any, running: Any) -> None:
    for promise in PROMISES:
        assert found(control, promise.number) == []


@pytest.mark.parametrize(
    ("ruin", "wrong"),
    [
        ("UPDATE processes SET lease_until = now() - interval '1 minute'", "lease is over"),
        ("UPDATE jobs SET started_at = now() - interval '1 day'", "past its time-out"),
        ("UPDATE jobs SET status = 'dispatched', dispatched_at = now() - interval '1 hour'", "neither claimed"),
        ("UPDATE jobs SET status = 'retrying', due_at = now() - interval '1 minute'", "due long ago"),
    ],
)
def test_1_a_stuck_job_is_named(control: Control, running: Any, change: Change, ruin: str, wrong: str) -> None:
    change(ruin)
    (finding,) = found(control, 1)
    assert finding.who == str(running)
    assert wrong in finding.wrong


def test_2_a_lease_whose_fence_has_ended_is_named(control: Control, running: Any, change: Change) -> None:
    change(
        "INSERT INTO attempts (job_id, fence, tenant_id, number, ending, log_lines)"
        " SELECT job_id, fence, tenant_id, 1, 'worker_lost', 0 FROM jobs"
    )
    assert [finding.who for finding in found(control, 2)] == [str(running)]


@pytest.mark.parametrize(
    "ruin",
    [
        "DELETE FROM attempts",
        "DELETE FROM events WHERE type = 'operations.job.completed'",
        "INSERT INTO events (event_id, tenant_id, type, subject, data)"
        " SELECT gen_random_uuid(), tenant_id, type, subject, data FROM events WHERE type = 'operations.job.completed'",
        "DELETE FROM evidence_records WHERE predicate = 'outcome'",
    ],
)
def test_3_a_success_that_is_not_just_once_is_named(control: Control, done: Any, change: Change, ruin: str) -> None:
    change(ruin)
    assert [finding.who for finding in found(control, 3)] == [str(done)]


@pytest.mark.parametrize(
    ("ruin", "who"),
    [
        ("UPDATE environments SET slots = 0, reserved_slots = 0", "default"),
        ("UPDATE plans SET max_running = 0", "acme"),
    ],
)
def test_4_a_limit_that_is_passed_is_named(control: Control, running: Any, change: Change, ruin: str, who: str) -> None:
    change(ruin)
    assert [finding.who for finding in found(control, 4)] == [who]


def test_4_two_jobs_of_one_concurrency_key_are_named(control: Control, change: Change) -> None:
    first, second = admitted(concurrency_key="k"), admitted(concurrency_key="k")
    with control():
        dispatched(first)
        dispatched(second)
    assert [finding.who for finding in found(control, 4)] == ["acme"]


def test_5_an_idle_environment_is_named_and_one_without_workers_is_not(control: Control, change: Change) -> None:
    admitted()
    change("UPDATE jobs SET queued_at = now() - interval '1 minute'")
    assert found(control, 5) == []
    with control():
        worker(capacity=4)
    assert [finding.who for finding in found(control, 5)] == ["default"]


@pytest.mark.parametrize(
    ("gate", "explains"),
    [
        (ShutGate("rate", type="ops.noop"), True),
        (ShutGate("tenant_rate", tenant_id="acme"), True),
        (ShutGate("governance_away", tenant_id="acme", type="ops.noop"), True),
        (ShutGate("subscription_away", tenant_id="acme", type="ops.noop"), True),
        (ShutGate("decision_awaited", tenant_id="acme", type="ops.noop"), True),
        (ShutGate("broker_down"), True),
        (ShutGate("tenant_rate", tenant_id="globex"), False),
        (ShutGate("rate", type="ops.sleep"), False),
        (ShutGate("decision_awaited", tenant_id="acme", type="ops.sleep"), False),
        (ShutGate("no_workers", environment="batch"), False),
    ],
    ids=str,
)
def test_5_what_a_gate_that_is_shut_explains_is_no_idling_and_the_rest_is(
    control: Control, change: Change, gate: ShutGate, explains: bool
) -> None:
    admitted()
    change("UPDATE jobs SET queued_at = now() - interval '1 minute'")
    load = {"default": Load({}, 4, 300.0)}
    with control():
        worker(capacity=4)
        gates.note({gate}, loads=load)
    assert [finding.who for finding in found(control, 5)] == ([] if explains else ["default"])
    with control():
        gates.note(set(), loads=load)
    assert [finding.who for finding in found(control, 5)] == ["default"], "the gate has opened: it idles"


def test_5_a_gate_noted_by_a_scheduler_that_looks_no_more_explains_nothing(control: Control, change: Change) -> None:
    admitted()
    change("UPDATE jobs SET queued_at = now() - interval '1 minute'")
    with control():
        worker(capacity=4)
        gates.note({ShutGate("tenant_rate", tenant_id="acme")}, loads={"default": Load({}, 4, 300.0)})
    change("UPDATE pool_loads SET seen_at = now() - interval '1 minute'")
    assert [finding.who for finding in found(control, 5)] == ["default"]


@pytest.mark.parametrize("predicate", ["outcome", "admission"])
def test_6_a_job_without_its_evidence_is_named(control: Control, done: Any, change: Change, predicate: str) -> None:
    change("DELETE FROM evidence_records WHERE predicate = %s", predicate)
    assert [finding.who for finding in found(control, 6)] == [str(done)]


def test_8_an_event_without_a_place_is_named(control: Control, done: Any, change: Change) -> None:
    change("UPDATE events SET occurred_at = now() - interval '1 minute'")
    assert {finding.promise for finding in found(control, 8)} == {8}


def test_a_process_that_fell_silent_is_named(control: Control, running: Any, change: Change) -> None:
    with control():
        assert silent_processes() == []
    change("UPDATE processes SET beat_at = now() - interval '1 minute'")
    with control():
        assert [finding.who for finding in silent_processes()] == ["worker-default"]


def test_the_command_says_it_in_words_and_by_its_exit_code(
    control: Control, done: Any, change: Change, in_role: Callable[..., Any]
) -> None:
    said = StringIO()
    with in_role("control"):
        call_command("doctor", stdout=said)
    assert said.getvalue().strip().endswith("all promises hold")
    change("UPDATE evidence_records SET payload = 'other'::bytea WHERE predicate = 'outcome'")
    said = StringIO()
    with in_role("control"), pytest.raises(SystemExit) as ended:
        call_command("doctor", stdout=said)
    assert ended.value.code == 1
    assert f"record_changed: of job {done}: a record that waits for its seal: the bytes were changed" in said.getvalue()
    assert "1 of 9 promises are broken" in said.getvalue()


def test_7_a_touched_log_and_one_that_is_not_sealed_are_named(
    control: Control,
    done: Any,
    change: Change,
    in_role: Callable[..., Any],
    tmp_path: Path,
    settings: Any,
) -> None:
    settings.ENVIRONMENT = dataclasses.replace(settings.ENVIRONMENT, home=tmp_path)
    with control():
        Sealer(heads=heads.kept()).step()

    def wrong() -> list[str]:
        said = StringIO()
        with in_role("control"), suppress(SystemExit):
            call_command("doctor", "--json", stdout=said)
        (promise,) = [each for each in json.loads(said.getvalue())["promises"] if each["number"] == 7]
        return [f"{finding['who']} {finding['wrong']}" for finding in promise["findings"]]

    assert wrong() == []
    admitted()
    change("UPDATE evidence_records SET created_at = now() - interval '1 minute' WHERE number IS NULL")
    (late,) = wrong()
    assert late.startswith("operations/local/acme 1 records wait for their seal since")
    change("DELETE FROM evidence_records WHERE number = 1 OR number IS NULL")
    assert wrong() == [
        "operations/local/acme record_missing: number 1 was sealed, and its record is not there",
    ]

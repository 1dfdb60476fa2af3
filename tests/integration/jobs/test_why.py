"""`why` names holders, tells when the clock clears a gate, foretells the start, and adds past waits up."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest

from apps.core.rate import Rate
from apps.jobs.lifecycle import Ending
from apps.jobs.operations.deferral import open_breaker
from apps.jobs.operations.dependencies import DependsOn
from apps.jobs.operations.gates import ShutGate
from apps.jobs.representation import instant
from apps.jobs.scheduling import TypeLimits
from tests.integration.conftest import Change, Control, Look
from tests.support.api import Module, refused, said
from tests.support.queue import Driver, queue
from tests.support.scene import Scene, paused, why
from tests.support.work import admitted, claimed, finish, worker
from workers.selector import tenants_shares


def test_ones_own_holders_are_named_and_others_counted(scene: Scene, acme: Module, globex: Module) -> None:
    scene.alive()
    scene.change("UPDATE environments SET slots = 3 WHERE name = 'default'")
    mine = scene.one(type="ops.sleep")
    theirs = queue(scene.session, tenant="globex", type="ops.sleep", count=2)
    scene.run(mine, *theirs)
    scene.noted(ops_sleep=3)
    (gate,) = why(acme, scene.one())["gates"]
    assert (gate["gate"], gate["held_by"], gate["others"]) == (
        "environment_full",
        [{"job_id": str(mine), "type": "ops.sleep"}],
        2,
    )
    refused(globex.get(f"/operations/jobs/{mine}/why"), 404, "not_found")


def test_a_tenants_rate_is_told_with_when_the_next_token_comes_and_the_forecast_waits_for_it(
    scene: Scene, acme: Module
) -> None:
    scene.alive()
    scene.change("UPDATE plans SET rate = '60/h burst 3' WHERE plan_id = 'gold'")
    scene.change("INSERT INTO rate_buckets (bucket, tokens, refilled_at) VALUES ('tenant:acme', 0.25, now())")
    scene.one()
    answer = why(acme, scene.one())
    (gate,) = answer["gates"]
    assert gate["clears"] == "the clock"
    found = re.fullmatch(
        r"the rate 60/h burst 3 of its tenant's plan is used up; the next comes in (\d+\.\d) s", gate["says"]
    )
    assert found is not None
    assert 40 < float(found[1]) <= 45
    in_s = datetime.fromisoformat(answer["expected_start"]) - datetime.fromisoformat(answer["as_of"])
    assert 100 < in_s.total_seconds() <= 105, "one token for the job before it, one for itself"


@pytest.mark.parametrize("name", ["governance", "subscription"])
def test_a_point_that_is_away_is_told_with_since_when(scene: Scene, acme: Module, look: Look, name: str) -> None:
    scene.alive()
    with scene.control():
        open_breaker(reason="no answer", name=name)
    (gate,) = why(acme, scene.one())["gates"]
    (row,) = look("SELECT opened_at FROM breakers WHERE name = %s", name)
    assert gate["says"].startswith(f"{name.capitalize()}, whose decision is needed")
    assert gate["says"].endswith(f"is away since {instant(row['opened_at'])}")
    assert gate["clears"] == "its return"


def test_upstreams_that_are_not_over_are_named_with_type_and_status(scene: Scene, acme: Module) -> None:
    scene.alive()
    first, second, third = admitted(), admitted("ops.sleep", params={"seconds": 60}), admitted()
    job_id = admitted(depends_on=DependsOn(jobs=[first, second, third]))
    scene.run(second)
    scene.change("UPDATE job_dependencies SET settled = 'succeeded' WHERE upstream_id = %s", first)
    (gate,) = why(acme, job_id)["gates"]
    assert gate["gate"] == "dependencies"
    assert gate["held_by"] == [
        {"job_id": str(second), "type": "ops.sleep", "status": "dispatched"},
        {"job_id": str(third), "type": "ops.noop", "status": "queued"},
    ]


def test_forecasts_are_kept_for_thirty_days(scene: Scene, acme: Module, look: Look) -> None:
    scene.alive()
    old, young = scene.one(), scene.one()
    for job_id, days in ((old, 30.1), (young, 29.9)):
        why(acme, job_id)
        scene.change(
            "UPDATE start_predictions SET predicted_at = now() - %s * interval '1 day' WHERE job_id = %s", days, job_id
        )
    scene.noted()
    assert [row["job_id"] for row in look("SELECT job_id FROM start_predictions")] == [young]


def test_the_place_counts_what_comes_before_it_by_band_and_waiting(scene: Scene, acme: Module) -> None:
    scene.alive()
    for before in ({"priority": 0}, {"waited_s": 60}, {"priority": 4, "waited_s": 7200}):
        scene.one(**before)
    job_id = scene.one()
    scene.one(priority=3)
    scene.one()
    queue(scene.session, tenant="globex", count=5, waited_s=900)
    scene.noted(weight=600)
    position = why(acme, job_id)["position"]
    assert position == {"in_tenant": 4, "overall": 7}, "three before it, and as much again of others' at equal weight"


def test_what_it_said_is_measured_against_what_came(scene: Scene, acme: Module, look: Look) -> None:
    scene.alive()
    job_id = scene.one()
    answer = why(acme, job_id)
    assert answer["expected_start"] is not None
    assert answer["calibration"] is None
    why(acme, job_id)
    (kept,) = look("SELECT * FROM start_predictions")
    assert kept["job_id"] == job_id
    scene.change(
        "UPDATE jobs SET status = 'running', fence = 1, dispatched_at = now(), worker_id = job_id, started_at ="
        " (SELECT starts_at + interval '7 s' FROM start_predictions) WHERE job_id = %s",
        job_id,
    )
    found = why(acme, scene.one())["calibration"]
    assert found == {"predictions": 1, "median_error_s": 7.0}


def test_a_pause_puts_the_start_off_to_its_end_the_longest_one(scene: Scene, acme: Module, platform: Module) -> None:
    scene.alive()
    job_id = scene.one()
    soon, late = (datetime.now(tz=UTC) + timedelta(hours=hours) for hours in (1, 2))
    paused(acme, "default", until=late.isoformat())
    paused(platform, "default", until=soon.isoformat())
    answer = why(acme, job_id)
    assert [each["gate"] for each in answer["gates"]] == ["paused"]
    assert answer["gates"][0]["until"] == answer["expected_start"] == instant(late)
    behind = why(acme, scene.one())["expected_start"]
    assert late < datetime.fromisoformat(behind) < late + timedelta(minutes=1), "and the work before it after that"


def test_under_a_pause_without_an_end_nothing_is_foretold(scene: Scene, acme: Module, look: Look) -> None:
    scene.alive()
    job_id = scene.one()
    paused(acme, "default", until=(datetime.now(tz=UTC) + timedelta(hours=1)).isoformat())
    paused(acme, "default", type="ops.noop")
    answer = why(acme, job_id)
    assert (answer["gates"][0]["until"], answer["expected_start"]) == (None, None)
    assert answer["position"]["in_tenant"] == 1
    assert look("SELECT 1 FROM start_predictions") == []


def test_behind_long_jobs_the_start_waits_for_the_first_of_them_to_end(scene: Scene, acme: Module) -> None:
    scene.alive()
    mine = scene.one(type="ops.sleep")
    scene.run(mine)
    scene.noted(worker_in_s=600.0, ops_sleep=4)
    answer = why(acme, scene.one())
    (gate,) = answer["gates"]
    assert (gate["gate"], gate["held_by"], gate["others"], gate["clears"]) == (
        "workers_busy",
        [{"job_id": str(mine), "type": "ops.sleep"}],
        3,
        "the end of one of them",
    )
    in_s = datetime.fromisoformat(answer["expected_start"]) - datetime.fromisoformat(answer["as_of"])
    assert in_s.total_seconds() == 600


def test_past_waits_name_each_gate_in_its_time_and_add_up(scene: Scene, acme: Module) -> None:
    scene.alive()
    job_id = scene.one(waited_s=100)
    for gate, tenant_id, start, stop in (
        ("environment_full", None, 90, 60),
        ("tenant_limit", "acme", 70, 40),
        ("tenant_limit", "globex", 30, 20),
        ("tenant_rate", "acme", 25, 15),
        ("tenant_rate", "globex", 10, 5),
        ("no_workers", None, 65, 62),
    ):
        scene.change(
            "INSERT INTO gate_intervals (gate, environment, tenant_id, started_at, ended_at)"
            " SELECT %s, NULL, %s, submitted_at + make_interval(secs => %s), submitted_at + make_interval(secs => %s)"
            " FROM jobs WHERE job_id = %s",
            gate,
            tenant_id,
            100 - start,
            100 - stop,
            job_id,
        )
    waits = why(acme, job_id)["waits"]
    assert [(part["gate"], round(part["seconds"])) for part in waits["parts"][:-1]] == [
        ("turn", 10),
        ("environment_full", 25),
        ("no_workers", 3),
        ("environment_full", 2),
        ("tenant_limit", 20),
        ("turn", 15),
        ("tenant_rate", 10),
    ]
    assert waits["parts"][-1]["gate"] == "turn"
    assert sum(part["seconds"] for part in waits["parts"]) == pytest.approx(waits["total_s"])


def test_a_gate_is_noted_once_while_it_is_shut_and_ended_when_it_opens(scene: Scene, look: Look) -> None:
    for shut in ([ShutGate("broker_down")], [ShutGate("broker_down")], [ShutGate("tenant_limit", tenant_id="acme")]):
        scene.noted(*shut)
    rows = look("SELECT gate, tenant_id, ended_at IS NULL AS open FROM gate_intervals ORDER BY id")
    assert [tuple(row.values()) for row in rows] == [("broker_down", None, False), ("tenant_limit", "acme", True)]


def test_the_scheduler_notes_what_it_sees(scene: Scene, look: Look) -> None:
    from workers import gatekeeper  # noqa: PLC0415 - as the scheduler has it

    scene.change("UPDATE environments SET slots = 1 WHERE name = 'default'")
    scene.run(scene.one(type="ops.sleep"))
    scene.change("UPDATE plans SET rate = '60/h'")
    scene.change(
        "INSERT INTO rate_buckets (bucket, tokens, refilled_at) VALUES ('tenant:acme', 0.9, now()),"
        " ('tenant:globex', 0.9, now() - interval '30 s'), ('tenant:sandbox', 1.1, now()), ('type:ops.noop', 0, now())"
    )
    with scene.control():
        gatekeeper.note(
            away=True,
            awaited={("globex", "ops.sleep"): "governance_away"},
            limits={},
            rates_of_types={"type:ops.noop": Rate(per_s=0.1, burst=1), "type:ops.sleep": Rate(per_s=0.1, burst=1)},
            shares=tenants_shares(),
            selector=Driver(slots=1).selector,
            paces={},
        )
    gates_open = {row["gate"] for row in look("SELECT gate FROM gate_intervals WHERE environment = 'default'")}
    assert gates_open == {"environment_full", "no_workers"}
    everywhere = look("SELECT gate, tenant_id, type FROM gate_intervals WHERE environment IS NULL")
    assert {tuple(row.values()) for row in everywhere} == {
        ("broker_down", None, None),
        ("tenant_rate", "acme", None),
        ("rate", None, "ops.noop"),
        ("governance_away", "globex", "ops.sleep"),
    }
    assert look("SELECT by_type FROM pool_loads WHERE environment = 'default'")[0]["by_type"] == {"ops.sleep": 1}


@pytest.mark.parametrize(
    ("running", "shut"),
    [
        ({"acme": 1, "globex": 3}, {("workers_busy", None, None)}),
        ({"acme": 3}, {("reserved_worker", "acme", None)}),
        (
            {"acme": 1, "globex": 2},
            {("reserved_worker", "acme", "ops.noop"), ("reserved_worker", "globex", "ops.noop")},
        ),
        ({"acme": 1, "globex": 1}, set()),
    ],
)
def test_the_scheduler_notes_what_long_jobs_keep_shut(
    scene: Scene, look: Look, running: dict[str, int], shut: set[tuple[str, str | None, str | None]]
) -> None:
    from workers import gatekeeper  # noqa: PLC0415 - as the scheduler has it

    scene.alive()
    for tenant, count in running.items():
        scene.run(*queue(scene.session, tenant=tenant, type="ops.sleep", count=count))
    scene.change("UPDATE jobs SET status = 'running', worker_id = job_id, started_at = now() - interval '60 s'")
    with scene.control():
        gatekeeper.note(
            away=False,
            awaited={},
            limits={"ops.noop": TypeLimits(), "ops.sleep": TypeLimits()},
            rates_of_types={},
            shares={},
            selector=Driver(slots=9).selector,
            paces={"ops.noop": 0.001, "ops.sleep": 100.0},
        )
    noted = look(
        "SELECT gate, tenant_id, type FROM gate_intervals WHERE environment = 'default' AND gate LIKE '%%worker%%'"
    )
    assert {tuple(row.values()) for row in noted} == shut
    (load,) = look("SELECT short_types, worker_in_s FROM pool_loads WHERE environment = 'default'")
    assert load["short_types"] == ["ops.noop"]
    assert load["worker_in_s"] == pytest.approx(40, abs=2)


@pytest.mark.parametrize("ran", [True, False], ids=["after its attempt", "before it was dispatched"])
def test_what_lay_over_until_it_was_reopened_did_not_wait(
    scene: Scene, acme: Module, control: Control, change: Change, ran: bool
) -> None:
    job_id = admitted()
    if ran:
        with control():
            change("UPDATE jobs SET max_attempts = 1 WHERE job_id = %s", job_id)
            finish(claimed(job_id, worker_id=worker()), Ending.FAILED)
    else:
        said(acme.post({}, path=f"/operations/jobs/{job_id}/cancel"), 202)
    change("UPDATE events SET occurred_at = occurred_at - interval '1 h' WHERE subject = %s", str(job_id))
    change("UPDATE jobs SET submitted_at = submitted_at - interval '1 h 10 s' WHERE job_id = %s", job_id)
    change(
        "UPDATE attempts SET dispatched_at = dispatched_at - interval '1 h', finished_at = finished_at - interval '1 h'"
        " WHERE job_id = %s",
        job_id,
    )
    said(acme.post({}, path=f"/operations/jobs/{job_id}/retry"), 202)
    scene.alive()
    waits = why(acme, job_id)["waits"]
    assert [part["gate"] for part in waits["parts"]] == ["turn"], "its turn before the end and after the reopening"
    assert waits["parts"][0]["seconds"] == waits["total_s"] == pytest.approx(10, abs=5)


def test_a_pause_has_its_part_of_the_wait_to_the_instant(scene: Scene, acme: Module, look: Look) -> None:
    scene.alive()
    paused(acme, "default")
    job_id = scene.one()
    scene.noted(ShutGate("environment_full", environment="default"))
    waits = why(acme, job_id)["waits"]
    assert [part["gate"] for part in waits["parts"]] == ["paused"], "from before the scheduler looked"
    scene.noted(ShutGate("paused", environment="default", tenant_id="acme"))
    said(acme.post({}, path="/operations/queues/default/resume"))
    (pause,) = look("SELECT ended_at FROM pauses")
    first, after = why(acme, job_id)["waits"]["parts"]
    assert (first["gate"], first["until"], after["gate"]) == ("paused", instant(pause["ended_at"]), "turn")


def test_where_there_are_no_slots_no_end_of_a_job_helps_and_nothing_is_foretold(scene: Scene, acme: Module) -> None:
    scene.alive()
    scene.change("UPDATE environments SET slots = 0, reserved_slots = 0 WHERE name = 'default'")
    answer = why(acme, scene.one())
    (gate,) = answer["gates"]
    assert (gate["gate"], gate["says"], gate["clears"]) == (
        "environment_full",
        "default has no slots",
        "slots given to it",
    )
    assert answer["expected_start"] is None

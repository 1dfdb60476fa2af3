"""`why` tells the truth: each situation is built of rows and operations, and every gate that holds is named."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from django.db import connection

from apps.core.ids import uuid7
from apps.core.rate import Rate
from apps.jobs.operations import gates
from apps.jobs.operations.deferral import open_breaker
from apps.jobs.operations.dependencies import DependsOn
from apps.jobs.operations.gates import Load, ShutGate
from apps.jobs.operations.processes import REGISTER, registration
from apps.jobs.representation import instant
from apps.jobs.retry import Limits
from apps.jobs.types import REGISTRY, job_type
from tests.integration.conftest import Change, Control, Look
from tests.support.api import Module, refused, said
from tests.support.queue import Driver, end, queue
from tests.support.work import admitted, submitted
from workers.selector import tenants_shares


class Scene:
    """What a situation is built with."""

    def __init__(self, *, session: psycopg.Connection[Any], change: Change, control: Control) -> None:
        self.session, self.change, self.control = session, change, control
        self.acme = self.other = 0

    def alive(self, *, worker: bool = True, scheduler: bool = True, environment: str = "default") -> None:
        """Register live processes."""
        for role, capacity, wanted in (("worker", 4, worker), ("scheduler", 0, scheduler)):
            if wanted:
                facts = registration(
                    process_id=uuid7(),
                    role=role,
                    name=role,
                    host="here",
                    pid=1,
                    environment=environment if role == "worker" else None,
                    capacity=capacity,
                )
                with self.control(), connection.cursor() as cursor:
                    cursor.execute(REGISTER, facts)

    def run(self, *ids: UUID) -> None:
        """Let jobs hold their slots."""
        self.change(
            "UPDATE jobs SET status = 'dispatched', fence = 1, dispatched_at = now() WHERE job_id = ANY (%s)", list(ids)
        )

    def noted(self, *shut: ShutGate, weight: float = 400, **by_type: int) -> None:
        """Note what the scheduler would: loads of the default environment, types with `_` for a dot."""
        load = Load({name.replace("_", "."): count for name, count in by_type.items()}, 4, weight)
        with self.control():
            gates.note(set(shut), loads={"default": load})

    def one(self, **more: Any) -> UUID:
        (job_id,) = queue(self.session, tenant="acme", **more)
        return job_id


Situation = Callable[[Scene], UUID]
SITUATIONS: list[tuple[str, list[str], Situation]] = []


def situation(*gates_shut: str) -> Callable[[Situation], Situation]:
    def add(build: Situation) -> Situation:
        SITUATIONS.append((build.__name__, list(gates_shut), build))
        return build

    return add


@situation("turn")
def nothing_holds_it(scene: Scene) -> UUID:
    scene.alive()
    return scene.one()


@situation("no_workers")
def no_worker_lives(scene: Scene) -> UUID:
    scene.alive(worker=False)
    return scene.one()


@situation("no_workers")
def workers_of_another_environment_do_not_count(scene: Scene) -> UUID:
    scene.alive(environment="batch")
    return scene.one()


@situation("no_scheduler")
def no_scheduler_lives(scene: Scene) -> UUID:
    scene.alive(scheduler=False)
    return scene.one()


@situation("no_workers", "no_scheduler")
def nothing_lives(scene: Scene) -> UUID:
    return scene.one()


@situation("run_at")
def its_time_has_not_come(_: Scene) -> UUID:
    return admitted(run_at=datetime.now(tz=UTC) + timedelta(hours=1))


@situation("retry_pause")
def it_pauses_after_a_failure(scene: Scene) -> UUID:
    job_id = scene.one()
    scene.change("UPDATE jobs SET status = 'retrying', due_at = now() + interval '1 minute' WHERE job_id = %s", job_id)
    return job_id


@situation("dependencies")
def it_is_blocked(scene: Scene) -> UUID:
    job_id = scene.one()
    scene.change("UPDATE jobs SET status = 'blocked' WHERE job_id = %s", job_id)
    return job_id


@situation("children")
def it_waits_for_its_children(scene: Scene) -> UUID:
    job_id, child = scene.one(), scene.one()
    scene.change("UPDATE jobs SET status = 'waiting_children' WHERE job_id = %s", job_id)
    scene.change("UPDATE jobs SET parent_id = %s WHERE job_id = %s", job_id, child)
    return job_id


@situation("paused")
def its_environment_is_paused(scene: Scene) -> UUID:
    scene.alive()
    scene.change("UPDATE environments SET paused_until = now() + interval '1 hour', pause_reason = 'moving'")
    return scene.one()


@situation("turn")
def a_pause_that_is_over_holds_nothing(scene: Scene) -> UUID:
    scene.alive()
    scene.change("UPDATE environments SET paused_until = now() - interval '1 second'")
    return scene.one()


@situation("broker_down")
def the_broker_is_away(scene: Scene) -> UUID:
    scene.alive()
    with scene.control():
        open_breaker(reason="ConnectionError")
    return scene.one()


@situation("broker_down")
def it_was_deferred(scene: Scene) -> UUID:
    scene.alive()
    with scene.control():
        open_breaker(reason="ConnectionError")
    return admitted()


@situation("environment_full")
def its_environment_is_full_of_others(scene: Scene) -> UUID:
    scene.alive()
    scene.change("UPDATE environments SET slots = 3 WHERE name = 'default'")
    scene.noted(ops_sleep=3)
    return scene.one()


@situation("environment_full")
def its_environment_is_full_of_its_own(scene: Scene) -> UUID:
    scene.alive()
    scene.change("UPDATE environments SET slots = 2 WHERE name = 'default'")
    scene.run(scene.one(), scene.one())
    return scene.one()


@situation("reserved")
def the_last_slot_is_for_others(scene: Scene) -> UUID:
    scene.alive()
    scene.change("UPDATE environments SET slots = 3, reserved_slots = 1 WHERE name = 'default'")
    scene.run(scene.one(), scene.one())
    return scene.one()


@situation("tenant_limit")
def its_tenant_holds_all_it_may(scene: Scene) -> UUID:
    scene.alive()
    scene.change("UPDATE plans SET max_running = 2 WHERE plan_id = 'gold'")
    scene.run(scene.one(), scene.one())
    return scene.one()


@situation("tenant_limit")
def a_limit_counts_every_environment(scene: Scene) -> UUID:
    scene.alive()
    scene.change("UPDATE plans SET max_running = 1 WHERE plan_id = 'gold'")
    scene.run(scene.one(environment="batch"))
    return scene.one()


@situation("tenant_limit")
def its_subscription_has_ended(scene: Scene) -> UUID:
    scene.alive()
    scene.change("UPDATE subscriptions SET state = 'ended' WHERE tenant_id = 'acme'")
    return scene.one()


@situation("type_limit")
def its_type_is_at_its_limit_by_others(scene: Scene) -> UUID:
    scene.alive()
    scene.noted(why_limited=2)
    return scene.one(type="why.limited")


@situation("type_limit", "type_limit_tenant")
def its_type_is_at_its_limit_by_its_own(scene: Scene) -> UUID:
    scene.alive()
    scene.run(scene.one(type="why.limited"), scene.one(type="why.limited"))
    return scene.one(type="why.limited")


@situation("type_limit_tenant")
def its_type_is_at_its_tenants_limit(scene: Scene) -> UUID:
    scene.alive()
    scene.run(scene.one(type="why.limited"))
    return scene.one(type="why.limited")


@situation("key_held")
def its_key_is_in_use(scene: Scene) -> UUID:
    scene.alive()
    scene.run(scene.one(key="table"))
    return scene.one(key="table")


@situation("turn")
def anothers_key_of_the_same_name_is_no_gate(scene: Scene) -> UUID:
    scene.alive()
    scene.run(*queue(scene.session, tenant="globex", key="table"))
    return scene.one(key="table")


@situation("rate")
def its_rate_is_used_up(scene: Scene) -> UUID:
    scene.alive()
    scene.change("INSERT INTO rate_buckets (bucket, tokens, refilled_at) VALUES ('type:why.rated', 0.25, now())")
    return scene.one(type="why.rated")


@situation("tenant_rate")
def its_tenants_rate_is_used_up(scene: Scene) -> UUID:
    scene.alive()
    scene.change("UPDATE plans SET rate = '60/h burst 3' WHERE plan_id = 'gold'")
    scene.change("INSERT INTO rate_buckets (bucket, tokens, refilled_at) VALUES ('tenant:acme', 0.25, now())")
    return scene.one()


@situation("rate", "tenant_rate")
def its_types_and_its_tenants_rate_are_used_up(scene: Scene) -> UUID:
    its_rate_is_used_up(scene)
    its_tenants_rate_is_used_up(scene)
    return scene.one(type="why.rated")


@situation("turn")
def anothers_rate_is_no_gate(scene: Scene) -> UUID:
    scene.alive()
    scene.change("UPDATE plans SET rate = '60/h burst 3'")
    scene.change("INSERT INTO rate_buckets (bucket, tokens, refilled_at) VALUES ('tenant:globex', 0, now())")
    return scene.one()


@situation("governance_away")
def governance_is_away(scene: Scene) -> UUID:
    scene.alive()
    with scene.control():
        open_breaker(reason="no answer", name="governance")
    return scene.one()


@situation("subscription_away")
def subscription_is_away(scene: Scene) -> UUID:
    scene.alive()
    with scene.control():
        open_breaker(reason="no answer", name="subscription")
    return scene.one()


@situation("decision_awaited")
def a_decision_is_awaited(scene: Scene) -> UUID:
    scene.alive()
    scene.noted(ShutGate("decision_awaited", tenant_id="acme", type="ops.noop"))
    return scene.one()


@situation("turn")
def a_decision_on_another_type_is_no_gate(scene: Scene) -> UUID:
    scene.alive()
    scene.noted(ShutGate("decision_awaited", tenant_id="acme", type="ops.sleep"))
    return scene.one()


@situation("turn")
def a_rate_that_has_refilled_is_no_gate(scene: Scene) -> UUID:
    scene.alive()
    scene.change(
        "INSERT INTO rate_buckets (bucket, tokens, refilled_at)"
        " VALUES ('type:why.rated', 0.25, now() - interval '1 hour')"
    )
    return scene.one(type="why.rated")


@situation("type_not_installed")
def its_type_is_not_installed(scene: Scene) -> UUID:
    scene.alive()
    return scene.one(type="gone.away")


@situation("no_workers", "tenant_limit", "key_held")
def three_gates_at_once(scene: Scene) -> UUID:
    scene.alive(worker=False)
    scene.change("UPDATE plans SET max_running = 1 WHERE plan_id = 'gold'")
    scene.run(scene.one(key="table"))
    return scene.one(key="table")


@situation("dispatched")
def it_is_on_its_way(scene: Scene) -> UUID:
    job_id = scene.one()
    scene.run(job_id)
    return job_id


@situation("running")
def it_runs(scene: Scene) -> UUID:
    job_id = scene.one()
    scene.run(job_id)
    scene.change("UPDATE jobs SET status = 'running', started_at = now(), worker_id = job_id WHERE job_id = %s", job_id)
    return job_id


@situation("ended")
def it_succeeded(scene: Scene) -> UUID:
    job_id = scene.one()
    scene.run(job_id)
    end(scene.session, {job_id: 2.0})
    return job_id


@situation("ended")
def it_was_refused(_: Scene) -> UUID:
    return submitted("kpi.refresh").job_id


@situation("ended")
def it_was_cancelled(scene: Scene) -> UUID:
    job_id = scene.one()
    scene.change(
        "UPDATE jobs SET status = 'cancelled', outcome = 'cancelled', reason_code = 'cancelled_by_request',"
        " finished_at = now(), evidence_id = job_id WHERE job_id = %s",
        job_id,
    )
    return job_id


@pytest.fixture
def scene(change: Change, control: Control, superuser: psycopg.Connection) -> Scene:
    """The ground on which situations are built."""
    for name, limits in (
        ("why.limited", Limits(running=2, running_per_tenant=1)),
        ("why.rated", Limits(rate="60/h")),
    ):
        if name not in REGISTRY:

            @job_type(name, limits=limits)
            def handle(ctx: Any, params: Any) -> None:
                """Do nothing."""

    return Scene(session=superuser, change=change, control=control)


def why(module: Module, job_id: UUID) -> dict[str, Any]:
    return said(module.get(f"/operations/jobs/{job_id}/why"))


@pytest.mark.parametrize(
    ("gates_shut", "build"), [each[1:] for each in SITUATIONS], ids=[each[0] for each in SITUATIONS]
)
def test_every_gate_that_holds_is_named_and_no_other(
    scene: Scene, acme: Module, gates_shut: list[str], build: Situation
) -> None:
    answer = why(acme, build(scene))
    assert [each["gate"] for each in answer["gates"]] == gates_shut
    assert all(each["says"] and each["clears"] for each in answer["gates"])
    assert sum(part["seconds"] for part in answer["waits"]["parts"]) == pytest.approx(answer["waits"]["total_s"])
    assert "globex" not in str(answer)


def test_there_are_thirty_situations() -> None:
    assert len(SITUATIONS) >= 30


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
    its_tenants_rate_is_used_up(scene)
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

"""`why` tells the truth: each situation is built of rows and operations, and every gate that holds is named."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from apps.jobs.operations.deferral import open_breaker
from apps.jobs.operations.gates import ShutGate
from tests.support.api import Module
from tests.support.queue import end, queue
from tests.support.scene import Scene, paused, why
from tests.support.work import admitted, submitted

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


@situation("paused")
def the_platform_paused_everybodys(scene: Scene) -> UUID:
    scene.alive(environment="batch")
    paused(Module("*"), "batch")
    return scene.one(environment="batch")


@situation("turn")
def the_platform_paused_another_environment(scene: Scene) -> UUID:
    scene.alive()
    paused(Module("*"), "batch")
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


@situation("workers_busy")
def every_worker_process_is_at_anothers_long_job(scene: Scene) -> UUID:
    scene.alive()
    scene.noted(ops_sleep=4)
    return scene.one()


@situation("workers_busy")
def a_short_job_waits_for_a_worker_process_too(scene: Scene) -> UUID:
    scene.alive()
    scene.run(scene.one(type="ops.sleep"))
    scene.noted(short=["ops.noop"], ops_sleep=4)
    return scene.one()


@situation("turn")
def short_jobs_hold_no_worker_process_for_long(scene: Scene) -> UUID:
    scene.alive()
    scene.noted(short=["ops.noop"], ops_noop=40, ops_sleep=3)
    return scene.one()


@situation("reserved_worker")
def the_last_worker_process_is_for_others(scene: Scene) -> UUID:
    scene.alive()
    scene.run(*(scene.one(type="ops.sleep") for _ in range(3)))
    scene.noted(ops_sleep=3)
    return scene.one(type="ops.sleep")


@situation("reserved_worker")
def the_last_worker_process_is_kept_from_its_short_jobs_too(scene: Scene) -> UUID:
    scene.alive()
    scene.run(scene.one(type="ops.sleep"))
    scene.noted(short=["ops.noop"], ops_sleep=3)
    return scene.one()


@situation("turn")
def where_none_is_reserved_a_tenant_may_have_every_worker_process(scene: Scene) -> UUID:
    scene.alive()
    scene.change("UPDATE environments SET reserved_slots = 0 WHERE name = 'default'")
    scene.run(*(scene.one(type="ops.sleep") for _ in range(3)))
    scene.noted(ops_sleep=3)
    return scene.one(type="ops.sleep")


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

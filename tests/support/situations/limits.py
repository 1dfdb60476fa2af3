"""What may be: limits, keys, rates, decision points; and jobs that wait no more."""

from __future__ import annotations

from uuid import UUID

from apps.jobs.operations import shedding
from apps.jobs.operations.deferral import open_breaker
from apps.jobs.operations.gates import ShutGate
from tests.support.queue import end, queue
from tests.support.scene import Scene
from tests.support.situations.registry import situation
from tests.support.work import submitted


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


@situation("bulk_shed")
def the_bulk_band_is_shed(scene: Scene) -> UUID:
    scene.alive()
    with scene.control():
        shedding.shed(reason="operations/worker-default")
    return scene.one(priority=4)


@situation("turn")
def what_is_not_bulk_is_not_shed(scene: Scene) -> UUID:
    scene.alive()
    with scene.control():
        shedding.shed(reason="operations/worker-default")
    return scene.one(priority=3)


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

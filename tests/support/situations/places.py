"""Where a job is, and what it waits for there: time, others, workers, pauses, the broker, slots and processes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from apps.jobs.operations.deferral import open_breaker
from tests.support.api import Module
from tests.support.scene import Scene, paused
from tests.support.situations.registry import situation
from tests.support.work import admitted


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

"""What a rollout is judged by: how a module's attempts ended, and which versions its workers run."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from django.db import connection

from apps.core.ids import uuid7
from apps.jobs import failures, liveness
from apps.jobs.failures import Ended
from apps.jobs.lifecycle import Ending
from apps.jobs.operations.processes import LEAVE, REGISTER, registration
from tests.integration.conftest import Change, Control, Look
from tests.support.work import AT_ONCE, admitted, claimed, finish, worker


def now() -> datetime:
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        (found,) = cursor.fetchone()
    return found  # type: ignore[no-any-return]


def attempt(control: Control, job_id: UUID, ending: Ending, *, permanent: bool = True) -> None:
    with control():
        finish(claimed(job_id, worker_id=worker()), ending, permanent=permanent, retry=AT_ONCE)


def counted(control: Control, *, since: datetime, module: str = "ops", tenants: tuple[str, ...] = ("acme",)) -> Ended:
    with control():
        return failures.ended(module=module, tenants=tenants, since=since, until=now())


def test_attempts_count_as_they_ended_and_what_was_handed_back_or_cancelled_does_not(
    db: None, control: Control
) -> None:
    since = now()
    endings = [Ending.SUCCEEDED, Ending.SUCCEEDED, Ending.FAILED, Ending.TIMED_OUT, Ending.CANCELLED]
    for ending in [*endings, Ending.HANDED_BACK]:
        attempt(control, admitted(), ending)
    assert counted(control, since=since) == (4, 2)


def test_a_job_that_failed_and_then_succeeded_tells_of_both(db: None, control: Control, change: Change) -> None:
    since = now()
    job_id = admitted()
    attempt(control, job_id, Ending.FAILED, permanent=False)
    change("UPDATE jobs SET status = 'queued', due_at = NULL, queued_at = clock_timestamp() WHERE job_id = %s", job_id)
    attempt(control, job_id, Ending.SUCCEEDED)
    assert counted(control, since=since) == (2, 1)


def test_only_the_modules_own_attempts_at_those_tenants_in_that_time_count(db: None, control: Control) -> None:
    since = now()
    attempt(control, admitted(), Ending.FAILED)
    attempt(control, admitted(tenant="globex"), Ending.FAILED)
    assert counted(control, since=since) == (1, 1)
    assert counted(control, since=since, tenants=("acme", "globex")) == (2, 2)
    assert counted(control, since=since, tenants=()) == (0, 0)
    assert counted(control, since=since, module="op") == (0, 0), "a module's name is no prefix of another's"
    assert counted(control, since=since, module="crm") == (0, 0)
    assert counted(control, since=now()) == (0, 0)
    with control():
        assert failures.ended(module="ops", tenants=["acme"], since=since - timedelta(hours=1), until=since) == (0, 0)


def test_steps_of_a_migration_are_none_of_a_modules_attempts(db: None, control: Control, change: Change) -> None:
    since = now()
    job_id = admitted()
    attempt(control, job_id, Ending.FAILED)
    change("UPDATE jobs SET type = 'migration.step' WHERE job_id = %s", job_id)
    assert counted(control, since=since, module="crm") == (0, 0)


def _worker(name: str, **versions: str) -> UUID:
    """Register a worker that runs these versions; for the loops' role."""
    process_id = uuid7()
    facts = registration(
        process_id=process_id,
        role="worker",
        name=name,
        host="here",
        pid=1,
        environment="default",
        capacity=1,
        versions=versions,
    )
    with connection.cursor() as cursor:
        cursor.execute(REGISTER, facts)
    return process_id


def test_workers_that_live_and_run_a_version_are_named(db: None, control: Control, change: Change) -> None:
    with control():
        gone, late, _ = (_worker(name, crm="1.4") for name in ("gone", "late", "old"))
        _worker("new", crm="1.5")
        _worker("other", shop="1.4")
        _worker("silent")
        assert liveness.running("crm") == [("gone", "1.4"), ("late", "1.4"), ("new", "1.5"), ("old", "1.4")]
        with connection.cursor() as cursor:
            cursor.execute(LEAVE, {"process_id": gone})
    change("UPDATE processes SET lease_until = clock_timestamp() - interval '1 s' WHERE process_id = %s", late)
    with control():
        assert liveness.running("crm") == [("new", "1.5"), ("old", "1.4")]
        assert liveness.running("nobody") == []


def test_a_worker_that_says_no_version_has_none(db: None, control: Control, look: Look) -> None:
    with control():
        worker()
    assert look("SELECT versions FROM processes")[0]["versions"] == {}

"""Rates as token buckets in PostgreSQL, and who may take from them: only the scheduler in office."""

from __future__ import annotations

from uuid import UUID

import psycopg
import pytest
from celery import Celery
from django.db import transaction

from apps.core.rate import Rate
from apps.jobs.bundling import Bundle
from apps.jobs.operations import leadership, rates
from apps.jobs.scheduling import TenantShare, Waiting
from tests.integration.conftest import Change, Control, Look
from tests.support.queue import queue
from tests.support.work import admitted
from workers.scheduler import Scheduler

APP = Celery(broker="redis://127.0.0.1:1")  # never spoken to: what is tested comes before the broker
FIVE = {"type:ops.noop": Rate(per_s=1 / 60, burst=5)}


def jobs(count: int) -> list[Waiting]:
    return [Waiting(UUID(int=n), "acme", "ops.noop", None) for n in range(count)]


def test_a_full_bucket_gives_its_burst_and_then_nothing(control: Control) -> None:
    with control():
        assert rates.left(FIVE) == {"type:ops.noop": 5}
        rates.take(jobs(3), rates=FIVE)
        assert rates.left(FIVE) == {"type:ops.noop": 2}
        with pytest.raises(rates.OverRateError):
            rates.take(jobs(3), rates=FIVE)
        rates.take(jobs(2), rates=FIVE)
        assert rates.left(FIVE) == {"type:ops.noop": 0}


def test_more_than_the_burst_is_refused_of_an_untouched_bucket_too(control: Control) -> None:
    with control(), pytest.raises(rates.OverRateError), transaction.atomic():
        rates.take(jobs(6), rates=FIVE)


def test_tokens_come_back_with_time_up_to_the_burst(control: Control, change: Change) -> None:
    with control():
        rates.take(jobs(5), rates=FIVE)
        change("UPDATE rate_buckets SET refilled_at = refilled_at - interval '121 s'")
        assert rates.left(FIVE) == {"type:ops.noop": 2}
        change("UPDATE rate_buckets SET refilled_at = refilled_at - interval '1 day'")
        assert rates.left(FIVE) == {"type:ops.noop": 5}


def test_a_bucket_that_is_full_and_idle_is_forgotten_and_no_other(control: Control, change: Change, look: Look) -> None:
    ago = {"type:ops.noop": 120, "type:slow": 120, "tenant:acme": 120, "tenant:globex": 50, "tenant:unknown": 120}
    for bucket, minutes in ago.items():
        row = "INSERT INTO rate_buckets (bucket, tokens, refilled_at) VALUES (%s, 0, now() - %s * interval '1 min')"
        change(row, bucket, minutes)
    share = TenantShare(weight=1, max_running=1, rate=Rate(per_s=1, burst=5))
    types = {**FIVE, "type:slow": Rate(per_s=1 / 3600, burst=5)}
    with control():
        assert rates.forget_full(types, shares={"acme": share, "globex": share}) == 2
        left = [row["bucket"] for row in look("SELECT bucket FROM rate_buckets ORDER BY bucket")]
        assert left == ["tenant:globex", "tenant:unknown", "type:slow"], "used of late, of no rate, not full yet"
        assert rates.left(FIVE) == {"type:ops.noop": 5}


def test_a_clock_that_goes_back_gives_nothing_away(control: Control, change: Change) -> None:
    with control():
        rates.take(jobs(5), rates=FIVE)
        change("UPDATE rate_buckets SET refilled_at = refilled_at + interval '1 hour'")
        assert rates.left(FIVE) == {"type:ops.noop": 0}


def test_what_is_rolled_back_took_nothing(control: Control) -> None:
    with control():
        with transaction.atomic():
            rates.take(jobs(4), rates=FIVE)
            transaction.set_rollback(True)
        assert rates.left(FIVE) == {"type:ops.noop": 5}


def test_a_look_that_is_barred_by_a_fast_rate_is_followed_by_another_soon(
    scheduler: Scheduler, change: Change, look: Look, superuser: psycopg.Connection
) -> None:
    change("UPDATE plans SET rate = '20/s burst 2' WHERE plan_id = 'gold'")
    queue(superuser, tenant="acme", count=5)
    assert scheduler.step() <= 0.1
    assert look("SELECT count(*) AS n FROM jobs WHERE status = 'dispatched'") == [{"n": 2}]


def test_a_slow_rate_costs_no_more_looks_than_none(
    scheduler: Scheduler, change: Change, superuser: psycopg.Connection
) -> None:
    change("UPDATE plans SET rate = '60/h burst 2' WHERE plan_id = 'gold'")
    queue(superuser, tenant="acme", count=5)
    assert scheduler.step() == 1.0


def facts_of(job_id: UUID) -> dict[UUID, Waiting]:
    return {job_id: Waiting(job_id, "acme", "ops.noop", None)}


def test_a_scheduler_out_of_office_dispatches_nothing(control: Control, look: Look) -> None:
    """Stopped between choosing and dispatching while another took over: its choice counts leases that are not all."""
    job_id = admitted()
    bundle = Bundle(type="ops.noop", room=1, jobs=[job_id])
    with control():
        stale, fresh = Scheduler(app=APP), Scheduler(app=APP)
        stale._epoch = leadership.take_office(role="scheduler")
        fresh._epoch = leadership.take_office(role="scheduler")
        with pytest.raises(leadership.OutOfOfficeError):
            stale._dispatch([bundle], facts=facts_of(job_id), shares={})
        assert look("SELECT status, fence FROM jobs") == [{"status": "queued", "fence": 0}]
        made = fresh._dispatch([bundle], facts=facts_of(job_id), shares={})
        assert [[each.job_id for each in sent] for sent in made] == [[job_id]]


def test_a_new_leader_waits_for_a_dispatch_that_is_under_way(control: Control, superuser: psycopg.Connection) -> None:
    with control():
        epoch = leadership.take_office(role="scheduler")
        with transaction.atomic():
            leadership.confirm(role="scheduler", epoch=epoch)
            superuser.execute("SET lock_timeout = '200ms'")
            try:
                with pytest.raises(psycopg.errors.LockNotAvailable):
                    superuser.execute("UPDATE leaders SET epoch = epoch + 1")
            finally:
                superuser.execute("RESET lock_timeout")
        superuser.execute("UPDATE leaders SET epoch = epoch + 1")

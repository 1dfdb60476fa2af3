"""Refusals alike that come at once, and whoever counts them: none is lost, none is counted twice."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any
from uuid import UUID

import psycopg
import pytest
from django.db import transaction
from structlog.testing import capture_logs

from apps.core.ids import uuid7
from apps.evidence.operations import series
from apps.evidence.operations.series import Refused
from apps.jobs import points
from apps.jobs.operations.submit import submit
from apps.tenancy.context import across_tenants, in_tenant
from tests.integration.conftest import Change, Control, Look
from tests.support.client import wait_for
from tests.support.refusals import at_once, counts, evidence, looped, over, records
from tests.support.work import only, submission

pytestmark = pytest.mark.usefixtures("db", "heads")
Sealed = Callable[[], None]
CALLER = "module-that-loops"


@contextmanager
def refusing(*, tenant: str = "acme") -> Iterator[UUID]:
    """Refuse a job in a transaction that ends with the context; yield the job."""
    with in_tenant(tenant):
        yield submit(submission("kpi.refresh", tenant=tenant), points=points.in_force()).job_id


def waits(look: Look) -> bool:
    """Return whether a session waits for another's lock."""
    return bool(look("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"))


class TestManyAtOnce:
    """Whoever is refused waits only where a series begins; no refusal is lost of those that commit."""

    def test_have_one_first_and_all_are_counted(self, look: Look, change: Change, sealed: Sealed) -> None:
        made = at_once(*[partial(looped, 8)] * 10)
        jobs = [job_id for each in made for job_id in each]
        assert len(jobs) == 80
        record = only(records(look))
        assert set(evidence(look, jobs)) == {record["record_id"]}
        over(change)
        sealed()
        assert counts(look) == [80]

    def test_that_begin_the_same_series_in_other_orders_do_not_lock_each_other_up(
        self, look: Look, superuser: psycopg.Connection
    ) -> None:
        kinds = [f"{n:064}" for n in range(300)]

        def begin(seed: int) -> int:
            assert began.wait(timeout=30)
            mine = random.Random(seed).sample(kinds, len(kinds))  # noqa: S311 - an order
            asked = [
                Refused(subject_id=str(uuid7()), region="local", alike=kind, digest="sha256:0", record_id=uuid7())
                for kind in mine
            ]
            with in_tenant("acme"):
                return len(set(series.place(asked, tenant_id="acme").values()))

        def stop_all_on_their_way() -> None:
            with suppress(psycopg.Rollback), superuser.transaction():
                superuser.execute(
                    "INSERT INTO evidence_series (record_id, tenant_id, region, subject_id, alike, digest, joinable,"
                    " opened_at, closes_at)"
                    " VALUES (gen_random_uuid(), 'acme', 'local', '', %s, '', true, now(), now())",
                    [kinds[150]],
                )
                began.set()
                wait_for(
                    lambda: only(look("SELECT count(*) FROM pg_locks WHERE NOT granted"))["count"] >= 6, what="all wait"
                )
                raise psycopg.Rollback

        began = threading.Event()
        *made, wrong = at_once(*[partial(begin, seed) for seed in range(6)], stop_all_on_their_way)
        assert (made, wrong) == ([300] * 6, None)
        assert only(look("SELECT count(*) FROM evidence_series"))["count"] == 300
        assert only(look("SELECT count(*) FROM evidence_series_members"))["count"] == 1500

    def test_do_not_wait_for_who_joined_before_them_and_has_not_committed(self, look: Look) -> None:
        looped(1)
        with transaction.atomic(), refusing():
            alike, unlike = at_once(partial(looped, 2), partial(looped, 2, submitted_by=CALLER))
            assert len(alike) == len(unlike) == 2

    def test_who_commits_late_is_counted_as_well(
        self, look: Look, change: Change, control: Control, sealed: Sealed
    ) -> None:
        jobs = looped(2)
        joined, done = threading.Event(), threading.Event()

        def slowly() -> UUID:
            with transaction.atomic(), refusing() as job_id:
                joined.set()
                assert done.wait(timeout=30)
                return job_id

        def others() -> None:
            assert joined.wait(timeout=30)
            over(change)
            with across_tenants():
                assert series.close() is None, "somebody still holds it open"
            done.set()

        with control():
            late, wrong = at_once(slowly, others)
        assert wrong is None
        sealed()
        assert counts(look) == [3]
        assert set(evidence(look, [*jobs, late])) == {records(look)[0]["record_id"]}

    def test_who_finds_the_first_ones_transaction_rolled_back_is_the_first(self, look: Look) -> None:
        began, back = threading.Event(), threading.Event()

        class RolledBackError(Exception):
            pass

        def rolled_back() -> None:
            with suppress(RolledBackError), transaction.atomic(), refusing():
                began.set()
                assert back.wait(timeout=30)
                raise RolledBackError

        def next_one() -> UUID:
            assert began.wait(timeout=30)
            return looped(1)[0]

        def watcher() -> None:
            assert began.wait(timeout=30)
            wait_for(lambda: waits(look), what="one waits for the other")
            back.set()

        gone, job_id, seen = at_once(rolled_back, next_one, watcher)
        assert (gone, seen) == (None, None)
        assert only(records(look))["subject_id"] == str(job_id)


class TestTheCloser:
    """A series is counted once, whoever is killed and however many try."""

    def test_that_is_killed_leaves_it_to_the_next(
        self, look: Look, change: Change, control: Control, superuser: psycopg.Connection
    ) -> None:
        looped(6)
        over(change)

        def closes() -> Any:
            with across_tenants():
                return series.close()

        with control():
            with superuser.transaction():
                superuser.execute("LOCK TABLE evidence_records IN SHARE MODE")  # it cannot write its record
                killed: list[Any] = []
                thread = threading.Thread(target=lambda: killed.extend(at_once(closes)))
                thread.start()
                waiting = "SELECT pid FROM pg_locks WHERE NOT granted AND relation = 'evidence_records'::regclass"
                wait_for(lambda: look(waiting), what="the closer waits")
                assert at_once(closes) == [None], "the other passes over what the first has in hand"
                superuser.execute("SELECT pg_terminate_backend(%s)", [only(look(waiting))["pid"]])
                thread.join(timeout=30)
            assert isinstance(killed[0], Exception)
            assert counts(look) == []
            assert only(look("SELECT closed_at, count FROM evidence_series")) == {"closed_at": None, "count": None}
            (closed,) = at_once(closes)
        assert (closed.count, counts(look)) == (6, [6])

    def test_is_one_of_those_that_try_at_once(self, look: Look, change: Change, control: Control) -> None:
        for _ in range(5):
            looped(3)
            over(change)

        def closes() -> int:
            closed = 0
            with across_tenants():
                while series.close() is not None:
                    closed += 1
            return closed

        with control():
            assert sum(at_once(*[closes] * 4)) == 5
        assert counts(look) == [3] * 5

    def test_leaves_alone_what_a_forged_record_blocks_and_counts_the_others(
        self, look: Look, change: Change, sealed: Sealed
    ) -> None:
        blocked, *_ = looped(2)
        change(
            "INSERT INTO evidence_records (record_id, tenant_id, region, kind, subject_id, fence, predicate, payload,"
            " salt, leaf, created_at) SELECT gen_random_uuid(), tenant_id, region, kind, subject_id, fence, 'series',"
            " payload, salt, leaf, created_at FROM evidence_records"
        )
        looped(3, submitted_by=CALLER)
        over(change)
        with capture_logs() as logs:
            sealed()
        assert [each["log_level"] for each in logs if each["event"] == "evidence_series_blocked"] == ["error"]
        assert look("SELECT count FROM evidence_series WHERE subject_id = %s", str(blocked)) == [{"count": None}]
        assert look("SELECT count FROM evidence_series WHERE subject_id <> %s", str(blocked)) == [{"count": 3}]

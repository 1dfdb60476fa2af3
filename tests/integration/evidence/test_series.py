"""A loop of the same refusals: the first is recorded, the others are counted, none is lost and none is smuggled in."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any
from uuid import UUID

import psycopg
import pytest
from django.db import connection, transaction
from structlog.testing import capture_logs

from apps.core.digests import canonical, digest_of
from apps.core.ids import uuid7
from apps.evidence import merkle
from apps.evidence.operations import series
from apps.evidence.operations.series import Refused
from apps.evidence.series import Entry, counted, path
from apps.jobs import points
from apps.jobs.operations.submit import submit, submit_all
from apps.tenancy.context import across_tenants, in_tenant
from tests.integration.conftest import Change, Control, Look
from tests.support import naive_merkle
from tests.support.refusals import at_once, counts, evidence, looped, over, records
from tests.support.sink import SinkProcess
from tests.support.work import only, submission, submitted
from workers.emitter import Emitter

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


def until(true: Callable[[], Any]) -> None:
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end, "it never came true"
        threading.Event().wait(0.01)


class TestALoop:
    """One record at its beginning, one that counts it at its end, and every job with its evidence."""

    def test_is_recorded_once_while_it_goes_on(self, look: Look) -> None:
        jobs = looped(20)
        record = only(records(look))
        assert (record["predicate"], record["subject_id"]) == ("refusal", str(jobs[0]))
        assert set(evidence(look, jobs)) == {record["record_id"]}
        rows = look("SELECT status, outcome, reason_code, error, finished_at FROM jobs")
        assert {(row["status"], row["outcome"], row["reason_code"]) for row in rows} == {
            ("rejected", "rejected", "contract_required")
        }
        assert all(row["error"] and row["finished_at"] for row in rows)
        assert len(look("SELECT DISTINCT job_id FROM decisions")) == 20, "each was decided, and says so"
        assert len(look("SELECT 1 FROM events WHERE type = 'operations.job.rejected'")) == 20

    def test_is_counted_once_its_time_is_over_and_not_before(self, look: Look, change: Change, sealed: Sealed) -> None:
        jobs = looped(7)
        sealed()
        assert [each["predicate"] for each in records(look)] == ["refusal"]
        assert over(change) == 1
        sealed()
        refusal, counted = records(look)
        assert (counted["predicate"], counted["subject_id"]) == ("series", str(jobs[0]))
        assert counted["number"] == refusal["number"] + 1, "sealed like any other"
        said = counted["said"]
        assert (said["count"], said["refusal"]) == (7, bytes(refusal["leaf"]).hex())
        assert (said["first"]["job"], said["last"]["job"]) == (str(jobs[0]), str(jobs[-1]))
        assert said["first"]["refused_at"] < said["last"]["refused_at"]
        assert said["first"]["params_digest"] == digest_of({})
        sealed()
        assert counts(look) == [7], "and never again"

    def test_has_each_of_its_jobs_under_the_root(self, look: Look, change: Change, sealed: Sealed) -> None:
        jobs = looped(5)
        over(change)
        sealed()
        row = only(look("SELECT * FROM evidence_series"))
        members = look("SELECT * FROM evidence_series_members ORDER BY joined_at")
        assert [row["subject_id"], *(each["subject_id"] for each in members)] == [str(each) for each in jobs]
        entries = [Entry(row["subject_id"], row["digest"], row["opened_at"])]
        entries += [Entry(each["subject_id"], each["digest"], each["joined_at"]) for each in members]
        assert (
            records(look)[1]["said"]["root"] == naive_merkle.mth([canonical(each.document()) for each in entries]).hex()
        )

    def test_of_one_needs_no_second_record(self, look: Look, change: Change, sealed: Sealed) -> None:
        looped(1)
        over(change)
        sealed()
        assert [each["predicate"] for each in records(look)] == ["refusal"]
        assert only(look("SELECT count, counted_by_id FROM evidence_series")) == {"count": 1, "counted_by_id": None}

    def test_that_goes_on_begins_anew_when_its_time_is_over_though_nobody_counted_it_yet(
        self, look: Look, change: Change, sealed: Sealed
    ) -> None:
        jobs = looped(3)
        over(change)
        jobs += looped(4)
        assert [each["subject_id"] for each in records(look)] == [str(jobs[0]), str(jobs[3])]
        assert len(set(evidence(look, jobs[:3]))) == len(set(evidence(look, jobs[3:]))) == 1
        sealed()
        assert counts(look) == [3]
        over(change)
        sealed()
        assert counts(look) == [3, 4]

    def test_lasts_a_minute_from_its_first(self, look: Look) -> None:
        looped(2)
        row = only(look("SELECT extract(epoch FROM closes_at - opened_at) AS s FROM evidence_series"))
        assert float(row["s"]) == series.WINDOW_S == 60

    def test_that_is_full_begins_anew(
        self, look: Look, change: Change, sealed: Sealed, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(series, "LOOK_EACH", 1)
        first, *_ = looped(1)
        change(
            "INSERT INTO evidence_series_members (subject_id, tenant_id, record_id, digest, joined_at)"
            " SELECT gen_random_uuid()::text, 'acme', record_id, digest, clock_timestamp()"
            " FROM evidence_series, generate_series(1, %s)",
            series.MOST - 2,
        )
        last, next_one = looped(2)
        assert [each["subject_id"] for each in records(look)] == [str(first), str(next_one)]
        assert evidence(look, [first]) == evidence(look, [last])
        sealed()
        assert counts(look) == [series.MOST], "it was over at once, not after its minute"


class TestUnlike:
    """What the first's record says is true of all for which it stands, but for params, time and decision ids."""

    @pytest.mark.parametrize(
        "other",
        [
            {"type": "kpi.refresh", "contract": "kpi.none@1"},
            {"type": "kpi.refresh", "submitted_by": "another-module"},
            {"type": "kpi.refresh", "environment": "batch"},
            {"type": "kpi.refresh", "trigger": "schedule"},
            {"type": "kpi.refresh", "tenant": "globex"},
        ],
        ids=["reason and contract", "caller", "environment", "trigger", "tenant"],
    )
    def test_refusals_have_records_of_their_own(self, look: Look, other: dict[str, Any]) -> None:
        one, two = looped(2)[0], looped(2, **other)[0]
        assert len(set(evidence(look, [one, two]))) == 2
        assert len(look("SELECT 1 FROM evidence_records")) == 2

    def test_refusals_of_other_types(self, look: Look, change: Change) -> None:
        change("UPDATE tenants SET state = 'suspended' WHERE tenant_id = 'acme'")
        one, two = looped(2, type="ops.noop")[0], looped(2, type="ops.crash")[0]
        assert len(set(evidence(look, [one, two]))) == 2

    def test_refusals_of_a_contract_that_changed_meanwhile(self, look: Look, change: Change) -> None:
        change("UPDATE contracts SET state = 'retired'")
        one = looped(2, contract="kpi.seattle-rain@1")[0]
        change("UPDATE contracts SET digest = 'sha256:' || repeat('0', 64)")
        two = looped(2, contract="kpi.seattle-rain@1")[0]
        assert len(set(evidence(look, [one, two]))) == 2

    def test_mixed_reasons_of_one_batch(self, look: Look, change: Change, sealed: Sealed) -> None:
        contracts = [None, "kpi.none@1", "kpi.none@2"]
        asked = [submission("kpi.refresh", contract=contracts[n % 3]) for n in range(30)]
        with in_tenant("acme"):
            made = submit_all([*asked, submission()], points=points.in_force())
        assert [each.refusal is None for each in made] == [False] * 30 + [True]  # type: ignore[union-attr]
        proofs = evidence(look, [each.job_id for each in made[:30]])  # type: ignore[union-attr]
        assert [proofs[n::3] for n in range(3)] == [[proofs[n]] * 10 for n in range(3)]
        assert len(set(proofs)) == 3
        assert [each["predicate"] for each in records(look)].count("admission") == 1
        over(change)
        sealed()
        assert counts(look) == [10, 10, 10]


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
                until(lambda: only(look("SELECT count(*) FROM pg_locks WHERE NOT granted"))["count"] >= 6)
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
            until(lambda: waits(look))
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
                until(lambda: look(waiting))
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


class TestWhatIsAccepted:
    """An accepted submission asks nothing of series."""

    def test_goes_through_while_nobody_can_touch_them(self, superuser: psycopg.Connection) -> None:
        with superuser.transaction():
            superuser.execute("LOCK TABLE evidence_series, evidence_series_members IN ACCESS EXCLUSIVE MODE")
            with connection.cursor() as cursor:
                cursor.execute("SET lock_timeout = '2s'")
            assert submitted().refusal is None
            with pytest.raises(Exception, match="lock timeout"):
                looped(1)


class TestAuditDebt:
    """Who owes evidence and loops on the refusal does not owe more by it."""

    def test_does_not_grow_by_a_loop(
        self,
        done: Callable[..., str],
        look: Look,
        change: Change,
        sealed: Sealed,
        sink: SinkProcess,
        emitter: Emitter,
        emit_all: Callable[[Emitter], None],
    ) -> None:
        change("UPDATE plans SET audit_debt = 2")
        for _ in range(2):
            done()
        sealed()
        sink.stop()
        emit_all(emitter)
        jobs = looped(50, type="ops.noop")
        assert {row["reason_code"] for row in look("SELECT reason_code FROM jobs WHERE outcome = 'rejected'")} == {
            "audit_debt"
        }
        sealed()
        over(change)
        sealed()
        refusal = submitted().refusal
        assert refusal is not None
        assert "6 evidence records" in refusal.reason, "four that were owed, the first refusal's, and the count"
        assert counts(look) == [50]
        sink.start()
        emit_all(emitter)
        assert submitted().refusal is None
        statuses = look("SELECT DISTINCT status FROM jobs WHERE job_id = ANY (%s)", jobs)
        assert [row["status"] for row in statuses] == ["rejected"]


def test_a_path_leads_each_entry_to_the_root_and_no_other(look: Look) -> None:
    looped(9)
    row = only(look("SELECT * FROM evidence_series"))
    entries = [Entry(row["subject_id"], row["digest"], row["opened_at"])]
    entries += [
        Entry(each["subject_id"], each["digest"], each["joined_at"])
        for each in look("SELECT * FROM evidence_series_members ORDER BY joined_at")
    ]
    root = counted(entries).root
    for index, entry in enumerate(entries):
        proof = path(entries, index=index)
        merkle.verify_inclusion(leaf=entry.leaf, index=index, size=9, proof=proof, root=root)
        with pytest.raises(merkle.BadProofError):
            merkle.verify_inclusion(leaf=entries[index - 1].leaf, index=index, size=9, proof=proof, root=root)

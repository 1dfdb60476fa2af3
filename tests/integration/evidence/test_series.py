"""A loop of the same refusals: the first is recorded, the others are counted, none is lost and none is smuggled in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from django.db import connection

from apps.core.digests import canonical, digest_of
from apps.evidence import merkle
from apps.evidence.operations import series
from apps.evidence.series import Entry, counted, path
from apps.jobs import points
from apps.jobs.operations.submit import submit_all
from apps.tenancy.context import in_tenant
from tests.integration.conftest import Change, Look
from tests.support import naive_merkle
from tests.support.refusals import counts, evidence, looped, over, records
from tests.support.sink import SinkProcess
from tests.support.work import only, submission, submitted
from workers.emitter import Emitter

pytestmark = pytest.mark.usefixtures("db", "heads")
Sealed = Callable[[], None]
CALLER = "module-that-loops"


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

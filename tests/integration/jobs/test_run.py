"""Running: a dispatch is claimed once, by a worker whose lease lives, and its attempt tells how it goes."""

from __future__ import annotations

import threading
from typing import Any
from uuid import UUID

import pytest
from django.db import connection

from apps.core.digests import digest_of
from apps.core.ids import uuid7
from apps.jobs.lifecycle import Ending
from apps.jobs.operations import recover
from apps.jobs.operations.dispatch import Dispatched, release_due
from apps.jobs.operations.run import Claimed, Standing, claim, report
from tests.integration.conftest import Change, Control, Look
from tests.support.work import AT_ONCE, PID, admitted, claimed, dispatched, finish, naming, offered, only, worker


def job(look: Look, job_id: UUID) -> dict[str, Any]:
    return dict(only(look("SELECT * FROM jobs WHERE job_id = %s", job_id)))


class TestClaiming:
    """The fence on offer, a living lease, nobody faster: all three, or nothing changes."""

    def test_hands_over_all_that_the_attempt_needs(self, look: Look, control: Control) -> None:
        job_id = admitted("kpi.refresh", contract="kpi.seattle-rain@1", params={"period": "2012"}, timeout_s=60)
        with control():
            mine = worker()
            run = claimed(job_id, worker_id=mine)
        contract = only(look("SELECT * FROM contracts"))
        tenant = only(look("SELECT * FROM tenants WHERE tenant_id = 'acme'"))
        row = job(look, job_id)
        assert run == Claimed(
            job_id=job_id,
            fence=1,
            tenant_id="acme",
            type="kpi.refresh",
            attempt=1,
            max_attempts=row["max_attempts"],
            params={"period": "2012"},
            params_digest=digest_of({"period": "2012"}),
            contract="kpi.seattle-rain@1",
            contract_digest=contract["digest"],
            contract_document=contract["document"],
            timeout_s=60,
            storage_url=tenant["storage_url"],
            environment="default",
            region="local",
            claimed_at=row["started_at"],
            bundle_id=row["bundle_id"],
        )
        assert (row["status"], row["attempt"], row["worker_id"], row["worker_pid"]) == ("running", 1, mine, PID)
        assert row["dispatched_at"] <= row["started_at"]

    def test_a_second_time_is_refused_to_everybody(self, look: Look, control: Control) -> None:
        job_id = admitted()
        with control():
            mine, other = worker(), worker()
            run = claimed(job_id, worker_id=mine)
            made = [(job_id, run.fence)]
            assert run.bundle_id is not None
            assert not claim(bundle_id=run.bundle_id, dispatches=made, worker_id=other, pid=1)
            assert not claim(bundle_id=run.bundle_id, dispatches=made, worker_id=mine, pid=PID)
        row = job(look, job_id)
        assert (row["worker_id"], row["attempt"]) == (mine, 1)

    def test_by_many_at_once_is_granted_to_one(self, look: Look, control: Control) -> None:
        job_id, start = admitted(), threading.Barrier(4)
        granted: list[Claimed] = []

        def race(worker_id: UUID, made: Dispatched) -> None:
            try:
                start.wait()
                run = offered(made, worker_id=worker_id)
                granted.extend([run] if run else [])
            finally:
                connection.close()

        with control():
            made = dispatched(job_id)
            racers = [threading.Thread(target=race, args=(worker(), made)) for _ in range(4)]
            for each in racers:
                each.start()
            for each in racers:
                each.join()
        assert len(granted) == 1
        assert job(look, job_id)["attempt"] == 1

    @pytest.mark.parametrize("away", [-1, 1, 100])
    def test_under_another_fence_is_refused(self, look: Look, control: Control, away: int) -> None:
        job_id = admitted()
        with control():
            made = dispatched(job_id)
            assert offered(made._replace(fence=made.fence + away), worker_id=worker()) is None
        assert job(look, job_id)["status"] == "dispatched"

    def test_of_a_job_that_was_not_dispatched_is_refused(self, look: Look, control: Control) -> None:
        job_id = admitted()
        with control():
            for dispatch in ((job_id, 0), (uuid7(), 1)):
                assert not claim(bundle_id=uuid7(), dispatches=[dispatch], worker_id=worker(), pid=PID)
        assert job(look, job_id)["status"] == "queued"

    def test_by_a_worker_that_never_registered_is_refused(self, look: Look, control: Control) -> None:
        job_id = admitted()
        with control():
            made = dispatched(job_id)
            assert offered(made, worker_id=uuid7()) is None
        assert job(look, job_id)["status"] == "dispatched"

    @pytest.mark.parametrize("dead", ["state = 'gone'", "lease_until = clock_timestamp() - interval '1 ms'"])
    def test_by_a_worker_whose_lease_is_over_is_refused(
        self, look: Look, control: Control, change: Change, dead: str
    ) -> None:
        job_id = admitted()
        with control():
            mine, made = worker(), dispatched(job_id)
        change(f"UPDATE processes SET {dead}")
        with control():
            assert offered(made, worker_id=mine) is None
        assert job(look, job_id)["status"] == "dispatched"

    def test_by_a_draining_worker_is_refused_and_the_dispatch_can_be_declined_at_no_cost(
        self, look: Look, control: Control, change: Change
    ) -> None:
        job_id = admitted()
        with control():
            mine, made = worker(), dispatched(job_id)
        change("UPDATE processes SET state = 'draining'")
        with control():
            assert offered(made, worker_id=mine) is None
            assert recover.decline([(job_id, made.fence)], worker_id=mine, retry_of=lambda _: AT_ONCE)
            assert not recover.decline([(job_id, made.fence)], worker_id=mine, retry_of=lambda _: AT_ONCE)
        row = job(look, job_id)
        assert (row["status"], row["attempt"], row["unclaimed"]) == ("queued", 0, 0)

    def test_a_worker_that_lives_cannot_decline(self, look: Look, control: Control) -> None:
        job_id = admitted()
        with control():
            mine, made = worker(), dispatched(job_id)
            assert not recover.decline([(job_id, made.fence)], worker_id=mine, retry_of=lambda _: AT_ONCE)
        assert job(look, job_id)["status"] == "dispatched"

    def test_of_a_cancelled_job_is_refused(self, look: Look, control: Control, change: Change) -> None:
        job_id = admitted()
        with control():
            mine, made = worker(), dispatched(job_id)
        change("UPDATE jobs SET cancel_requested_at = now()")
        with control():
            assert offered(made, worker_id=mine) is None
        assert job(look, job_id)["status"] == "dispatched"

    def test_anew_forgets_the_attempt_before(self, look: Look, control: Control) -> None:
        job_id = admitted()
        with control():
            mine = worker()
            first = claimed(job_id, worker_id=mine)
            report(
                job_id=job_id,
                fence=first.fence,
                bundle_id=first.bundle_id,
                progress={"done": 1},
                first_line=1,
                lines=[],
            )
            finish(first, Ending.FAILED, error={"class": "E", "code": "e"}, reason_code="e", retry=AT_ONCE)
            release_due(limit=1)
            second = claimed(job_id, worker_id=mine)
        assert (second.attempt, second.fence) == (2, 2)
        row = job(look, job_id)
        assert (row["progress"], row["error"], row["reason_code"], row["retries"]) == (None, None, None, 1)

    def test_of_a_contract_that_was_withdrawn_meanwhile_gives_the_pinned_text_only(
        self, control: Control, change: Change
    ) -> None:
        job_id = admitted("kpi.refresh", contract="kpi.seattle-rain@1")
        change("UPDATE contracts SET digest = 'sha256:another', document = '{}'")
        with control():
            assert claimed(job_id, worker_id=worker()).contract_document is None


class TestReporting:
    """An attempt's words reach the plane while it holds its fence, and it learns where it stands."""

    def test_keeps_the_newest_progress_and_every_line_in_order(self, look: Look, control: Control) -> None:
        job_id = admitted()
        with control():
            run = claimed(job_id, worker_id=worker())
            said: dict[str, Any] = naming(run)
            standing = report(
                **said, progress={"done": 1}, first_line=1, lines=[["t", "info", "one", {}], ["t", "info", "two", {}]]
            )
            assert standing == Standing(fenced=False, cancel=False)
            report(**said, progress=None, first_line=3, lines=[["t", "info", "three", {"n": 3}]])
        assert job(look, job_id)["progress"] == {"done": 1}
        chunks = look("SELECT * FROM log_chunks ORDER BY first_line")
        assert [(each["tenant_id"], each["fence"], each["first_line"]) for each in chunks] == [
            ("acme", 1, 1),
            ("acme", 1, 3),
        ]
        assert [line[2] for each in chunks for line in each["lines"]] == ["one", "two", "three"]

    def test_the_same_lines_twice_keeps_them_once(self, look: Look, control: Control) -> None:
        job_id = admitted()
        with control():
            run = claimed(job_id, worker_id=worker())
            for _ in range(2):
                report(**naming(run), progress=None, first_line=1, lines=[["t", "info", "one", {}]])
        assert len(look("SELECT 1 FROM log_chunks")) == 1

    def test_without_a_word_still_tells_where_it_stands(self, look: Look, control: Control) -> None:
        job_id = admitted()
        with control():
            run = claimed(job_id, worker_id=worker())
            standing = report(
                job_id=job_id, fence=run.fence, bundle_id=run.bundle_id, progress=None, first_line=1, lines=[]
            )
        assert standing == Standing(fenced=False, cancel=False)
        assert look("SELECT 1 FROM log_chunks") == []

    def test_tells_that_a_cancel_was_asked_for(self, control: Control, change: Change) -> None:
        job_id = admitted()
        with control():
            run = claimed(job_id, worker_id=worker())
        change("UPDATE jobs SET cancel_requested_at = now()")
        with control():
            standing = report(
                job_id=job_id, fence=run.fence, bundle_id=run.bundle_id, progress=None, first_line=1, lines=[]
            )
        assert standing == Standing(fenced=False, cancel=True)

    @pytest.mark.parametrize("how", ["ended", "another fence", "claimed anew"])
    def test_after_its_fence_is_over_changes_nothing_and_is_told_so(
        self, look: Look, control: Control, how: str
    ) -> None:
        job_id = admitted()
        with control():
            mine = worker()
            run = claimed(job_id, worker_id=mine)
            fence = run.fence
            if how == "another fence":
                fence += 1
            else:
                finish(run, Ending.WORKER_LOST, retry=AT_ONCE)
            if how == "claimed anew":
                release_due(limit=1)
                claimed(job_id, worker_id=mine)
            before = job(look, job_id)
            standing = report(
                job_id=job_id,
                fence=fence,
                bundle_id=run.bundle_id,
                progress={"done": 9},
                first_line=1,
                lines=[["t", "info", "late", {}]],
            )
        assert standing == Standing(fenced=True, cancel=False)
        assert job(look, job_id) == before
        assert look("SELECT 1 FROM log_chunks") == []

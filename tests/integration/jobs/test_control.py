"""Control: cancel, submit again, reprioritize. The first commit wins, nobody's wish is lost, nothing hangs for ever."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from django.db import connection

from apps.jobs import points
from apps.jobs.lifecycle import Ending, Priority, State
from apps.jobs.operations import control as asked
from apps.jobs.operations import recover
from apps.jobs.operations.dispatch import release_due
from apps.jobs.operations.end import write
from apps.jobs.operations.run import report
from apps.jobs.retry import Retry
from apps.jobs.types import REGISTRY
from apps.tenancy.context import in_tenant
from tests.integration.conftest import Change, Control, Look
from tests.support.work import AT_ONCE, admitted, claimed, dispatched, ended, finish, offered, only, worker


def retry_of(_: str) -> Retry:
    return AT_ONCE


def job(look: Look, job_id: UUID) -> dict[str, Any]:
    return dict(only(look("SELECT * FROM jobs WHERE job_id = %s", job_id)))


def told(look: Look, job_id: UUID) -> list[str]:
    rows = look("SELECT type FROM events WHERE subject = %s ORDER BY occurred_at", str(job_id))
    return [row["type"].removeprefix("operations.job.") for row in rows]


def outcomes(look: Look, job_id: UUID) -> int:
    return len(look("SELECT 1 FROM evidence_records WHERE subject_id = %s AND predicate = 'outcome'", str(job_id)))


def cancel(job_id: UUID, *, by: str = "console", why: str | None = None) -> None:
    """Cancel as the web process does."""
    with in_tenant("acme"):
        asked.cancel(job_id=job_id, by=by, why=why)


def resubmit(job_id: UUID, *, type: str = "ops.noop") -> Any:  # noqa: A002
    with in_tenant("acme"):
        return asked.resubmit(job_id=job_id, by="console", job_type=REGISTRY.get(type), points=points.in_force())


def at_once(*actions: Callable[[], Any]) -> list[Any]:
    """Do the actions at the same instant, each over a connection of its own; return results or what was raised."""
    start, results = threading.Barrier(len(actions)), [None] * len(actions)

    def run(place: int, action: Callable[[], Any]) -> None:
        try:
            start.wait()
            results[place] = action()
        except asked.ControlRefusedError as error:
            results[place] = error  # type: ignore[call-overload]
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=each) for each in enumerate(actions)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    return results


class TestCancellingWhatDoesNotRun:
    """It is over at once, with its event, its evidence and who asked."""

    @pytest.mark.parametrize("status", ["scheduled", "blocked", "queued", "deferred", "retrying", "waiting_children"])
    def test_a_waiting_job_is_cancelled_in_whatever_it_waits(self, look: Look, change: Change, status: str) -> None:
        job_id = admitted()
        change("UPDATE jobs SET status = %s", status)
        cancel(job_id, by="console", why="not needed")
        row = job(look, job_id)
        assert (row["status"], row["outcome"], row["reason_code"]) == ("cancelled", "cancelled", "cancelled")
        assert (row["cancel_requested_by"], row["cancel_reason"]) == ("console", "not needed")
        assert row["cancel_requested_at"] == row["finished_at"]
        assert row["error"]["how"] == "before_start"
        assert told(look, job_id) == ["submitted", "cancelled"]
        assert only(look("SELECT data FROM events WHERE type LIKE '%%cancelled'"))["data"]["by"] == "console"
        assert outcomes(look, job_id) == 1
        assert look("SELECT 1 FROM attempts") == []

    def test_the_message_of_a_dispatched_one_is_stale(self, look: Look, control: Control) -> None:
        job_id = admitted()
        with control():
            mine, made = worker(), dispatched(job_id)
        cancel(job_id)
        with control():
            assert offered(made, worker_id=mine) is None
            assert recover.recall_unclaimed(retry_of=retry_of) == set()
        assert (job(look, job_id)["status"], outcomes(look, job_id)) == ("cancelled", 1)
        attempt = only(look("SELECT * FROM attempts"))
        assert (attempt["ending"], attempt["number"], attempt["error"]["how"]) == ("cancelled", 0, "before_start")

    @pytest.mark.parametrize("status", ["succeeded", "failed", "timed_out", "cancelled", "rejected"])
    def test_what_is_over_cannot_be_cancelled(self, look: Look, control: Control, change: Change, status: str) -> None:
        job_id = admitted()
        with control():
            finish(claimed(job_id, worker_id=worker()))
        change("UPDATE jobs SET status = %s, outcome = %s", status, status)
        before = job(look, job_id)
        with pytest.raises(asked.ControlRefusedError) as refusal:
            cancel(job_id)
        assert refusal.value.state is State(status)
        assert job(look, job_id) == before


class TestCancellingWhatRuns:
    """It stays running, with the wish, until it stops, is killed or finishes; nothing else can follow."""

    def test_the_attempt_hears_of_it_and_a_second_cancel_changes_nothing(self, look: Look, control: Control) -> None:
        job_id = admitted()
        with control():
            run = claimed(job_id, worker_id=worker())
        cancel(job_id, by="first")
        before = job(look, job_id)
        cancel(job_id, by="second")
        row = job(look, job_id)
        assert row == before
        assert (row["status"], row["cancel_requested_by"]) == ("running", "first")
        with control():
            assert report(
                job_id=job_id, fence=run.fence, bundle_id=run.bundle_id, progress=None, first_line=1, lines=[]
            ).cancel
            assert finish(run, Ending.CANCELLED, reason_code="cancelled", how="cooperative")
        row = job(look, job_id)
        assert (row["status"], row["reason_code"], row["error"]["how"]) == ("cancelled", "cancelled", "cooperative")
        assert told(look, job_id) == ["submitted", "cancel_requested", "cancelled"]

    @pytest.mark.parametrize("ending", [each for each in Ending if each is not Ending.SUCCEEDED])
    def test_an_end_that_was_decided_before_the_cancel_was_known_cancels(
        self, look: Look, control: Control, ending: Ending
    ) -> None:
        job_id = admitted()
        with control():
            decided = ended(claimed(job_id, worker_id=worker()), ending)
        cancel(job_id)
        with control():
            assert write([decided])
            assert release_due(limit=10) == 0
        row = job(look, job_id)
        assert (row["status"], row["outcome"], outcomes(look, job_id)) == ("cancelled", "cancelled", 1)
        assert only(look("SELECT * FROM attempts"))["ending"] == ending

    def test_a_success_is_a_success_all_the_same(self, look: Look, control: Control) -> None:
        job_id = admitted()
        with control():
            run = claimed(job_id, worker_id=worker())
        cancel(job_id)
        with control():
            assert finish(run)
        assert job(look, job_id)["status"] == "succeeded"

    def test_a_lost_workers_job_is_cancelled_and_not_tried_again(
        self, look: Look, control: Control, change: Change
    ) -> None:
        job_id = admitted()
        with control():
            claimed(job_id, worker_id=worker())
        cancel(job_id)
        change("UPDATE processes SET state = 'gone'")
        with control():
            assert len(recover.hand_back_lost(retry_of=retry_of)) == 1
        row = job(look, job_id)
        assert (row["status"], row["error"]["how"]) == ("cancelled", "worker_lost")

    def test_one_that_is_handed_back_is_not_queued_again(self, look: Look, control: Control) -> None:
        job_id = admitted()
        with control():
            mine = worker()
            claimed(job_id, worker_id=mine)
        cancel(job_id)
        with control():
            assert len(recover.hand_back_of_stopping(worker_id=mine, retry_of=retry_of)) == 1
        assert job(look, job_id)["status"] == "cancelled"

    def test_one_that_does_not_listen_is_ended_after_its_grace_and_named_to_be_killed(
        self, look: Look, control: Control, change: Change
    ) -> None:
        job_id = admitted()
        with control():
            run = claimed(job_id, worker_id=worker())
        cancel(job_id)
        change("UPDATE jobs SET cancel_requested_at = clock_timestamp() - interval '9 s'")
        with control():
            assert recover.end_deaf(retry_of=retry_of) == set()
            assert recover.forced([(job_id, run.fence)]) == set()
        change("UPDATE jobs SET cancel_requested_at = clock_timestamp() - interval '11 s'")
        with control():
            assert recover.end_deaf(retry_of=retry_of) == {(job_id, run.fence)}
            assert recover.forced([(job_id, run.fence)]) == {(job_id, run.fence)}
            assert recover.forced([(job_id, run.fence + 1)]) == set()
            assert not finish(run)
        row = job(look, job_id)
        assert (row["status"], row["reason_code"], row["error"]["how"]) == ("cancelled", "cancelled_killed", "killed")


class TestRaces:
    """Two at the same instant: one of them was first, and all that is kept agrees with it."""

    @pytest.mark.parametrize("_round", range(3))
    def test_two_cancels_of_a_waiting_job(self, look: Look, control: Control, _round: int) -> None:
        job_id = admitted()
        results = at_once(lambda: cancel(job_id), lambda: cancel(job_id))
        assert sorted(type(each).__name__ for each in results) == ["ControlRefusedError", "NoneType"]
        assert (job(look, job_id)["status"], outcomes(look, job_id)) == ("cancelled", 1)

    @pytest.mark.parametrize("_round", range(3))
    def test_cancel_and_finish(self, look: Look, control: Control, _round: int) -> None:
        job_id = admitted()
        with control():
            decided = ended(claimed(job_id, worker_id=worker()), Ending.FAILED)
            both = at_once(lambda: across(lambda: write([decided])), lambda: cancel(job_id))
        row = job(look, job_id)
        assert both[0] == {(job_id, 1)}
        assert (row["status"], outcomes(look, job_id)) == ("cancelled", 1), "retrying first, then cancelled: or at once"

    @pytest.mark.parametrize("_round", range(3))
    def test_cancel_and_claim(self, look: Look, control: Control, _round: int) -> None:
        job_id = admitted()
        with control():
            mine, made = worker(), dispatched(job_id)
            run, _ = at_once(lambda: offered(made, worker_id=mine), lambda: cancel(job_id))
        row = job(look, job_id)
        assert row["cancel_requested_at"] is not None
        assert row["status"] == ("running" if run else "cancelled")

    @pytest.mark.parametrize("_round", range(3))
    def test_two_who_submit_it_again(self, look: Look, control: Control, _round: int) -> None:
        job_id = admitted()
        cancel(job_id)
        results = at_once(lambda: resubmit(job_id), lambda: resubmit(job_id))
        assert sorted(type(each).__name__ for each in results) == ["ControlRefusedError", "NoneType"]
        assert job(look, job_id)["fence"] == 1


def across(act: Callable[[], Any]) -> Any:
    """Act as a thread of the control role does: the thread's own context."""
    from apps.tenancy.context import across_tenants  # noqa: PLC0415

    with across_tenants():
        return act()


class TestSubmittingAgain:
    """The same job, under the next fence, with as many attempts as at first; decided anew."""

    def test_a_failed_job_has_its_attempts_again_and_can_succeed(self, look: Look, control: Control) -> None:
        job_id = admitted("ops.noop", retry=Retry(max_attempts=2, backoff="none"))
        with control():
            mine = worker()
            for _ in range(2):
                release_due(limit=1)
                finish(claimed(job_id, worker_id=mine), Ending.FAILED, error={"class": "E", "code": "e"})
        assert job(look, job_id)["status"] == "failed"
        assert resubmit(job_id) is None
        row = job(look, job_id)
        assert (row["status"], row["outcome"], row["error"], row["evidence_id"]) == ("queued", None, None, None)
        assert (row["fence"], row["attempt"], row["max_attempts"], row["finished_at"]) == (3, 2, 4, None)
        with control():
            finish(claimed(job_id, worker_id=mine), Ending.FAILED)
            release_due(limit=1)
            finish(claimed(job_id, worker_id=mine))
        row = job(look, job_id)
        assert (row["status"], row["attempt"], row["fence"]) == ("succeeded", 4, 5)
        assert told(look, job_id)[-4:] == ["failed", "resubmitted", "retrying", "completed"]
        records = look("SELECT predicate, fence FROM evidence_records ORDER BY created_at")
        assert [(each["predicate"], each["fence"]) for each in records] == [
            ("admission", 0),
            ("outcome", 2),
            ("admission", 3),
            ("outcome", 5),
        ]
        assert len(look("SELECT 1 FROM decisions")) == 4

    @pytest.mark.parametrize("status", ["queued", "dispatched", "running", "succeeded", "rejected"])
    def test_in_any_other_state_it_is_refused(self, look: Look, control: Control, change: Change, status: str) -> None:
        job_id = admitted()
        with control():
            run = claimed(job_id, worker_id=worker())
        if status in {"succeeded", "rejected"}:
            with control():
                finish(run)
            change("UPDATE jobs SET status = %s, outcome = %s", status, status)
        else:
            change("UPDATE jobs SET status = %s", status)
        before = job(look, job_id)
        with pytest.raises(asked.ControlRefusedError, match=status):
            resubmit(job_id)
        assert job(look, job_id) == before

    def test_a_refusal_leaves_it_as_it_was_and_is_kept(self, look: Look, change: Change) -> None:
        job_id = admitted()
        cancel(job_id)
        before = job(look, job_id)
        change("DELETE FROM subscriptions WHERE tenant_id = 'acme'")
        refusal = resubmit(job_id)
        assert refusal is not None
        assert refusal.point == "subscription"
        assert job(look, job_id) == before
        assert look("SELECT 1 FROM decisions WHERE NOT allowed AND job_id = %s", job_id)

    def test_its_cancel_and_its_limits_in_time_begin_anew(self, look: Look, change: Change) -> None:
        job_id = admitted(start_by_s=60, deadline_s=120)
        cancel(job_id)
        change("UPDATE jobs SET start_by = now() - interval '1 h', deadline_at = now() - interval '1 h'")
        resubmit(job_id)
        row = job(look, job_id)
        assert (row["cancel_requested_at"], row["cancel_requested_by"]) == (None, None)
        assert (row["deadline_at"] - row["start_by"]).total_seconds() == 60
        assert row["start_by"] > row["queued_at"]


class TestReprioritizing:
    """A waiting job changes its band; nobody else's does."""

    @pytest.mark.parametrize("status", ["scheduled", "blocked", "queued", "deferred", "retrying"])
    def test_a_waiting_job_changes_its_band(self, look: Look, change: Change, status: str) -> None:
        job_id = admitted()
        change("UPDATE jobs SET status = %s", status)
        with in_tenant("acme"):
            asked.reprioritize(job_id=job_id, priority=Priority.CRITICAL, by="console")
        assert job(look, job_id)["priority"] == Priority.CRITICAL
        data = only(look("SELECT data FROM events WHERE type LIKE '%%reprioritized'"))["data"]
        assert (data["by"], data["priority"]) == ("console", "critical")

    def test_one_that_holds_a_slot_does_not(self, look: Look, control: Control) -> None:
        job_id = admitted()
        with control():
            dispatched(job_id)
        with in_tenant("acme"), pytest.raises(asked.ControlRefusedError, match="dispatched"):
            asked.reprioritize(job_id=job_id, priority=Priority.CRITICAL, by="console")
        assert job(look, job_id)["priority"] == Priority.NORMAL

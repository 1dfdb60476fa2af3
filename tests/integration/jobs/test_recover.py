"""Recovery: what nobody holds comes back, in time and not before, whatever became of the one who held it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from django.db import connection

from apps.jobs.lifecycle import Ending
from apps.jobs.operations import recover
from apps.jobs.operations.dispatch import release_due
from apps.jobs.operations.processes import BEAT, LEASE_S, LEAVE
from apps.jobs.retry import Retry
from tests.integration.conftest import Change, Control, Look
from tests.support.work import AT_ONCE, admitted, claimed, dispatched, finish, offered, only, worker
from workers.ticks import heartbeat


def retry_of(_: str) -> Retry:
    return AT_ONCE


def job(look: Look, job_id: UUID) -> dict[str, Any]:
    return dict(only(look("SELECT * FROM jobs WHERE job_id = %s", job_id)))


def beat(process_id: UUID, *, state: str = "live") -> bool:
    """Renew a lease as a heart does; return whether it was still there to renew."""
    with connection.cursor() as cursor:
        cursor.execute(BEAT, {"process_id": process_id, "state": state, "lease_s": LEASE_S})
        return bool(cursor.rowcount == 1)


class TestLostWorkers:
    """A lease that ran out is gone for good, and its jobs are tried again under a new fence."""

    def test_a_living_workers_jobs_are_left_alone(self, look: Look, control: Control) -> None:
        job_id = admitted()
        with control():
            claimed(job_id, worker_id=worker())
            assert recover.expire_leases() == 0
            assert recover.hand_back_lost(retry_of=retry_of) == set()
        assert job(look, job_id)["status"] == "running"

    def test_an_expired_lease_cannot_be_renewed_once_it_was_declared_gone(
        self, control: Control, change: Change
    ) -> None:
        with control():
            mine, other = worker(), worker()
        change("UPDATE processes SET lease_until = clock_timestamp() - interval '1 ms' WHERE process_id = %s", mine)
        with control():
            assert recover.expire_leases() == 1
            assert recover.expire_leases() == 0
            assert not beat(mine)
            assert beat(other)

    def test_a_late_beat_before_anybody_looked_saves_the_lease(self, control: Control, change: Change) -> None:
        with control():
            mine = worker()
        change("UPDATE processes SET lease_until = clock_timestamp() - interval '1 ms'")
        with control():
            assert beat(mine)
            assert recover.expire_leases() == 0

    @pytest.mark.parametrize("how", ["expired", "gone", "forgotten"])
    def test_their_jobs_are_tried_again_with_the_cause(
        self, look: Look, control: Control, change: Change, how: str
    ) -> None:
        job_id = admitted()
        with control():
            run = claimed(job_id, worker_id=worker())
        if how == "expired":
            change("UPDATE processes SET lease_until = clock_timestamp() - interval '1 ms'")
        elif how == "gone":
            change("UPDATE processes SET state = 'gone'")
        else:
            change("DELETE FROM processes")
        with control():
            assert recover.hand_back_lost(retry_of=retry_of) == {(job_id, run.fence)}
            assert recover.hand_back_lost(retry_of=retry_of) == set()
        row = job(look, job_id)
        assert (row["status"], row["reason_code"], row["retries"]) == ("retrying", "worker_lost", 1)
        attempt = only(look("SELECT * FROM attempts"))
        assert (attempt["ending"], attempt["number"], attempt["error"]["code"]) == ("worker_lost", 1, "worker_lost")

    def test_a_job_that_kills_its_workers_stops_after_its_attempts(
        self, look: Look, control: Control, change: Change
    ) -> None:
        job_id = admitted()
        for _ in range(3):
            with control():
                release_due(limit=1)
                claimed(job_id, worker_id=worker())
            change("UPDATE processes SET state = 'gone'")
            with control():
                recover.hand_back_lost(retry_of=retry_of)
        row = job(look, job_id)
        assert (row["status"], row["reason_code"], row["attempt"]) == ("failed", "worker_lost", 3)
        assert look("SELECT 1 FROM evidence_records WHERE predicate = 'outcome'")

    def test_the_lost_worker_finds_itself_fenced_off_when_it_wakes(
        self, look: Look, control: Control, change: Change
    ) -> None:
        job_id = admitted()
        with control():
            run = claimed(job_id, worker_id=worker())
        change("UPDATE processes SET state = 'gone'")
        with control():
            recover.hand_back_lost(retry_of=retry_of)
            release_due(limit=1)
            new = claimed(job_id, worker_id=worker())
            assert not finish(run)
            assert finish(new)
        assert job(look, job_id)["attempt"] == 2

    def test_a_dispatch_that_nobody_claimed_is_no_workers_and_not_lost(self, look: Look, control: Control) -> None:
        job_id = admitted()
        with control():
            dispatched(job_id)
            assert recover.hand_back_lost(retry_of=retry_of) == set()
        assert job(look, job_id)["status"] == "dispatched"

    def test_a_worker_that_says_goodbye_lets_its_lease_go_at_once(self, look: Look, control: Control) -> None:
        job_id = admitted()
        with control():
            mine = worker()
            claimed(job_id, worker_id=mine)
            with connection.cursor() as cursor:
                cursor.execute(LEAVE, {"process_id": mine})
            assert not beat(mine)
            assert len(recover.hand_back_lost(retry_of=retry_of)) == 1


class TestUnclaimed:
    """A message that reached nobody is sent again after 10 s, then 20, then 40."""

    @pytest.mark.parametrize(("unclaimed", "wait_s"), [(0, 10), (1, 20), (2, 40), (6, 640), (9, 640)])
    def test_the_wait_doubles_with_each_in_a_row_and_has_an_end(
        self, look: Look, control: Control, change: Change, unclaimed: int, wait_s: int
    ) -> None:
        job_id = admitted()
        with control():
            made = dispatched(job_id)
        waited = "UPDATE jobs SET unclaimed = %s, dispatched_at = clock_timestamp() - make_interval(secs => %s)"
        change(waited, unclaimed, wait_s - 2)
        with control():
            assert recover.recall_unclaimed(retry_of=retry_of) == set()
        change(waited, unclaimed, wait_s + 1)
        with control():
            assert recover.recall_unclaimed(retry_of=retry_of) == {(job_id, made.fence)}
        row = job(look, job_id)
        assert (row["status"], row["unclaimed"], row["attempt"], row["retries"]) == ("queued", unclaimed + 1, 0, 0)

    def test_it_costs_no_attempt_and_the_lost_message_is_stale_when_it_comes_after_all(
        self, look: Look, control: Control, change: Change
    ) -> None:
        job_id = admitted()
        with control():
            old = dispatched(job_id)
        change("UPDATE jobs SET dispatched_at = clock_timestamp() - interval '11 seconds'")
        with control():
            recover.recall_unclaimed(retry_of=retry_of)
            mine, new = worker(), dispatched(job_id)
            assert offered(old, worker_id=mine) is None
            run = offered(new, worker_id=mine)
        assert run is not None
        assert run.attempt == 1
        row = job(look, job_id)
        assert (row["unclaimed"], row["fence"]) == (0, 2)
        attempt = only(look("SELECT * FROM attempts"))
        assert (attempt["ending"], attempt["number"], attempt["started_at"]) == ("unclaimed", 0, None)

    def test_a_job_is_never_failed_for_it_however_often(self, look: Look, control: Control, change: Change) -> None:
        job_id = admitted()
        for _ in range(5):
            with control():
                dispatched(job_id)
            change("UPDATE jobs SET dispatched_at = clock_timestamp() - interval '1 hour'")
            with control():
                recover.recall_unclaimed(retry_of=retry_of)
        assert job(look, job_id)["status"] == "queued"

    def test_a_claimed_dispatch_is_none(self, look: Look, control: Control, change: Change) -> None:
        job_id = admitted()
        with control():
            claimed(job_id, worker_id=worker())
        change("UPDATE jobs SET dispatched_at = clock_timestamp() - interval '1 hour'")
        with control():
            assert recover.recall_unclaimed(retry_of=retry_of) == set()
        assert job(look, job_id)["status"] == "running"


class TestOvertime:
    """An attempt past its time, and the grace, is ended by the sweeper."""

    def test_within_time_and_grace_it_is_left_to_its_worker(self, look: Look, control: Control, change: Change) -> None:
        job_id = admitted(timeout_s=60)
        with control():
            claimed(job_id, worker_id=worker())
        change("UPDATE jobs SET started_at = clock_timestamp() - interval '63 seconds'")
        with control():
            assert recover.end_overtime(retry_of=retry_of) == set()
        assert job(look, job_id)["status"] == "running"

    def test_past_both_it_is_ended_and_tried_again_while_attempts_are_left(
        self, look: Look, control: Control, change: Change
    ) -> None:
        job_id = admitted(timeout_s=60)
        statuses = []
        for _ in range(3):
            with control():
                release_due(limit=1)
                claimed(job_id, worker_id=worker())
            change("UPDATE jobs SET started_at = clock_timestamp() - interval '66 seconds'")
            with control():
                assert len(recover.end_overtime(retry_of=retry_of)) == 1
            statuses.append(job(look, job_id)["status"])
        assert statuses == ["retrying", "retrying", "timed_out"]
        assert {row["ending"] for row in look("SELECT ending FROM attempts")} == {"timed_out"}


class TestDeadChildren:
    """A worker answers for its own processes: what ran in one that is no more comes back at once."""

    OLD = "UPDATE jobs SET started_at = clock_timestamp() - interval '3 seconds'"

    def test_what_ran_in_a_living_one_stays_and_what_ran_in_a_dead_one_comes_back(
        self, look: Look, control: Control, change: Change
    ) -> None:
        living, dead, foreign = admitted(), admitted(), admitted()
        with control():
            mine, other = worker(), worker()
            claimed(living, worker_id=mine, pid=1)
            claimed(dead, worker_id=mine, pid=2)
            claimed(foreign, worker_id=other, pid=2)
        change(self.OLD)
        with control():
            back = recover.hand_back_of_dead_children(worker_id=mine, living_pids=[1, 3], retry_of=retry_of)
        assert back == {(dead, 1)}
        assert [job(look, each)["status"] for each in (living, dead, foreign)] == ["running", "retrying", "running"]

    def test_what_a_child_claimed_that_was_born_after_the_count_is_not_judged(
        self, look: Look, control: Control
    ) -> None:
        job_id = admitted()
        with control():
            mine = worker()
            claimed(job_id, worker_id=mine, pid=9)
            assert recover.hand_back_of_dead_children(worker_id=mine, living_pids=[1], retry_of=retry_of) == set()
        assert job(look, job_id)["status"] == "running"

    def test_a_pool_without_a_living_child_gives_everything_back(self, control: Control, change: Change) -> None:
        job_id = admitted()
        with control():
            mine = worker()
            claimed(job_id, worker_id=mine)
        change(self.OLD)
        with control():
            assert len(recover.hand_back_of_dead_children(worker_id=mine, living_pids=[], retry_of=retry_of)) == 1

    def test_a_child_that_was_seen_to_die_gives_back_its_own_fence_and_no_later_one(
        self, look: Look, control: Control
    ) -> None:
        job_id = admitted()
        with control():
            mine = worker()
            run = claimed(job_id, worker_id=mine)
            assert (
                recover.hand_back_of_dead_child([(job_id, run.fence + 1)], stopping=False, retry_of=retry_of) == set()
            )
            assert recover.hand_back_of_dead_child([(job_id, run.fence)], stopping=False, retry_of=retry_of) == {
                (job_id, run.fence)
            }
            release_due(limit=1)
            claimed(job_id, worker_id=mine)
            assert recover.hand_back_of_dead_child([(job_id, run.fence)], stopping=False, retry_of=retry_of) == set()
        row = job(look, job_id)
        assert (row["status"], row["fence"]) == ("running", 2)

    def test_a_child_that_its_stopping_worker_ended_costs_its_job_no_attempt(
        self, look: Look, control: Control
    ) -> None:
        job_id = admitted()
        with control():
            run = claimed(job_id, worker_id=worker())
            recover.hand_back_of_dead_child([(job_id, run.fence)], stopping=True, retry_of=retry_of)
        row = job(look, job_id)
        assert (row["status"], row["attempt"], row["retries"]) == ("queued", 0, 0)
        assert only(look("SELECT * FROM attempts"))["ending"] == "handed_back"


class TestGivingBack:
    """What a stopping worker cannot finish and what the broker does not take costs no attempt."""

    def test_a_stopping_worker_gives_back_its_own_jobs_only(self, look: Look, control: Control) -> None:
        own, foreign = admitted(), admitted()
        with control():
            mine = worker()
            claimed(own, worker_id=mine)
            claimed(foreign, worker_id=worker())
            assert recover.hand_back_of_stopping(worker_id=mine, retry_of=retry_of) == {(own, 1)}
        row = job(look, own)
        assert (row["status"], row["attempt"]) == ("queued", 0)
        assert job(look, foreign)["status"] == "running"

    def test_what_the_broker_did_not_take_is_queued_again(self, look: Look, control: Control) -> None:
        job_id = admitted()
        with control():
            made = dispatched(job_id)
            assert recover.unpublished([(job_id, made.fence)], retry_of=retry_of) == {(job_id, made.fence)}
            assert recover.unpublished([(job_id, made.fence)], retry_of=retry_of) == set()
        row = job(look, job_id)
        assert (row["status"], row["attempt"], row["unclaimed"]) == ("queued", 0, 0)
        assert only(look("SELECT * FROM attempts"))["ending"] == Ending.UNPUBLISHED

    def test_what_the_broker_took_after_all_and_a_worker_claimed_is_not_taken_back(
        self, look: Look, control: Control
    ) -> None:
        job_id = admitted()
        with control():
            run = claimed(job_id, worker_id=worker())
            assert recover.unpublished([(job_id, run.fence)], retry_of=retry_of) == set()
        assert job(look, job_id)["status"] == "running"


def test_the_tick_forgets_processes_that_are_long_gone_and_no_others(
    look: Look, control: Control, change: Change
) -> None:
    with control():
        old, fresh, living = worker(), worker(), worker()
    change("UPDATE processes SET state = 'gone' WHERE process_id IN (%s, %s)", old, fresh)
    change("UPDATE processes SET beat_at = now() - interval '2 days' WHERE process_id IN (%s, %s)", old, living)
    with control():
        assert heartbeat() == "ok"
    assert {row["process_id"] for row in look("SELECT process_id FROM processes")} == {fresh, living}


def test_no_sweep_sees_what_another_ended_meanwhile(look: Look, control: Control, change: Change) -> None:
    job_id = admitted(timeout_s=1)
    with control():
        claimed(job_id, worker_id=worker())
    change("UPDATE jobs SET started_at = clock_timestamp() - interval '1 hour'")
    change("UPDATE processes SET state = 'gone'")
    with control():
        lost = recover.hand_back_lost(retry_of=retry_of)
        overtime = recover.end_overtime(retry_of=retry_of)
    assert (len(lost), len(overtime)) == (1, 0)
    assert len(look("SELECT 1 FROM attempts")) == 1

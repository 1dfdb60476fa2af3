"""An end that comes late, twice or under another fence changes nothing, and its first word is kept."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
from django.db import connection

from apps.jobs.lifecycle import Ending, State
from apps.jobs.operations.dispatch import release_due
from apps.jobs.operations.end import write
from apps.jobs.operations.run import Claimed
from apps.jobs.retry import Retry
from tests.integration.conftest import Control, Look
from tests.support.rows import attempts, job, outcome_of, told
from tests.support.work import admitted, claimed, ended, finish, held, only, worker

ARTIFACT = {"name": "rain", "uri": "file:///acme/rain.parquet", "digest": "sha256:1", "bytes": 9, "rows": 3}


class TestComingLate:
    """Who was fenced off is heard, and changes nothing."""

    def test_a_finish_after_the_worker_was_given_up_is_recorded_beside_its_attempt(
        self, look: Look, control: Control
    ) -> None:
        job_id = admitted()
        with control():
            run = claimed(job_id, worker_id=worker())
            finish(run, Ending.WORKER_LOST, retry=Retry(initial_s=60))
            before = job(look, job_id)
            assert not finish(run, result={"artifacts": [ARTIFACT]})
        assert job(look, job_id) == before
        attempt = only(attempts(look))
        assert (attempt["ending"], attempt["late_ending"], attempt["result"]) == ("worker_lost", "succeeded", None)
        assert attempt["late_at"] > attempt["finished_at"]
        assert told(look, job_id) == ["submitted", "retrying"]

    def test_a_finish_under_an_old_fence_leaves_the_running_attempt_alone(self, look: Look, control: Control) -> None:
        job_id = admitted()
        with control():
            mine = worker()
            old = claimed(job_id, worker_id=mine)
            finish(old, Ending.WORKER_LOST)
            release_due(limit=1)
            new = claimed(job_id, worker_id=mine)
            assert not finish(old)
            assert job(look, job_id)["status"] == "running"
            assert finish(new)
        assert [(each["fence"], each["ending"], each["late_ending"]) for each in attempts(look)] == [
            (1, "worker_lost", "succeeded"),
            (2, "succeeded", None),
        ]
        assert told(look, job_id) == ["submitted", "retrying", "completed"]

    def test_only_the_first_late_word_is_kept(self, look: Look, control: Control) -> None:
        job_id = admitted()
        with control():
            run = claimed(job_id, worker_id=worker())
            finish(run, Ending.WORKER_LOST)
            finish(run, Ending.FAILED)
            finish(run, Ending.SUCCEEDED)
        assert only(attempts(look))["late_ending"] == "failed"

    def test_the_same_end_written_twice_is_written_once(self, look: Look, control: Control) -> None:
        job_id = admitted()
        with control():
            end = ended(claimed(job_id, worker_id=worker()), Ending.SUCCEEDED)
            assert len(write([end])) == 1
            after = job(look, job_id)
            assert write([end]) == set()
        assert job(look, job_id) == after
        assert only(attempts(look))["late_at"] is None, "an answer lost on the way is no late finish"
        assert told(look, job_id) == ["submitted", "completed"]
        outcome_of(look, job_id)

    def test_a_sweeper_that_comes_after_the_finish_is_no_late_finish(self, look: Look, control: Control) -> None:
        job_id = admitted()
        with control():
            run = claimed(job_id, worker_id=worker())
            finish(run)
            assert not finish(run, Ending.WORKER_LOST)
        assert only(attempts(look))["late_ending"] is None
        assert job(look, job_id)["status"] == "succeeded"

    def test_of_ends_written_together_a_late_one_keeps_no_other_back(self, look: Look, control: Control) -> None:
        one, two = admitted(), admitted()
        with control():
            mine = worker()
            late, good = claimed(one, worker_id=mine), claimed(two, worker_id=mine)
            finish(late, Ending.WORKER_LOST)
            assert write([ended(late, Ending.SUCCEEDED), ended(good, Ending.SUCCEEDED)]) == {(two, good.fence)}
        assert [job(look, each)["status"] for each in (one, two)] == ["retrying", "succeeded"]

    def test_two_who_finish_at_the_same_moment_are_told_apart_by_the_database(
        self, look: Look, control: Control
    ) -> None:
        job_id, start = admitted(), threading.Barrier(2)
        counted: list[bool] = []

        def race(run: Claimed, ending: Ending) -> None:
            try:
                start.wait()
                counted.append(finish(run, ending, permanent=True))
            finally:
                connection.close()

        with control():
            run = claimed(job_id, worker_id=worker())
            racers = [threading.Thread(target=race, args=(run, ending)) for ending in (Ending.SUCCEEDED, Ending.FAILED)]
            for each in racers:
                each.start()
            for each in racers:
                each.join()
        assert sorted(counted) == [False, True]
        attempt = only(attempts(look))
        assert attempt["ending"] == job(look, job_id)["outcome"]
        assert {attempt["ending"], attempt["late_ending"]} == {"succeeded", "failed"}
        outcome_of(look, job_id)

    @pytest.mark.parametrize("status", [State.DISPATCHED, State.QUEUED, State.RETRYING])
    def test_an_end_judged_from_another_state_than_the_jobs_does_not_count(
        self, look: Look, control: Control, status: State
    ) -> None:
        job_id = admitted()
        with control():
            run = claimed(job_id, worker_id=worker())
            good = ended(run, Ending.SUCCEEDED)
            assert write([replace(good, held=held(run, status=status))]) == set()
        assert job(look, job_id)["status"] == "running"
        assert attempts(look) == []

    def test_an_end_under_a_fence_to_come_does_not_count(self, look: Look, control: Control) -> None:
        job_id = admitted()
        with control():
            run = claimed(job_id, worker_id=worker())
            assert write([ended(replace(run, fence=run.fence + 1), Ending.SUCCEEDED)]) == set()
        assert job(look, job_id)["status"] == "running"

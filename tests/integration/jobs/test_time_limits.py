"""Time limits and retry policies of a job: start-by, deadline, heartbeat, what is tried again and what is not."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import pytest

from apps.core.clock import DatabaseClock
from apps.jobs.lifecycle import Ending
from apps.jobs.operations import recover
from apps.jobs.operations.dispatch import dispatch, release_due
from apps.jobs.operations.run import report
from apps.jobs.outcome import JobTimeout
from apps.jobs.retry import Retry
from tests.integration.conftest import Change, Control, Look
from tests.support.work import AT_ONCE, admitted, claimed, dispatched, finish, naming, offered, only, worker
from workers.attempt import AttemptLine
from workers.execute import deadline
from workers.speaker import speaker


def retry_of(_: str) -> Retry:
    return AT_ONCE


def job(look: Look, job_id: UUID) -> Mapping[str, Any]:
    return only(look("SELECT * FROM jobs WHERE job_id = %s", job_id))


PAST = "UPDATE jobs SET {} = clock_timestamp() - interval '1 ms'"


@pytest.mark.parametrize(("column", "reason"), [("start_by", "start_by"), ("deadline_at", "deadline")])
@pytest.mark.parametrize("status", ["scheduled", "queued", "retrying", "dispatched"])
def test_a_job_that_waits_past_its_time_is_ended_and_neither_dispatched_nor_claimed(
    look: Look, control: Control, change: Change, status: str, column: str, reason: str
) -> None:
    job_id = admitted(start_by_s=60, deadline_s=60)
    with control():
        mine = worker()
        assert recover.end_overdue(retry_of=retry_of) == set()
        made = dispatched(job_id) if status == "dispatched" else None
    change("UPDATE jobs SET status = %s", status)
    change(PAST.format(column))
    with control():
        assert dispatch([[job_id]]) == []
        assert made is None or offered(made, worker_id=mine) is None
        assert len(recover.end_overdue(retry_of=retry_of)) == 1
        assert recover.end_overdue(retry_of=retry_of) == set()
    row = job(look, job_id)
    assert (row["status"], row["reason_code"], row["error"]["code"]) == ("timed_out", reason, reason)
    assert look("SELECT 1 FROM evidence_records WHERE predicate = 'outcome'")


def test_a_job_that_started_has_met_its_start_by_for_good(look: Look, control: Control) -> None:
    job_id = admitted(start_by_s=60)
    with control():
        mine = worker()
        claimed(job_id, worker_id=mine)
        recover.hand_back_of_stopping(worker_id=mine, retry_of=retry_of)
    row = job(look, job_id)
    assert (row["status"], row["start_by"], row["start_by_s"]) == ("queued", None, 60)


def test_an_attempt_gets_what_the_deadline_leaves(look: Look, control: Control, change: Change) -> None:
    job_id = admitted(timeout_s=600, deadline_s=3600)
    with control():
        assert claimed(job_id, worker_id=worker()).timeout_s == 600
    other = admitted(timeout_s=600, deadline_s=60)
    with control():
        run = claimed(other, worker_id=worker())
        assert 50 < run.timeout_s < 60
        assert recover.end_overtime(retry_of=retry_of) == set()
    change("UPDATE jobs SET deadline_at = clock_timestamp() - interval '6 s' WHERE job_id = %s", other)
    with control():
        assert recover.end_overtime(retry_of=retry_of) == {(other, run.fence)}
    row = job(look, other)
    assert (row["status"], row["reason_code"], row["attempt"]) == ("timed_out", "deadline", 1)


def test_no_attempt_is_planned_past_the_deadline(look: Look, control: Control) -> None:
    job_id = admitted(deadline_s=60)
    with control():
        finish(claimed(job_id, worker_id=worker()), Ending.FAILED, retry=Retry(initial_s=100, cap_s=100))
    row = job(look, job_id)
    assert (row["status"], row["reason_code"]) == ("timed_out", "deadline")


class TestHeartbeat:
    """An attempt without a word is ended by its own worker, or else by the sweeper."""

    def test_the_sweeper_ends_the_silent_and_leaves_those_that_spoke(
        self, look: Look, control: Control, change: Change
    ) -> None:
        job_id = admitted()
        change("UPDATE jobs SET heartbeat_s = 5")
        with control():
            run = claimed(job_id, worker_id=worker())
        change("UPDATE jobs SET heard_at = clock_timestamp() - interval '11 s'")
        said: dict[str, Any] = {**naming(run), "progress": None, "first_line": 1, "lines": []}
        with control():
            report(**said, silent_s=1)
            assert recover.end_silent(retry_of=retry_of) == set()
        change("UPDATE jobs SET heard_at = clock_timestamp() - interval '11 s'")
        with control():
            report(**said, silent_s=30)
            assert recover.end_silent(retry_of=retry_of) == {(job_id, run.fence)}
            assert recover.forced([(job_id, run.fence)])
        row = job(look, job_id)
        assert (row["status"], row["reason_code"]) == ("retrying", "heartbeat")

    def test_its_own_worker_interrupts_it_before(self, control: Control) -> None:
        job_id = admitted()
        with control():
            run = claimed(job_id, worker_id=worker())
            clock = DatabaseClock(instant=run.claimed_at)
            line = AttemptLine(job_id=job_id, fence=run.fence, bundle_id=run.bundle_id, clock=clock, heartbeat_s=0.5)
            began = time.monotonic()
            speaker().open(line)
            with pytest.raises(JobTimeout) as raised, deadline(seconds=60, line=line):
                time.sleep(20)
            speaker().close()
            speaker().rest()
        assert raised.value.code == "heartbeat"
        assert time.monotonic() - began < 5


class TestPolicyOfAJob:
    """What a job says about its retries goes before its type, for worker and sweeper alike."""

    def test_its_own_attempts_and_pauses(self, look: Look, control: Control) -> None:
        job_id = admitted(retry=Retry(max_attempts=2, backoff="fixed", initial_s=50, jitter=0))
        with control():
            finish(claimed(job_id, worker_id=worker()), Ending.FAILED, retry=AT_ONCE)
        row = job(look, job_id)
        assert (row["status"], row["max_attempts"]) == ("retrying", 2)
        attempt = only(look("SELECT * FROM attempts"))
        assert (attempt["retry_at"] - attempt["finished_at"]).total_seconds() == 50

    def test_the_sweeper_keeps_to_it_as_well(self, look: Look, control: Control, change: Change) -> None:
        job_id = admitted(retry=Retry(backoff="none", non_retryable=("worker_lost",)))
        with control():
            claimed(job_id, worker_id=worker())
        change("UPDATE processes SET state = 'gone'")
        with control():
            recover.hand_back_lost(retry_of=retry_of)
        assert job(look, job_id)["status"] == "failed"

    @pytest.mark.parametrize(("code", "status"), [("bad_source", "failed"), ("other", "retrying")])
    def test_a_code_that_is_not_retryable_ends_it(self, look: Look, control: Control, code: str, status: str) -> None:
        job_id = admitted()
        policy = Retry(non_retryable=("bad_source",))
        with control():
            finish(claimed(job_id, worker_id=worker()), Ending.FAILED, retry=policy, error={"class": "E", "code": code})
            release_due(limit=0)
        assert job(look, job_id)["status"] == status

"""The end of a fence: outcome, attempt, event and evidence together, once; whoever comes late changes nothing."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest
from django.db import Error

from apps.jobs.lifecycle import Ending
from apps.jobs.operations.dispatch import release_due
from apps.jobs.operations.end import decide, write
from apps.jobs.operations.run import Claimed
from apps.jobs.retry import Retry
from tests.integration.conftest import Change, Control, Look
from tests.support.rows import attempts, job, outcome_of, told
from tests.support.work import admitted, claimed, ended, finish, held, only, worker

ARTIFACT = {"name": "rain", "uri": "file:///acme/rain.parquet", "digest": "sha256:1", "bytes": 9, "rows": 3}
ERROR = {"class": "KeyError", "code": "unexpected_error", "message": None, "fingerprint": "f", "location": "a.py:1"}


def last_of(job_id: UUID, *, attempt: int, worker_id: UUID) -> Claimed:
    """Return the job's claimed `attempt`, those before it having failed."""
    for _ in range(attempt - 1):
        finish(claimed(job_id, worker_id=worker_id), Ending.FAILED)
        release_due(limit=1)
    return claimed(job_id, worker_id=worker_id)


class TestHowItEnds:
    """Each ending leads where the lifecycle says, and leaves all of its traces."""

    def test_success_leaves_result_attempt_event_and_evidence(self, look: Look, control: Control) -> None:
        job_id = admitted()
        with control():
            mine = worker()
            run = claimed(job_id, worker_id=mine)
            result = {"artifacts": [ARTIFACT], "metrics": {"rows": 3}}
            assert finish(run, result=result, log_lines=2, log_digest="sha256:log")
        row = job(look, job_id)
        assert (row["status"], row["outcome"], row["reason_code"], row["error"]) == (
            "succeeded",
            "succeeded",
            None,
            None,
        )
        assert (row["attempt"], row["retries"], row["result"], row["due_at"]) == (1, 0, result, None)
        assert row["finished_at"] >= row["started_at"]
        attempt = only(attempts(look))
        expected = {
            "job_id": job_id,
            "fence": 1,
            "tenant_id": "acme",
            "number": 1,
            "ending": "succeeded",
            "worker_id": mine,
            "result": result,
            "log_lines": 2,
            "log_digest": "sha256:log",
            "started_at": row["started_at"],
            "finished_at": row["finished_at"],
            "late_at": None,
            "retry_at": None,
        }
        assert {name: attempt[name] for name in expected} == expected
        assert told(look, job_id) == ["submitted", "completed"]
        said = outcome_of(look, job_id)
        assert (said["outcome"], said["attempt"], said["fence"], said["error"]) == ("succeeded", 1, 1, None)
        assert said["artifacts"] == [ARTIFACT]
        assert said["log"] == {"lines": 2, "digest": "sha256:log"}

    def test_all_of_it_is_one_transaction(self, look: Look, control: Control) -> None:
        job_id = admitted()
        with control():
            finish(claimed(job_id, worker_id=worker()))
        born = look(
            "SELECT xmin::text AS born FROM jobs UNION SELECT xmin::text FROM attempts"
            " UNION SELECT xmin::text FROM events WHERE type LIKE '%%completed'"
            " UNION SELECT xmin::text FROM evidence_records WHERE predicate = 'outcome'"
        )
        assert len(born) == 1

    def test_a_failed_attempt_waits_for_its_next_and_gives_its_slot_back(self, look: Look, control: Control) -> None:
        job_id = admitted()
        with control():
            run = claimed(job_id, worker_id=worker())
            end = ended(
                run, Ending.FAILED, retry=Retry(initial_s=60, jitter=0), error=ERROR, reason_code="unexpected_error"
            )
            write([end])
        row = job(look, job_id)
        assert (row["status"], row["outcome"], row["finished_at"], row["evidence_id"]) == ("retrying", None, None, None)
        assert (row["attempt"], row["retries"], row["reason_code"], row["error"]) == (1, 1, "unexpected_error", ERROR)
        assert row["due_at"] == end.at + timedelta(seconds=60)
        assert only(attempts(look))["retry_at"] == row["due_at"]
        assert told(look, job_id) == ["submitted", "retrying"]
        assert look("SELECT 1 FROM evidence_records WHERE predicate = 'outcome'") == []

    @pytest.mark.parametrize(
        ("ending", "attempt", "permanent", "outcome", "event"),
        [
            (Ending.FAILED, 3, False, "failed", "failed"),
            (Ending.FAILED, 1, True, "failed", "failed"),
            (Ending.WORKER_LOST, 3, False, "failed", "failed"),
            (Ending.TIMED_OUT, 3, False, "timed_out", "failed"),
            (Ending.CANCELLED, 1, False, "cancelled", "cancelled"),
        ],
        ids=str,
    )
    def test_for_good_it_is_over_with_its_reason(
        self, look: Look, control: Control, ending: Ending, attempt: int, permanent: bool, outcome: str, event: str
    ) -> None:
        job_id = admitted()
        with control():
            run = last_of(job_id, attempt=attempt, worker_id=worker())
            assert finish(run, ending, error=ERROR, permanent=permanent)
        row = job(look, job_id)
        assert (row["status"], row["outcome"], row["reason_code"]) == (outcome, outcome, ending.value)
        how = {"how": "cooperative"} if outcome == "cancelled" else {}
        assert (row["attempt"], row["retries"], row["error"]) == (attempt, attempt - 1, ERROR | how)
        assert told(look, job_id) == ["submitted", *["retrying"] * (attempt - 1), event]
        assert outcome_of(look, job_id)["outcome"] == outcome
        assert [(each["number"], each["fence"]) for each in attempts(look)] == [(n, n) for n in range(1, attempt + 1)]

    def test_a_timed_out_attempt_is_tried_again_while_attempts_are_left(self, look: Look, control: Control) -> None:
        job_id = admitted()
        with control():
            finish(claimed(job_id, worker_id=worker()), Ending.TIMED_OUT)
        assert job(look, job_id)["status"] == "retrying"

    def test_success_after_failures_keeps_no_trace_of_them_in_the_job_and_all_in_its_attempts(
        self, look: Look, control: Control
    ) -> None:
        job_id = admitted()
        with control():
            assert finish(last_of(job_id, attempt=3, worker_id=worker()))
        row = job(look, job_id)
        assert (row["status"], row["attempt"], row["retries"], row["error"], row["reason_code"]) == (
            "succeeded",
            3,
            2,
            None,
            None,
        )
        assert [each["ending"] for each in attempts(look)] == ["failed", "failed", "succeeded"]
        assert told(look, job_id) == ["submitted", "retrying", "retrying", "completed"]

    def test_handed_back_it_is_queued_in_its_old_place_and_no_attempt_is_spent(
        self, look: Look, control: Control
    ) -> None:
        job_id = admitted()
        queued_at = job(look, job_id)["queued_at"]
        with control():
            mine = worker()
            assert finish(claimed(job_id, worker_id=mine), Ending.HANDED_BACK)
        row = job(look, job_id)
        assert (row["status"], row["attempt"], row["retries"], row["queued_at"]) == ("queued", 0, 0, queued_at)
        assert (row["reason_code"], row["error"]) == (None, None)
        assert told(look, job_id) == ["submitted"], "where it waits is nobody's news"
        with control():
            again = claimed(job_id, worker_id=mine)
        assert (again.attempt, again.fence) == (1, 2)

    def test_handed_back_any_number_of_times_all_its_attempts_are_left(self, look: Look, control: Control) -> None:
        job_id = admitted()
        with control():
            mine = worker()
            for _ in range(5):
                finish(claimed(job_id, worker_id=mine), Ending.HANDED_BACK)
            assert claimed(job_id, worker_id=mine).attempt == 1
        assert [each["number"] for each in attempts(look)] == [1] * 5

    def test_many_ends_at_once_are_each_written(self, look: Look, control: Control) -> None:
        ids = [admitted() for _ in range(3)]
        with control():
            mine = worker()
            runs = [claimed(job_id, worker_id=mine) for job_id in ids]
            endings = (Ending.SUCCEEDED, Ending.CANCELLED, Ending.FAILED)
            ends = [ended(run, ending) for run, ending in zip(runs, endings, strict=True)]
            assert write(ends) == {(run.job_id, run.fence) for run in runs}
        assert [job(look, job_id)["status"] for job_id in ids] == ["succeeded", "cancelled", "retrying"]

    def test_no_end_at_all_writes_nothing(self, control: Control) -> None:
        with control():
            assert write([]) == set()


class TestHalfAnEnd:
    """Nothing of an end is written without all of it."""

    def test_when_its_evidence_cannot_be_written_the_job_is_still_running(
        self, look: Look, control: Control, change: Change
    ) -> None:
        job_id = admitted()
        with control():
            run = claimed(job_id, worker_id=worker())
        change(
            "INSERT INTO evidence_records (record_id, tenant_id, region, kind, subject_id, fence, predicate, payload,"
            " salt, leaf)"
            " VALUES (gen_random_uuid(), 'acme', 'local', 'job', %s, %s, 'outcome', '', '', '')",
            str(job_id),
            run.fence,
        )
        with control(), pytest.raises(Error, match="evidence_once"):
            finish(run)
        assert job(look, job_id)["status"] == "running"
        assert attempts(look) == []
        assert told(look, job_id) == ["submitted"]

    def test_a_retry_is_planned_from_the_databases_time_and_by_the_types_policy(self, control: Control) -> None:
        job_id = admitted()
        with control():
            run = claimed(job_id, worker_id=worker())
        policy = Retry(backoff="fixed", initial_s=30, jitter=0)
        end = decide(held(run), ending=Ending.FAILED, at=run.claimed_at, retry=policy)
        assert end.due_at == run.claimed_at + timedelta(seconds=30)
        assert decide(held(run), ending=Ending.SUCCEEDED, at=run.claimed_at, retry=policy).due_at is None


def test_the_web_process_ends_no_job(look: Look, control: Control) -> None:
    job_id = admitted()
    with control():
        end = ended(claimed(job_id, worker_id=worker()), Ending.SUCCEEDED)
    with pytest.raises(Error, match="permission denied"):
        write([end])
    assert job(look, job_id)["status"] == "running"

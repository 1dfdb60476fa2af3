"""What no end of a job can be, whoever writes it: PostgreSQL refuses."""

from __future__ import annotations

import psycopg
import pytest

from apps.jobs.lifecycle import Ending
from tests.integration.conftest import Change, Control, Look
from tests.support.rows import job
from tests.support.work import admitted, claimed, finish, worker

IMPOSSIBLE = [
    ("an unknown state", "status = 'lost'"),
    ("an unknown outcome", "outcome = 'maybe', finished_at = now(), evidence_id = job_id"),
    ("an outcome without its time", "status = 'failed', outcome = 'failed', evidence_id = job_id"),
    ("an outcome without evidence", "status = 'failed', outcome = 'failed', finished_at = now()"),
    ("an end without an outcome", "finished_at = now()"),
    ("a terminal status without an outcome", "status = 'succeeded'"),
    (
        "a status that belies its outcome",
        "status = 'failed', outcome = 'succeeded', finished_at = now(), evidence_id = job_id",
    ),
    ("an outcome of a job that goes on", "outcome = 'failed', finished_at = now(), evidence_id = job_id"),
    ("audit owed for nothing", "status = 'pending_audit'"),
    ("running under nobody's lease", "status = 'running', worker_id = NULL"),
    ("another tenant that does not exist", "tenant_id = 'nobody'"),
    ("an environment that does not exist", "environment_id = 'moon'"),
    ("a negative attempt", "attempt = -1"),
]


class TestWhatTheDatabaseRefuses:
    """Rows that no operation would write are refused to everybody, the superuser too."""

    @pytest.mark.parametrize(("what", "values"), IMPOSSIBLE, ids=[each[0] for each in IMPOSSIBLE])
    def test_a_job_with(self, look: Look, change: Change, what: str, values: str) -> None:
        job_id = admitted()
        with pytest.raises(psycopg.IntegrityError):
            change(f"UPDATE jobs SET {values}")
        assert job(look, job_id)["status"] == "queued"

    def test_a_second_attempt_under_one_fence(self, control: Control, change: Change) -> None:
        job_id = admitted()
        with control():
            finish(claimed(job_id, worker_id=worker()), Ending.FAILED)
        with pytest.raises(psycopg.errors.UniqueViolation, match="attempt_fence_once"):
            change(
                "INSERT INTO attempts (job_id, fence, tenant_id, number, ending, log_lines)"
                " SELECT job_id, fence, tenant_id, number, 'cancelled', 0 FROM attempts"
            )

    def test_a_second_success_of_one_job(self, control: Control, change: Change) -> None:
        job_id = admitted()
        with control():
            finish(claimed(job_id, worker_id=worker()))
        with pytest.raises(psycopg.errors.UniqueViolation, match="attempt_success_once"):
            change(
                "INSERT INTO attempts (job_id, fence, tenant_id, number, ending, log_lines)"
                " SELECT job_id, fence + 1, tenant_id, number + 1, 'succeeded', 0 FROM attempts"
            )

    def test_a_second_record_of_the_same_outcome(self, look: Look, control: Control, change: Change) -> None:
        job_id = admitted()
        with control():
            finish(claimed(job_id, worker_id=worker()))
        with pytest.raises(psycopg.errors.UniqueViolation, match="evidence_once"):
            change(
                "INSERT INTO evidence_records (record_id, tenant_id, region, kind, subject_id, fence, predicate,"
                " payload, salt, leaf) SELECT gen_random_uuid(), tenant_id, region, kind, subject_id,"
                " fence, predicate, payload, salt, leaf FROM evidence_records WHERE predicate = 'outcome'"
            )

    def test_a_deleted_tenant_that_has_jobs(self, change: Change) -> None:
        admitted()
        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            change("DELETE FROM tenants WHERE tenant_id = 'acme'")

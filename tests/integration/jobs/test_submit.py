"""Submission: whatever is decided is written whole, with its decisions, its event and its evidence, or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from apps.core.digests import digest_of
from apps.evidence.queries import examine
from apps.jobs import points
from apps.jobs.lifecycle import Priority, State
from apps.jobs.operations.submit import DecisionPoints, Submitted, UnknownEnvironmentError, UnknownTenantError, submit
from apps.jobs.operations.wake import CHANNEL
from apps.tenancy.context import in_tenant
from tests.integration.conftest import Change, Look
from tests.support.rows import job
from tests.support.work import admitted, only, submission, submitted


def nothing_is_written(look: Look) -> bool:
    counts = look(
        "SELECT (SELECT count(*) FROM jobs) + (SELECT count(*) FROM decisions) + (SELECT count(*) FROM events)"
        " + (SELECT count(*) FROM evidence_records) AS rows"
    )
    return bool(only(counts)["rows"] == 0)


class TestAnAdmittedJob:
    """One transaction leaves the job queued, both decisions, the event and the evidence of admission."""

    def test_is_queued_with_what_was_asked_for(self, look: Look) -> None:
        made = submitted(
            "ops.sleep",
            params={"seconds": 1},
            priority=Priority.HIGH,
            timeout_s=7,
            concurrency_key="k",
            trigger="connector",
        )
        assert made.status is State.QUEUED
        row = job(look, made.job_id)
        expected = {
            "tenant_id": "acme",
            "type": "ops.sleep",
            "status": "queued",
            "outcome": None,
            "reason_code": None,
            "priority": 1,
            "environment_id": "default",
            "region": "local",
            "params": {"seconds": 1},
            "params_digest": digest_of({"seconds": 1}),
            "submitted_by": "data-acquisition",
            "trigger": "connector",
            "concurrency_key": "k",
            "timeout_s": 7,
            "max_attempts": 3,
            "attempt": 0,
            "retries": 0,
            "fence": 0,
            "unclaimed": 0,
            "worker_id": None,
            "due_at": None,
            "started_at": None,
            "finished_at": None,
            "evidence_id": None,
            "error": None,
        }
        assert {name: row[name] for name in expected} == expected
        assert row["submitted_at"] <= row["queued_at"]

    def test_keeps_both_decisions_with_their_revisions(self, look: Look) -> None:
        job_id = admitted()
        rows = look("SELECT * FROM decisions WHERE job_id = %s ORDER BY point", job_id)
        assert [
            (row["point"], row["allowed"], row["reason_code"], row["action"], row["tenant_id"]) for row in rows
        ] == [
            ("governance", True, "allowed", "operations.submit", "acme"),
            ("subscription", True, "entitled", "operations.submit", "acme"),
        ]
        assert all(row["policy_revision"].startswith("catalogue:") for row in rows)
        assert rows[1]["context"]["limits"]["backlog_cap"] == 100_000

    def test_is_told_by_one_event_that_holds_no_params(self, look: Look) -> None:
        job_id = admitted("ops.sleep", params={"seconds": 0.25})
        row = only(look("SELECT * FROM events"))
        assert (row["type"], row["subject"], row["tenant_id"]) == ("operations.job.submitted", str(job_id), "acme")
        assert row["data"] == {
            "job_id": str(job_id),
            "type": "ops.sleep",
            "status": "queued",
            "attempt": 0,
            "reason_code": None,
            "error_class": None,
        }
        assert row["sequence"] is None

    def test_has_evidence_of_its_admission_that_names_both_decisions(self, look: Look) -> None:
        job_id = admitted("kpi.refresh", params={}, contract="kpi.seattle-rain@1")
        row = only(look("SELECT * FROM evidence_records"))
        assert (row["predicate"], row["subject_id"], row["tenant_id"], row["fence"]) == (
            "admission",
            str(job_id),
            "acme",
            0,
        )
        said = json.loads(bytes(row["payload"]))
        digest = only(look("SELECT digest FROM contracts WHERE name = 'kpi.seattle-rain'"))["digest"]
        assert said["subject"] == [{"name": f"job:{job_id}", "digest": {"sha256": digest_of({})[7:]}}]
        assert said["predicate"]["contract_digest"] == digest
        kept = look("SELECT point, decision_id, policy_revision FROM decisions")
        assert {
            point: (each["decision_id"], each["policy_revision"])
            for point, each in said["predicate"]["decisions"].items()
        } == {each["point"]: (str(each["decision_id"]), each["policy_revision"]) for each in kept}
        with in_tenant("acme"):
            assert [verdict.intact for verdict in examine(subject_id=str(job_id))] == [True]

    def test_is_written_in_one_transaction(self, look: Look) -> None:
        admitted()
        born = look(
            "SELECT xmin::text AS born FROM jobs UNION SELECT xmin::text FROM decisions"
            " UNION SELECT xmin::text FROM events UNION SELECT xmin::text FROM evidence_records"
        )
        assert len(born) == 1

    def test_pins_the_contract_and_its_obligations(self, look: Look) -> None:
        row = job(look, admitted("kpi.refresh", contract="kpi.seattle-rain@1"))
        assert row["contract"] == "kpi.seattle-rain@1"
        assert row["contract_digest"] == only(look("SELECT digest FROM contracts"))["digest"]
        assert row["obligations"] == {"retention_days": 365}

    def test_takes_its_types_time_and_attempts_where_it_says_nothing(self, look: Look) -> None:
        row = job(look, admitted())
        assert (row["timeout_s"], row["max_attempts"]) == (30, 3)

    def test_waits_for_its_time_when_that_is_to_come_and_is_queued_when_it_has_passed(self, look: Look) -> None:
        soon = datetime.now(tz=UTC) + timedelta(hours=1)
        later = job(look, admitted(run_at=soon))
        assert (later["status"], later["run_at"], later["due_at"], later["queued_at"]) == (
            "scheduled",
            soon,
            soon,
            None,
        )
        past = job(look, admitted(run_at=soon - timedelta(hours=2)))
        assert (past["status"], past["due_at"]) == ("queued", None)

    def test_wakes_the_scheduler_after_it_is_committed(self, look: Look, listener: Callable[[], int]) -> None:
        with in_tenant("acme"):
            submit(submission(), points=points.in_force())
            assert listener() == 0, "woken before there was anything to see"
        assert listener() == 1

    def test_wakes_the_scheduler_outside_its_transaction_where_it_would_hold_the_one_lock_of_all_notifications(
        self, db: None
    ) -> None:
        with in_tenant("acme"), CaptureQueriesContext(connection) as inside:
            submit(submission(), points=points.in_force())
        assert not [each["sql"] for each in inside.captured_queries if "NOTIFY" in each["sql"]]

    def test_that_is_scheduled_or_refused_wakes_nobody(self, look: Look, listener: Callable[[], int]) -> None:
        admitted(run_at=datetime.now(tz=UTC) + timedelta(hours=1))
        submitted("kpi.refresh")
        assert listener() == 0


@pytest.fixture
def listener(db: None, superuser: Any) -> Any:
    """Return how often the scheduler was woken since it was last asked."""
    superuser.execute(f"LISTEN {CHANNEL}".encode())
    yield lambda: len(list(superuser.notifies(timeout=0.05)))
    superuser.execute(f"UNLISTEN {CHANNEL}".encode())
    list(superuser.notifies(timeout=0))


class TestNothingIsWritten:
    """What cannot be served, and what breaks on the way, leaves no trace."""

    def test_for_an_environment_that_does_not_exist(self, look: Look) -> None:
        with pytest.raises(UnknownEnvironmentError):
            submitted(environment="moon")
        assert nothing_is_written(look)

    def test_for_an_environment_of_other_tenants(self, look: Look, change: Change) -> None:
        change("UPDATE environments SET allowed_tenants = '{globex}' WHERE name = 'batch'")
        with pytest.raises(UnknownEnvironmentError):
            submitted(environment="batch")
        assert nothing_is_written(look)
        assert submitted(tenant="globex", environment="batch").status is State.QUEUED

    def test_for_a_tenant_that_does_not_exist(self, look: Look) -> None:
        with pytest.raises(UnknownTenantError):
            submitted(tenant="nobody")
        assert nothing_is_written(look)

    def test_when_the_statement_breaks_in_its_middle(self, look: Look) -> None:
        class Twice:
            """A decision point that gives two answers one identity, which the decisions' key forbids."""

            def evaluate(self, question: Any) -> Any:
                return replace(points.in_force().subscription.evaluate(question), decision_id=UUID(int=1))

        twice = DecisionPoints(governance=Twice(), subscription=Twice())
        with pytest.raises(IntegrityError), in_tenant("acme"):
            submit(submission(), points=twice)
        assert nothing_is_written(look)

    def test_when_the_caller_breaks_off_after_the_job_was_written(
        self, look: Look, listener: Callable[[], int]
    ) -> None:
        def broken_off() -> None:
            with in_tenant("acme"):
                submit(submission(), points=points.in_force())
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            broken_off()
        assert nothing_is_written(look)
        assert listener() == 0

    def test_when_the_submission_is_for_another_tenant_than_the_context(self, look: Look) -> None:
        with pytest.raises(Exception, match=r"row-level security|globex"), in_tenant("acme"):
            submit(submission(tenant="globex"), points=points.in_force())
        assert nothing_is_written(look)


def test_what_is_returned_is_what_was_written(look: Look) -> None:
    made = submitted()
    assert isinstance(made, Submitted)
    assert job(look, made.job_id)["status"] == made.status
    assert made.refusal is None


def test_ids_of_later_submissions_sort_later(look: Look) -> None:
    ids = [admitted() for _ in range(5)]
    assert ids == sorted(ids)


def test_a_submission_inside_its_own_transaction_can_be_taken_back(look: Look) -> None:
    with in_tenant("acme"):
        point = transaction.savepoint()
        submit(submission(), points=points.in_force())
        transaction.savepoint_rollback(point)
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM jobs")
            assert cursor.fetchone() == (0,)
    assert nothing_is_written(look)

"""Dependencies: a job is blocked until the rule over its upstreams' ends is decided, once, whatever dies meanwhile."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import connection, transaction

from apps.jobs.dependencies import Rule
from apps.jobs.lifecycle import Ending
from apps.jobs.operations import news, recover
from apps.jobs.operations import submit as submitting
from apps.jobs.operations.dependencies import DependsOn
from apps.jobs.retry import Retry
from tests.integration.conftest import Change, Control, Look
from tests.support.api import JOBS, Module, fields, refused, said
from tests.support.work import admitted, claimed, finish, only, worker

NOOP = {"type": "ops.noop"}
BATCH = f"{JOBS}/batch"


def after(*jobs: UUID, rule: str = "all_success", **more: Any) -> UUID:
    """Submit a job that depends on others."""
    return admitted(depends_on=DependsOn(jobs=jobs, rule=Rule(rule)), **more)


def status(look: Look, job_id: UUID) -> tuple[str, str | None]:
    row = only(look("SELECT status, reason_code FROM jobs WHERE job_id = %s", job_id))
    return row["status"], row["reason_code"]


def end_and_tell(control: Control, *jobs: UUID, ending: Ending = Ending.SUCCEEDED) -> None:
    """Run jobs to an end and tell of it, as a worker and the scheduler do."""
    with control():
        for job_id in jobs:
            assert finish(claimed(job_id, worker_id=worker()), ending, permanent=True)
        told()


def told() -> int:
    """Tell of ends until there is no more to tell; return how many there were."""
    counts = []
    while count := news.tell(limit=100):
        counts.append(count)
    return sum(counts)


class TestADependent:
    """Waits, then runs or ends."""

    def test_is_blocked_and_released_when_the_last_has_succeeded(self, look: Look, control: Control) -> None:
        first, second = admitted(), admitted()
        job_id = after(first, second)
        assert status(look, job_id) == ("blocked", None)
        end_and_tell(control, first)
        assert status(look, job_id) == ("blocked", None)
        end_and_tell(control, second)
        assert status(look, job_id) == ("queued", None)
        assert only(look("SELECT queued_at > submitted_at AS later FROM jobs WHERE job_id = %s", job_id))["later"]

    def test_is_released_by_upstreams_that_were_over_before_it_came(self, look: Look, control: Control) -> None:
        upstream = admitted()
        end_and_tell(control, upstream)
        job_id = after(upstream)
        assert status(look, job_id) == ("blocked", None)
        with control():
            assert told() == 1
        assert status(look, job_id) == ("queued", None)

    def test_ends_when_its_rule_cannot_come_true_and_so_do_those_behind_it(self, look: Look, control: Control) -> None:
        upstream, open_ = admitted(), admitted()
        middle = after(upstream, open_)
        last = after(middle)
        cleanup = after(middle, rule="one_failed")
        end_and_tell(control, upstream, ending=Ending.FAILED)
        assert status(look, middle) == status(look, last) == ("cancelled", "upstream_failed")
        assert status(look, cleanup) == ("queued", None)
        for job_id in (middle, last):
            rows = look("SELECT type FROM events WHERE subject = %s AND type LIKE '%%cancelled'", str(job_id))
            assert len(rows) == 1
            proofs = look("SELECT 1 FROM evidence_records WHERE subject_id = %s AND predicate = 'outcome'", str(job_id))
            assert len(proofs) == 1

    def test_that_was_skipped_harms_all_success_and_not_none_failed(self, look: Look, control: Control) -> None:
        upstream = admitted()
        skipped = after(upstream, rule="one_failed")
        strict, lenient = after(skipped), after(skipped, rule="none_failed")
        end_and_tell(control, upstream)
        assert status(look, skipped) == status(look, strict) == ("cancelled", "skipped")
        assert status(look, lenient) == ("queued", None)

    def test_a_person_who_cancels_an_upstream_fails_it(self, acme: Module, look: Look, control: Control) -> None:
        upstream = admitted()
        job_id = after(upstream)
        said(acme.ask("POST", f"{JOBS}/{upstream}/cancel"), 202)
        with control():
            told()
        assert status(look, job_id) == ("cancelled", "upstream_failed")

    def test_with_the_rule_always_waits_for_nothing(self, look: Look) -> None:
        assert status(look, after(admitted(), rule="always")) == ("queued", None)

    def test_keeps_its_run_at(self, look: Look, control: Control) -> None:
        upstream = admitted()
        job_id = after(upstream, run_at=datetime.now(UTC) + timedelta(hours=1))
        end_and_tell(control, upstream)
        row = only(look("SELECT status, due_at = run_at AS due FROM jobs WHERE job_id = %s", job_id))
        assert row == {"status": "scheduled", "due": True}

    @pytest.mark.parametrize("limit", ["start_by_s", "deadline_s"])
    def test_times_out_while_it_waits(self, look: Look, control: Control, change: Change, limit: str) -> None:
        asked: dict[str, Any] = {limit: 60}
        job_id = after(admitted(), **asked)
        column = {"start_by_s": "start_by", "deadline_s": "deadline_at"}[limit]
        change(f"UPDATE jobs SET {column} = clock_timestamp() - interval '1 s' WHERE job_id = %s", job_id)
        with control():
            recover.end_overdue(retry_of=lambda _: Retry())
        assert status(look, job_id)[0] == "timed_out"

    def test_can_be_cancelled_while_it_waits(self, acme: Module, look: Look, control: Control) -> None:
        upstream = admitted()
        job_id = after(upstream)
        said(acme.ask("POST", f"{JOBS}/{job_id}/cancel"), 202)
        end_and_tell(control, upstream)
        assert status(look, job_id) == ("cancelled", "cancelled")


class TestTelling:
    """Once, whoever tells and wherever it is killed."""

    def test_killed_before_its_commit_it_has_told_nothing_and_the_next_tells_it(
        self, look: Look, control: Control
    ) -> None:
        upstream = admitted()
        job_id, failing = after(upstream), after(upstream, rule="one_failed")
        with control():
            assert finish(claimed(upstream, worker_id=worker()))
            with transaction.atomic():
                assert news.tell(limit=10) == 1
                transaction.set_rollback(True)  # what PostgreSQL does with a session that dies
            assert status(look, job_id) == status(look, failing) == ("blocked", None)
            assert told() == 1
        assert status(look, job_id) == ("queued", None)
        assert len(look("SELECT 1 FROM events WHERE subject = %s AND type LIKE '%%cancelled'", str(failing))) == 1

    def test_of_two_at_once_the_second_passes_over_what_the_first_tells(self, look: Look, control: Control) -> None:
        upstream = admitted()
        after(upstream)
        with control():
            assert finish(claimed(upstream, worker_id=worker()))
            other = connection.copy()
            try:
                with other.cursor() as cursor:
                    cursor.execute("BEGIN")
                    cursor.execute(news.NEWS, [10])
                    assert [row[0] for row in cursor.fetchall()] == [upstream]
                    assert news.tell(limit=10) == 0
                    cursor.execute("ROLLBACK")
            finally:
                other.close()
            assert news.tell(limit=10) == 1

    def test_what_nobody_waits_for_is_no_news(self, look: Look, control: Control) -> None:
        job_id = admitted()
        with control():
            assert finish(claimed(job_id, worker_id=worker()))
            assert news.tell(limit=10) == 0
        assert look("SELECT 1 FROM jobs WHERE watched") == []

    def test_the_look_is_served_by_the_index_of_news(self, look: Look, change: Change, control: Control) -> None:
        upstream = admitted()
        after(upstream)
        change("ANALYZE jobs")
        with control(), connection.cursor() as cursor:
            cursor.execute("SET enable_seqscan = off")
            cursor.execute("EXPLAIN " + news.NEWS, [10])
            plan = "\n".join(row[0] for row in cursor.fetchall())
            cursor.execute("RESET enable_seqscan")
        assert "jobs_news" in plan

    def test_an_upstream_tried_again_by_hand_changes_nothing(self, acme: Module, look: Look, control: Control) -> None:
        upstream = admitted()
        job_id = after(upstream, rule="all_done")
        failed = after(upstream)
        end_and_tell(control, upstream, ending=Ending.FAILED)
        said(acme.ask("POST", f"{JOBS}/{upstream}/retry"), 202)
        end_and_tell(control, upstream)
        assert status(look, job_id) == ("queued", None)
        assert status(look, failed) == ("cancelled", "upstream_failed")


class TestOverHttp:
    """As asked and as read."""

    def test_it_is_read_as_it_was_asked(self, acme: Module) -> None:
        upstream = said(acme.post(NOOP), 202)["job_id"]
        job = said(acme.post({**NOOP, "depends_on": {"jobs": [upstream], "rule": "all_done"}}), 202)
        assert job["status"] == "blocked"
        assert job["depends_on"] == {"jobs": [upstream], "rule": "all_done"}
        assert said(acme.get(f"{JOBS}/{upstream}"))["depends_on"] is None

    @pytest.mark.parametrize(
        ("asked", "named"),
        [
            ({"jobs": []}, "depends_on"),
            ({}, "depends_on"),
            ({"jobs": ["x"]}, "depends_on.jobs.0"),
            ({"jobs": ["0198f3a2-7b1c-7d3e-8f4a-5b6c7d8e9f00"]}, "depends_on.jobs"),
            ({"jobs": ["0198f3a2-7b1c-7d3e-8f4a-5b6c7d8e9f00"] * 201}, "depends_on.jobs"),
            ({"jobs": ["0198f3a2-7b1c-7d3e-8f4a-5b6c7d8e9f00"], "rule": "maybe"}, "depends_on.rule"),
            ({"batch": [0]}, "depends_on.batch"),
            ({"job": "x"}, "depends_on.job"),
        ],
        ids=["none", "nothing", "no id", "unknown", "too many", "rule", "no batch", "unknown field"],
    )
    def test_what_is_wrong_is_named(self, acme: Module, look: Look, asked: Any, named: str) -> None:
        problem = refused(acme.post({**NOOP, "depends_on": asked}), 400, "invalid_fields")
        assert fields(problem) == [named]
        assert look("SELECT 1 FROM jobs") == []

    def test_a_foreign_job_reads_as_one_that_is_not_there(self, acme: Module, globex: Module, look: Look) -> None:
        foreign = said(globex.post(NOOP), 202)["job_id"]
        unknown = "0198f3a2-7b1c-7d3e-8f4a-5b6c7d8e9f00"
        said_of = [
            refused(acme.post({**NOOP, "depends_on": {"jobs": [each]}}), 400, "invalid_fields")["errors"]
            for each in (foreign, unknown)
        ]
        assert str(said_of[0]).replace(foreign, unknown) == str(said_of[1])
        assert look("SELECT 1 FROM jobs WHERE watched") == []

    def test_in_a_batch_a_job_may_wait_for_one_before_it(self, acme: Module, look: Look, control: Control) -> None:
        wait = {**NOOP, "depends_on": {"batch": [0]}}
        both = {**NOOP, "depends_on": {"batch": [0, 1], "rule": "all_done"}}
        results = said(acme.post({"jobs": [NOOP, wait, both]}, path=BATCH), 202)["results"]
        first, second, third = (UUID(each["job_id"]) for each in results)
        assert said(acme.get(f"{JOBS}/{third}"))["depends_on"]["jobs"] == [str(first), str(second)]
        end_and_tell(control, first)
        assert [status(look, each)[0] for each in (second, third)] == ["queued", "blocked"]
        end_and_tell(control, second)
        assert status(look, third) == ("queued", None)

    def test_in_a_batch_only_what_was_taken_before_can_be_waited_for(self, acme: Module, globex: Module) -> None:
        def wait(*places: int) -> dict[str, Any]:
            return {**NOOP, "depends_on": {"batch": list(places)}}

        jobs = [wait(0), {"type": "none"}, wait(1), wait(4), wait(9), {**NOOP, "environment": "moon"}, wait(5), NOOP]
        results = said(acme.post({"jobs": jobs}, path=BATCH), 202)["results"]
        assert [each["status"] for each in results] == [400] * 7 + [202]
        assert [fields(each) for each in results[2:4]] == [["depends_on.batch"]] * 2
        assert fields(results[6]) == ["depends_on.jobs"]
        foreign = said(globex.post(NOOP), 202)["job_id"]
        results = said(acme.post({"jobs": [NOOP, {**NOOP, "depends_on": {"jobs": [foreign]}}]}, path=BATCH), 202)
        assert [each["status"] for each in results["results"]] == [202, 400]

    def test_dependents_count_as_backlog(self, acme: Module, change: Change) -> None:
        change("UPDATE plans SET backlog_cap = 2")
        upstream = said(acme.post(NOOP), 202)["job_id"]
        said(acme.post({**NOOP, "depends_on": {"jobs": [upstream]}}), 202)
        refused(acme.post(NOOP), 429, "backlog_full")


def test_a_submission_names_the_dependency_that_is_missing(db: None) -> None:
    missing = UUID("0198f3a2-7b1c-7d3e-8f4a-5b6c7d8e9f00")
    with pytest.raises(submitting.UnknownDependencyError, match=str(missing)):
        after(missing)

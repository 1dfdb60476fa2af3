"""Deferral: while the breaker is open a submission is taken as `deferred`, and released in its order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from apps.jobs import queries
from apps.jobs.lifecycle import Priority, State
from apps.jobs.operations.deferral import close_breaker, open_breaker, release_deferred
from apps.jobs.operations.dispatch import release_due
from tests.integration.conftest import Change, Control, Look
from tests.support.api import JOBS, Module, refused, said
from tests.support.queue import Driver
from tests.support.work import admitted, only, submitted


def opened(control: Control) -> None:
    with control():
        open_breaker(reason="ConnectionError")


def status(look: Look, job_id: UUID) -> str:
    return str(only(look("SELECT status FROM jobs WHERE job_id = %s", job_id))["status"])


class TestWhileItIsOpen:
    """Taken, kept and told."""

    def test_a_submission_is_taken_as_deferred(self, acme: Module, look: Look, control: Control) -> None:
        opened(control)
        job = said(acme.post({"type": "ops.noop"}), 202)
        assert (job["status"], job["queued_at"], job["waiting_for"]) == ("deferred", None, "broker_down")
        assert acme.ids(status="deferred") == [job["job_id"]]
        event = only(look("SELECT type, data FROM events"))
        assert (event["type"], event["data"]["status"]) == ("operations.job.submitted", "deferred")

    def test_so_is_a_batch(self, acme: Module, control: Control) -> None:
        opened(control)
        said(acme.post({"jobs": [{"type": "ops.noop"}] * 3}, path=f"{JOBS}/batch"), 202)
        assert len(acme.ids(status="deferred")) == 3

    def test_what_was_queued_before_stays_queued_and_says_what_it_waits_for(
        self, acme: Module, control: Control
    ) -> None:
        job_id = admitted()
        assert said(acme.get(f"{JOBS}/{job_id}"))["waiting_for"] is None
        opened(control)
        job = said(acme.get(f"{JOBS}/{job_id}"))
        assert (job["status"], job["waiting_for"]) == ("queued", "broker_down")

    def test_what_is_for_later_waits_for_its_time_and_what_is_refused_is_refused(
        self, acme: Module, control: Control
    ) -> None:
        opened(control)
        later = datetime.now(tz=UTC) + timedelta(hours=1)
        assert submitted(run_at=later).status is State.SCHEDULED
        refused(acme.post({"type": "kpi.refresh"}), 403, "contract_required")

    def test_what_is_deferred_counts_as_backlog(self, acme: Module, control: Control, change: Change) -> None:
        opened(control)
        change("UPDATE plans SET backlog_cap = 2")
        admitted(), admitted()
        refused(acme.post({"type": "ops.noop"}), 429, "backlog_full")

    def test_it_is_neither_dispatched_nor_released_as_due(self, look: Look, control: Control) -> None:
        opened(control)
        job_id = admitted()
        with control():
            assert Driver(slots=9).fill() == []
            assert release_due(limit=10) == 0
        assert status(look, job_id) == "deferred"


class TestTheBreaker:
    """A row that says since when, written once."""

    def test_is_opened_once_and_keeps_its_hour(self, look: Look, control: Control) -> None:
        with control():
            assert open_breaker(reason="TimeoutError")
            first = only(look("SELECT * FROM breakers"))
            assert not open_breaker(reason="ConnectionError")
            assert only(look("SELECT * FROM breakers")) == first
            assert queries.broker_is_away()
            assert close_breaker()
            assert not close_breaker()
            assert not queries.broker_is_away()
            assert open_breaker(reason="ConnectionError")

    def test_is_closed_while_nobody_ever_wrote_it(self, control: Control) -> None:
        assert not queries.broker_is_away()
        assert submitted().status is State.QUEUED

    def test_is_read_and_not_written_by_the_web(self, db: None) -> None:
        assert not queries.broker_is_away()
        with pytest.raises(Exception, match="permission denied"):
            open_breaker(reason="x")


class TestRelease:
    """By priority and submission, behind what waited before and before what comes after."""

    def test_keeps_the_order_of_priority_and_submission(self, control: Control, look: Look) -> None:
        before = admitted(priority=Priority.NORMAL)
        opened(control)
        words = [Priority.BULK, Priority.NORMAL, Priority.CRITICAL, Priority.NORMAL, Priority.HIGH, Priority.CRITICAL]
        deferred = [(word, admitted(priority=word)) for word in words]
        with control():
            # In chunks, as a long outage's jobs are: the order holds across them.
            assert [release_deferred(limit=4), release_deferred(limit=4), release_deferred(limit=4)] == [4, 2, 0]
            close_breaker()
        after = admitted(priority=Priority.NORMAL)
        with control():
            waiting = [each.job_id for each in Driver(slots=99).fill()]
        ranked = [job_id for _, job_id in sorted(deferred, key=lambda each: each[0])]
        assert waiting == [*ranked[:3], before, *ranked[3:5], after, ranked[5]]

    def test_takes_only_what_is_deferred(self, control: Control, look: Look) -> None:
        queued, later = admitted(), admitted(run_at=datetime.now(tz=UTC) + timedelta(hours=1))
        queued_at = only(look("SELECT queued_at FROM jobs WHERE job_id = %s", queued))
        with control():
            assert release_deferred(limit=10) == 0
        assert only(look("SELECT queued_at FROM jobs WHERE job_id = %s", queued)) == queued_at
        assert status(look, later) == "scheduled"

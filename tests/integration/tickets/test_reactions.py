"""What the house does about events that are trouble: failures and others become tickets."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.db import transaction

from apps.core.ids import uuid7
from apps.jobs.fingerprint import of_failure
from apps.jobs.lifecycle import Ending
from apps.tickets import reactions
from tests.integration.conftest import Change, Control, Look
from tests.integration.tickets.conftest import ERROR, OTHER, Asked, Ran, event
from tests.support.work import admitted, claimed, finish, worker

React = Callable[[], None]
Rows = Callable[[], list[dict[str, Any]]]
Kinds = Callable[[Any], list[str]]
Read = Callable[[Any], dict[str, Any]]
pytestmark = pytest.mark.usefixtures("reactor")


class TestFailures:
    """A job that fails for good owes somebody one ticket."""

    def test_a_failure_opens_a_ticket_that_says_what_is_known_of_it(
        self, ran: Ran, react: React, rows: Rows, read: Read, look: Look
    ) -> None:
        (job_id,) = ran(fails=ERROR)
        react()
        (row,) = rows()
        assert (row["tenant_id"], row["module"], row["source"], row["kind"]) == ("acme", "ops", "job", "ops.noop")
        assert row["issue"] == "ops.noop failed: NoRowsError: no rows in partition 17"
        assert (row["status"], row["severity"], row["occurrences"]) == ("open", "error", 1)
        assert row["fingerprint"] == of_failure(
            tenant_id="acme", job_type="ops.noop", error=ERROR, reason_code="no_rows"
        )
        whole = read(str(row["id"]))
        assert {(each["kind"], each["ref"]) for each in whole["refs"]} >= {("job", str(job_id)), ("tenant", "acme")}
        assert whole["about"]["class"] == "acme_jobs.NoRowsError"
        (created,) = look("SELECT * FROM events WHERE type = 'operations.ticket.created'")
        assert (created["tenant_id"], created["data"]["job_id"]) == ("acme", str(job_id))
        assert "partition" not in json.dumps(created["data"])

    def test_the_same_failure_counts_and_another_one_is_another_ticket(
        self, ran: Ran, react: React, rows: Rows
    ) -> None:
        ran(fails=ERROR, times=2)
        ran(fails={**ERROR, "message": "no rows in partition 99"})
        ran(fails=OTHER)
        ran(fails=ERROR, tenant="globex")
        react()
        found = sorted((row["tenant_id"], row["occurrences"]) for row in rows())
        assert found == [("acme", 1), ("acme", 3), ("globex", 1)]

    def test_an_event_that_is_handed_over_twice_counts_once(
        self, ran: Ran, react: React, rows: Rows, kinds: Kinds, control: Control, change: Change
    ) -> None:
        ran(fails=ERROR, times=3)
        react()
        change("UPDATE event_consumers SET position = 0 WHERE name LIKE 'reaction:%%'")
        react()
        (row,) = rows()
        assert (row["occurrences"], kinds(row)) == (3, ["opened", "repeated", "repeated"])

    def test_repeats_raise_the_severity_and_are_noted_ever_less_often(
        self, ran: Ran, react: React, rows: Rows, kinds: Kinds
    ) -> None:
        ran(fails=ERROR, times=25)
        react()
        (row,) = rows()
        assert (row["occurrences"], row["severity"], row["version"]) == (25, "critical", 1)
        assert kinds(row).count("repeated") == 10, "2 to 10, and 20"
        assert kinds(row).count("severity_raised") == 1

    def test_only_the_root_of_a_plan_has_a_ticket(self, rows: Rows, control: Control) -> None:
        data: dict[str, Any] = {
            "job_id": str(uuid7()),
            "type": "ops.noop",
            "status": "failed",
            "reason_code": "x",
            "error_class": "E",
        }
        with control():
            reactions.on_job_failed(event("operations.job.failed", parent_id=str(uuid7()), **data))
        assert rows() == []

    def test_a_retried_attempt_owes_nobody_anything(self, react: React, rows: Rows, control: Control) -> None:
        job_id = admitted()
        with control():
            finish(claimed(job_id, worker_id=worker()), Ending.FAILED, error=ERROR)
        react()
        assert rows() == []

    def test_what_was_resolved_comes_back_with_its_failure_and_later_as_another_ticket(
        self, ran: Ran, react: React, rows: Rows, asked: Asked, read: Read, kinds: Kinds, ago: Callable[..., None]
    ) -> None:
        ran(fails=ERROR)
        react()
        asked(read(str(rows()[0]["id"])), "resolve")
        ran(fails=ERROR)
        react()
        (row,) = rows()
        assert (row["status"], row["occurrences"], kinds(row)[-1]) == ("open", 2, "reopened")
        asked(asked(read(str(row["id"])), "resolve"), "close")
        ago(row, seconds=7 * 86_400 + 60)
        ran(fails=ERROR)
        react()
        assert [(each["status"], each["occurrences"]) for each in rows()] == [("closed", 2), ("open", 1)]

    def test_a_failure_from_before_the_resolution_opens_nothing_again(
        self, ran: Ran, react: React, rows: Rows, asked: Asked, read: Read
    ) -> None:
        ran(fails=ERROR)
        react()
        ran(fails=ERROR)  # told only after the ticket was resolved
        asked(read(str(rows()[0]["id"])), "resolve")
        react()
        (row,) = rows()
        assert (row["status"], row["occurrences"]) == ("resolved", 2)


class TestTenThousand:
    """Ten thousand failures of one kind make one ticket."""

    TOLD = """
    INSERT INTO events (event_id, sequence, tenant_id, type, subject, data, occurred_at)
    SELECT gen_random_uuid(), (SELECT coalesce(max(sequence), 0) FROM events) + n, 'acme', 'operations.job.failed', %s,
           jsonb_build_object('job_id', %s::text, 'type', 'ops.noop', 'status', 'failed', 'attempt', 1,
                              'reason_code', 'no_rows', 'error_class', 'acme_jobs.NoRowsError'),
           clock_timestamp()
      FROM generate_series(1, 10000 - 1) AS n
    """

    @pytest.mark.timeout(400)  # ten thousand of anything take their time on a machine that plays planes beside it
    def test_ten_thousand_failures_of_one_kind_make_one_ticket(
        self, ran: Ran, react: React, rows: Rows, kinds: Kinds, change: Change
    ) -> None:
        (job_id,) = ran(fails=ERROR)
        react()
        change(self.TOLD, str(job_id), str(job_id))
        react()
        (row,) = rows()
        assert (row["occurrences"], row["severity"], row["version"]) == (10_000, "critical", 1)
        assert len(kinds(row)) < 50
        assert kinds(row)[-1] == "repeated"


class TestOtherTrouble:
    """A spent recovery, an undelivered alert, a migration that stalls."""

    def test_a_recovery_over_its_budget_owes_somebody_a_ticket(self, control: Control, rows: Rows) -> None:
        told: dict[str, Any] = {
            "module": "etl",
            "component": "loader",
            "action": "restart_pool",
            "severity": "critical",
        }
        with control(), transaction.atomic():
            for sequence in (1, 2, 2):
                reactions.on_recovery_exhausted(
                    event("operations.health.recovery_exhausted", tenant=None, sequence=sequence, **told)
                )
        (row,) = rows()
        assert (row["tenant_id"], row["source"], row["module"], row["severity"]) == (
            None,
            "recovery",
            "etl",
            "critical",
        )
        assert (row["occurrences"], row["about"]["action"]) == (2, "restart_pool")

    def test_an_alert_that_reached_nobody_is_ticketed(
        self, control: Control, rows: Rows, look: Look, react: React
    ) -> None:
        told: dict[str, Any] = {
            "notification_id": str(uuid7()),
            "severity": "error",
            "category": "alert",
            "source": "etl",
        }
        with control(), transaction.atomic():
            reactions.on_alert_undelivered(event("operations.alert.undelivered", **told, component=None, by="x"))
        (row,) = rows()
        assert (row["tenant_id"], row["source"], row["issue"]) == ("acme", "alert", "An alert about etl reached nobody")
        links = look("SELECT kind, ref FROM ticket_links WHERE kind = 'notification'")
        assert [each["ref"] for each in links] == [told["notification_id"]]

    def test_each_stalled_migration_has_its_own_ticket(self, control: Control, rows: Rows) -> None:
        with control(), transaction.atomic():
            for n, migration in enumerate(("m1", "m2", "m1"), start=1):
                told = {"migration_id": migration, "name": migration, "version_from": "1", "version_to": "2"}
                stalled = event("operations.migration.stalled", tenant=None, sequence=n, step="fill", **told)
                reactions.on_migration_news(stalled)
        assert [(row["issue"], row["occurrences"]) for row in rows()] == [
            ("m1 1 → 2 makes no progress at fill", 2),
            ("m2 1 → 2 makes no progress at fill", 1),
        ]

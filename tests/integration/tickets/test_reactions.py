"""What the house does about events: failures become tickets, successes resolve them with proof, news are told."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.db import connection, transaction

from apps.core.clock import system_now
from apps.core.ids import uuid7
from apps.events.models import Event
from apps.evidence.heads import Heads
from apps.evidence.verification import verify
from apps.jobs.fingerprint import dedup_key, of_failure
from apps.jobs.lifecycle import Ending
from apps.tenancy.context import in_tenant
from apps.tickets import reactions
from apps.tickets.models import Ticket
from apps.tickets.operations import proof
from tests.integration.conftest import Change, Control, Look
from tests.integration.tickets.conftest import ERROR, TICKETS, Asked, Opened, Ran
from tests.support.api import Module, said
from tests.support.work import admitted, claimed, finish, worker
from workers.reactor import Reactor
from workers.sealer import Sealer

React = Callable[[], None]
Rows = Callable[[], list[dict[str, Any]]]
Kinds = Callable[[Any], list[str]]
Read = Callable[[Any], dict[str, Any]]
pytestmark = pytest.mark.usefixtures("reactor")
OTHER = {**ERROR, "message": "the door is shut"}


def event(kind: str, *, tenant: str | None = "acme", sequence: int = 1, **data: Any) -> Event:
    """Return an event as the reactor hands it over."""
    values: dict[str, Any] = {"sequence": sequence, "tenant_id": tenant, "type": kind, "subject": "s", "data": data}
    return Event(event_id=uuid7(), occurred_at=system_now(), **values)


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


class TestSuccesses:
    """A ticket resolves itself by two successes after the last failure, with the proof attached."""

    def test_the_second_success_resolves_it_with_both_records(
        self, ran: Ran, react: React, rows: Rows, read: Read, kinds: Kinds, look: Look
    ) -> None:
        ran(fails=ERROR)
        react()
        ran()
        react()
        (row,) = rows()
        assert (row["status"], len(row["successes"])) == ("open", 1)
        ran()
        react()
        (row,) = rows()
        assert (row["status"], row["resolution"]) == (
            "resolved",
            "its job type succeeded again, 2 times since the last failure",
        )
        assert kinds(row) == ["opened", "succeeded", "succeeded", "auto_resolved"]
        outcomes = look(
            "SELECT record_id, encode(leaf, 'hex') AS leaf FROM evidence_records WHERE kind = 'job'"
            " AND predicate = 'outcome' ORDER BY created_at"
        )[1:]
        told = [{"record_id": str(each["record_id"]), "leaf": f"sha256:{each['leaf']}"} for each in outcomes]
        whole = read(str(row["id"]))
        assert [{name: each[name] for name in ("record_id", "leaf")} for each in whole["successes"]] == told
        (record,) = look("SELECT * FROM evidence_records WHERE kind = 'ticket'")
        body = json.loads(bytes(record["payload"]))["predicate"]
        assert [each["leaf"] for each in body["successes"]] == [each["leaf"] for each in told]
        assert (body["resolved_by"], body["outcome"], body["occurrences"]) == ("plane", "resolved", 1)
        assert {("evidence", each["record_id"]) for each in told} <= {(r["kind"], r["ref"]) for r in whole["refs"]}

    def test_a_failure_between_begins_the_count_anew(self, ran: Ran, react: React, rows: Rows, kinds: Kinds) -> None:
        for fails in (ERROR, None, ERROR, None):
            ran(fails=fails)
        react()
        (row,) = rows()
        assert (row["status"], row["occurrences"], len(row["successes"])) == ("open", 2, 1)
        ran()
        react()
        assert rows()[0]["status"] == "resolved"

    def test_a_failure_that_is_told_late_is_not_overtaken_by_the_successes_around_it(
        self, ran: Ran, react: React, rows: Rows, reactor: Reactor, control: Control
    ) -> None:
        ran(fails=ERROR)
        react()
        for fails in (None, ERROR, None):
            ran(fails=fails)
        late = [r for r in reactor.reactions.values() if "tickets" in r.path and "operations.job.failed" in r.types]
        for each in late:
            each.not_before = time.monotonic() + 3600
        react()
        for each in late:
            each.not_before = 0.0
        react()
        (row,) = rows()
        assert (row["status"], row["occurrences"], len(row["successes"])) == ("open", 2, 1)

    def test_successes_from_before_the_failure_resolve_nothing_that_somebody_opened_about_it(
        self, ran: Ran, opened: Opened, react: React, rows: Rows
    ) -> None:
        ran(times=2)
        (failed,) = ran(fails=ERROR)
        opened("it hurts", job_id=str(failed))  # before the house heard of any of it
        react()
        (row,) = rows()
        assert (row["status"], row["successes"]) == ("open", [])
        ran(times=2)
        react()
        assert rows()[0]["status"] == "resolved"

    def test_successes_of_another_type_or_tenant_prove_nothing(self, ran: Ran, react: React, rows: Rows) -> None:
        ran(fails=ERROR)
        ran(type="ops.sleep", params={"seconds": 0}, times=2)
        ran(tenant="globex", times=2)
        react()
        (row,) = rows()
        assert (row["status"], row["successes"]) == ("open", [])

    def test_successes_that_are_handed_over_twice_count_once(
        self, ran: Ran, react: React, rows: Rows, kinds: Kinds, change: Change
    ) -> None:
        ran(fails=ERROR)
        ran()
        react()
        change("UPDATE event_consumers SET position = 0 WHERE name LIKE 'reaction:%%'")
        react()
        (row,) = rows()
        assert (row["status"], kinds(row)) == ("open", ["opened", "succeeded"])

    def test_what_a_person_opened_is_not_resolved_by_a_success(
        self, opened: Opened, ran: Ran, react: React, rows: Rows
    ) -> None:
        opened("please look")
        ran(times=3)
        react()
        assert rows()[0]["status"] == "open"


class TestProof:
    """The evidence of a resolution stands in the tenant's log, verifies, and commits to the ticket's log."""

    def test_the_log_verifies_with_tickets_in_it_and_a_changed_record_is_found(
        self, opened: Opened, asked: Asked, control: Control, change: Change, tmp_path: Path
    ) -> None:
        from apps.evidence import keys  # noqa: PLC0415 - beside its use

        ticket = asked(asked(opened(), "comment", text="the truth"), "resolve", resolution="it is gone")
        heads = Heads(tmp_path)
        with control():
            sealer = Sealer(heads=heads)
            while sealer.step() == 0.0:
                pass
            (report,) = verify(ring=keys.ring(), heads=heads)
            assert (report.findings, report.predicates, report.unsealed) == ([], {"outcome": 1}, 0)
        change("UPDATE evidence_records SET subject_id = 'another' WHERE kind = 'ticket'")
        with control():
            (report,) = verify(ring=keys.ring(), heads=heads)
        assert report.findings
        assert ticket["status"] == "resolved"

    def test_a_receipt_of_a_ticket_is_whole_and_is_proven(
        self, opened: Opened, asked: Asked, control: Control, tmp_path: Path
    ) -> None:
        from apps.evidence import keys, receipts  # noqa: PLC0415 - beside its use
        from apps.evidence.logs import Log  # noqa: PLC0415

        ticket = asked(opened(), "resolve")
        with control():
            sealer = Sealer(heads=Heads(tmp_path))
            while sealer.step() == 0.0:
                pass
        with in_tenant("acme"):
            found = receipts.receipt(subject_id=ticket["id"], log=Log("acme", "local"), ring=keys.ring(), kind="ticket")
        assert (found["subject"], found["complete"]) == (f"ticket:{ticket['id']}", True)
        assert [bool(each["proof"]) for each in found["records"]] == [True]

    def test_the_record_commits_to_every_entry_before_it(
        self, opened: Opened, asked: Asked, look: Look, change: Change
    ) -> None:
        ticket = asked(asked(opened(), "comment", text="the truth"), "resolve")
        (record,) = look("SELECT payload FROM evidence_records WHERE kind = 'ticket'")
        said_ = json.loads(bytes(record["payload"]))["predicate"]["log"]
        assert said_["entries"] == 2

        def digest() -> str:
            with in_tenant("acme"):
                return proof.log_digest(Ticket.objects.get(id=UUID(ticket["id"])), entries=2)

        assert digest() == said_["digest"]
        change("ALTER TABLE ticket_entries DISABLE TRIGGER ticket_entries_are_kept")
        change("UPDATE ticket_entries SET data = '{\"text\": \"a lie\"}' WHERE kind = 'commented'")
        change("ALTER TABLE ticket_entries ENABLE TRIGGER ticket_entries_are_kept")
        assert digest() != said_["digest"]


class TestDiff:
    """What was different when it went wrong."""

    def test_the_first_bad_run_is_compared_with_the_last_good_one(
        self, ran: Ran, react: React, rows: Rows, read: Read
    ) -> None:
        ran(type="ops.fail", params={"times": 9})
        (good,) = ran(type="ops.fail", params={"times": 0})
        ran(tenant="acme", type="ops.noop")
        (bad,) = ran(type="ops.fail", params={"times": 2, "permanent": True}, fails=ERROR)
        ran(type="ops.fail", params={"times": 0}, fails=ERROR)
        ran(type="ops.fail", params={"times": 0})
        react()
        (row,) = rows()
        found = read(str(row["id"]))["diff"]
        assert (found["bad"]["job_id"], found["good"]["job_id"]) == (str(bad), str(good))
        changes = {each["field"]: (each["good"], each["bad"]) for each in found["changes"]}
        worker_before, worker_then = changes.pop("worker")
        assert worker_before != worker_then, "each run of these tests has a worker of its own"
        assert changes == {"params.times": (0, 2), "params.permanent": (None, True)}
        assert {"contract", "environment", "policies", "inputs"} <= set(found["same"])

    def test_without_a_good_run_it_says_so(self, ran: Ran, react: React, rows: Rows, read: Read) -> None:
        ran(fails=ERROR)
        ran(tenant="globex")
        react()
        found = read(str(rows()[0]["id"]))["diff"]
        assert (found["good"], found["changes"]) == (None, [])

    def test_a_ticket_of_a_persons_has_none(self, opened: Opened, read: Read) -> None:
        assert read(opened())["diff"] is None


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
                told = {"migration_id": migration}
                reactions.on_migration_stalled(event("operations.migration.stalled", tenant=None, sequence=n, **told))
        assert [(row["issue"], row["occurrences"]) for row in rows()] == [
            ("Migration m1 makes no progress", 2),
            ("Migration m2 makes no progress", 1),
        ]


class TestTelling:
    """Tickets' news are told by notifications, once for each event."""

    def told(self, look: Look, **which: Any) -> list[dict[str, Any]]:
        found = look("SELECT * FROM notifications ORDER BY id")
        return [row for row in found if all(row[name] == value for name, value in which.items())]

    def test_whoever_gets_a_ticket_or_is_spoken_to_is_told(
        self, opened: Opened, asked: Asked, react: React, look: Look, change: Change
    ) -> None:
        change("INSERT INTO ticket_teams (name, title, members) VALUES ('batch', 'Batch', '{grace,bob}')")
        ticket = asked(opened(module="etl"), "assign", assignee="ada", team="batch")
        asked(ticket, "comment", text="@carl look; @team:nobody too")
        react()
        first, second = self.told(look, category="message")
        assert first["audience"] == ["person:ada", "person:grace", "person:bob"]
        assert (first["tenant_id"], first["source"], first["severity"]) == ("acme", "etl", "info")
        assert second["audience"] == ["person:carl", "operators"], "a team that nobody is in is the operators'"
        react()
        assert len(self.told(look)) == 2

    def test_resolving_a_jobs_ticket_resolves_the_alert_of_its_failure(
        self, ran: Ran, react: React, rows: Rows, asked: Asked, read: Read, look: Look, control: Control
    ) -> None:
        from apps.notifications.operations import notify  # noqa: PLC0415 - beside its use

        ran(fails=ERROR)
        react()
        (row,) = rows()
        key = dedup_key(row["fingerprint"])
        told: dict[str, Any] = {
            "severity": "error",
            "category": "alert",
            "source": "ops",
            "summary": "it failed",
            "by": "jobs",
        }
        with control():
            notify(tenant_id="acme", action="trigger", dedup_key=key, **told)
        ticket = asked(read(str(row["id"])), "acknowledge")
        react()
        (alert,) = self.told(look, dedup_key=key)
        assert (alert["resolved"], alert["acknowledged_by"]) == (False, "data-acquisition")
        asked(ticket, "resolve")
        react()
        (alert,) = self.told(look, dedup_key=key)
        assert alert["resolved"]

    def test_news_of_a_ticket_that_cannot_be_told_hold_nobody_up(
        self, opened: Opened, asked: Asked, react: React, look: Look
    ) -> None:
        asked(opened(), "comment", text="@" + "x" * 120 + " and @ok")
        react()
        (row,) = self.told(look)
        assert "person:ok" in row["audience"]


def test_reading_a_ticket_of_a_failure_is_a_handful_of_questions(
    ran: Ran, react: React, rows: Rows, acme: Module
) -> None:
    from django.test.utils import CaptureQueriesContext  # noqa: PLC0415 - beside its use

    ran(times=3)
    ran(fails=ERROR, times=5)
    react()
    with CaptureQueriesContext(connection) as asked:
        said(acme.get(f"{TICKETS}/{rows()[0]['id']}"))
    assert len(asked) < 30


@pytest.mark.parametrize(("command", "status"), [("start", "in_progress"), ("wait", "waiting")])
def test_whoever_begins_with_an_open_ticket_is_who_answers_for_its_alert(
    ran: Ran, react: React, rows: Rows, asked: Asked, read: Read, look: Look, command: str, status: str
) -> None:
    ran(fails=ERROR)
    react()
    begun = asked(read(str(rows()[0]["id"])), command)
    react()
    (alert,) = look("SELECT * FROM notifications WHERE category = 'alert'")
    assert (begun["status"], alert["acknowledged_by"], alert["resolved"]) == (status, "data-acquisition", False)
    asked(asked(begun, "comment", text="soon"), {"start": "wait", "wait": "start"}[command])
    assert len(look("SELECT * FROM events WHERE type = 'operations.ticket.acknowledged'")) == 1


def test_everybody_is_told_however_many_they_are(
    opened: Opened, asked: Asked, react: React, look: Look, change: Change
) -> None:
    crew, readers = [f"crew-{n}" for n in range(10)], [f"reader-{n}" for n in range(12)]
    change("INSERT INTO ticket_teams (name, title, members) VALUES ('batch', 'Batch', %s)", crew)
    ticket = asked(opened(), "assign", team="batch")
    asked(ticket, "comment", text=" ".join(f"@{each}" for each in readers))
    asked(ticket, "resolve")
    react()
    for beginning, people in (("Yours now", crew), ("Resolved", readers)):
        rows = look("SELECT audience FROM notifications WHERE summary LIKE %s", f"{beginning}%")
        assert sorted(each for row in rows for each in row["audience"]) == sorted(f"person:{each}" for each in people)

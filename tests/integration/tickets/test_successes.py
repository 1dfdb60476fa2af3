"""Successes resolve the tickets of failures, with proof that verifies."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from apps.evidence.heads import Heads
from apps.evidence.verification import verify
from apps.tenancy.context import in_tenant
from apps.tickets.models import Ticket
from apps.tickets.operations import proof
from tests.integration.conftest import Change, Control, Look
from tests.integration.tickets.conftest import ERROR, Asked, Opened, Ran
from workers.reactor import Reactor
from workers.sealer import Sealer

React = Callable[[], None]
Rows = Callable[[], list[dict[str, Any]]]
Kinds = Callable[[Any], list[str]]
Read = Callable[[Any], dict[str, Any]]
pytestmark = pytest.mark.usefixtures("reactor")


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

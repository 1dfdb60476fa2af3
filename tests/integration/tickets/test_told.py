"""What a ticket tells: what was different, and to whom what becomes of it is said."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection

from apps.jobs.fingerprint import dedup_key
from tests.integration.conftest import Change, Control, Look
from tests.integration.tickets.conftest import ERROR, TICKETS, Asked, Opened, Ran
from tests.support.api import Module, said

React = Callable[[], None]
Rows = Callable[[], list[dict[str, Any]]]
Kinds = Callable[[Any], list[str]]
Read = Callable[[Any], dict[str, Any]]
pytestmark = pytest.mark.usefixtures("reactor")


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

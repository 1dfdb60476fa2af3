"""Tickets over HTTP: a life, the refusals on its way, lists, and who may ask."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.core.ids import uuid7
from apps.tenancy.context import in_tenant
from apps.tickets import queries
from tests.integration.conftest import Change, Control, Look
from tests.integration.tickets.conftest import ERROR, TICKET, TICKETS, Asked, Opened, Ran
from tests.support.api import Module, fields, refused, said

Read = Callable[[Any], dict[str, Any]]
Kinds = Callable[[Any], list[str]]
BY = "data-acquisition"  # who calls, by the token
COMMANDS = ("acknowledge", "assign", "start", "wait", "comment", "resolve", "close", "reopen", "merge")


def events_of(look: Look, ticket: dict[str, Any]) -> list[str]:
    rows = look("SELECT type FROM events WHERE subject = %s ORDER BY occurred_at, event_id", ticket["id"])
    return [row["type"].removeprefix("operations.ticket.") for row in rows]


class TestALife:
    """From opening to its end, and back."""

    def test_a_ticket_is_opened_taken_worked_on_resolved_and_closed(
        self, opened: Opened, asked: Asked, read: Read, kinds: Kinds, look: Look
    ) -> None:
        ticket = opened("The feed is empty", module="feeds", severity="warning", description="since noon")
        assert (ticket["status"], ticket["version"], ticket["tenant_id"]) == ("open", 1, "acme")
        assert (ticket["module"], ticket["severity"], ticket["opened_by"]) == ("feeds", "warning", BY)
        moves = [
            ("acknowledge", {}, "acknowledged"),
            ("assign", {"assignee": "ada"}, "acknowledged"),
            ("start", {}, "in_progress"),
            ("wait", {"reason": "the supplier answers"}, "waiting"),
            ("start", {}, "in_progress"),
            ("resolve", {"resolution": "the supplier's key was renewed"}, "resolved"),
            ("close", {}, "closed"),
            ("reopen", {"reason": "it was not"}, "open"),
        ]
        for version, (command, body, status) in enumerate(moves, start=2):
            ticket = asked(ticket, command, **body)
            assert (ticket["status"], ticket["version"]) == (status, version), command
        assert (ticket["assignee"], ticket["closed_at"]) == ("ada", None)
        assert kinds(ticket) == [
            "opened", "acknowledged", "assigned", "started", "waiting", "started", "resolved", "closed", "reopened",
        ]  # fmt: skip
        assert events_of(look, ticket) == ["created", "acknowledged", "assigned", "resolved", "closed", "reopened"]
        whole = read(ticket)
        assert {each["by"] for each in whole["log"]} == {BY}
        assert whole["watchers"] == ["ada"]
        assert ("module", "feeds") in [(each["kind"], each["ref"]) for each in whole["refs"]]
        assert whole["log"][4]["data"] == {"reason": "the supplier answers"}

    def test_a_resolution_is_a_record_of_the_evidence_log(
        self, opened: Opened, asked: Asked, acme: Module, look: Look
    ) -> None:
        ticket = asked(opened(), "resolve", resolution="a secret of Jane's was wrong")
        (record,) = look("SELECT * FROM evidence_records WHERE kind = 'ticket'")
        assert (record["tenant_id"], record["subject_id"], record["predicate"]) == ("acme", ticket["id"], "outcome")
        assert str(record["record_id"]) == ticket["evidence"]["ref"]
        assert ticket["evidence"]["state"] == "pending"
        assert "Jane" not in bytes(record["payload"]).decode(), "people's sentences are in it by their digest"
        assert said(acme.get(ticket["links"]["evidence"]))["predicate"] == "outcome"

    def test_a_ticket_that_is_resolved_twice_has_two_records(self, opened: Opened, asked: Asked, look: Look) -> None:
        ticket = asked(asked(opened(), "resolve"), "reopen")
        asked(ticket, "resolve")
        assert len(look("SELECT 1 FROM evidence_records WHERE kind = 'ticket'")) == 2

    def test_a_comment_makes_no_other_version_and_tells_whom_it_speaks_to(
        self, opened: Opened, asked: Asked, read: Read, look: Look
    ) -> None:
        ticket = asked(opened(), "comment", text="@ada, and @team:batch: see a@b.org")
        assert ticket["version"] == 1
        whole = read(ticket)
        assert [each["what"] for each in whole["log"]] == ["opened", "commented", "mentioned", "mentioned"]
        assert whole["watchers"] == ["ada"]
        (event,) = look("SELECT data FROM events WHERE type = 'operations.ticket.mentioned'")
        assert (event["data"]["people"], event["data"]["teams"]) == (["ada"], ["batch"])
        assert "a@b.org" not in str(event["data"])

    def test_a_ticket_is_assigned_to_a_team_that_exists_and_taken_back(
        self, opened: Opened, acme: Module, asked: Asked, change: Change, kinds: Kinds
    ) -> None:
        ticket = opened()
        path = f"{TICKETS}/{ticket['id']}/assign"
        assert fields(refused(acme.post({"version": 1, "team": "nobody"}, path=path), 400, "invalid_fields")) == [
            "team"
        ]
        change("INSERT INTO ticket_teams (name, title, members) VALUES ('batch', 'Batch', '{ada}')")
        ticket = asked(ticket, "assign", team="batch")
        assert (ticket["team"], ticket["assignee"]) == ("batch", None)
        ticket = asked(ticket, "assign")
        assert (ticket["team"], kinds(ticket)) == (None, ["opened", "assigned", "unassigned"])


class TestRefusals:
    """What is refused, by which word, and that nothing is changed by it."""

    def test_a_stale_command_is_told_the_version_there_is(
        self, opened: Opened, asked: Asked, acme: Module, kinds: Kinds
    ) -> None:
        ticket = opened()
        asked(ticket, "acknowledge")
        for command in COMMANDS:
            body = {"version": 1, "text": "?", "into": str(uuid7())}
            known = {"comment": ("version", "text"), "merge": ("version", "into")}.get(command, ("version",))
            answer = acme.post({name: body[name] for name in known}, path=f"{TICKETS}/{ticket['id']}/{command}")
            if command == "merge":  # its target is looked for first, in the order of ids
                assert answer.status_code in {400, 409}
            else:
                assert refused(answer, 409, "changed_meanwhile")["version"] == 2
        assert kinds(ticket) == ["opened", "acknowledged"]

    def test_a_move_that_its_state_forbids_is_refused(self, opened: Opened, asked: Asked, acme: Module) -> None:
        ticket = asked(opened(), "resolve")
        answer = acme.post({"version": 2}, path=f"{TICKETS}/{ticket['id']}/acknowledge")
        assert refused(answer, 409, "illegal_move")["ticket_status"] == "resolved"

    @pytest.mark.parametrize(
        ("body", "bad"),
        [
            ({}, ["issue"]),
            ({"issue": ""}, ["issue"]),
            ({"issue": "x" * 301}, ["issue"]),
            ({"issue": "x", "sverity": "error"}, ["sverity"]),
            ({"issue": "x", "severity": "urgent"}, ["severity"]),
            ({"issue": "x", "assignee": "a b"}, ["assignee"]),
            ({"issue": "x", "team": "nobody"}, ["team"]),
            ({"issue": "x", "job_id": "0198f3a2-7b1c-7d3e-8f4a-5b6c7d8e9f00"}, ["job_id"]),
            ({"issue": "x", "links": [{"kind": "planet", "ref": "mars"}]}, ["links.0.kind"]),
            ({"issue": "x", "links": [{"kind": "job", "ref": "1", "more": 1}]}, ["links.0.more"]),
        ],
    )
    def test_a_bad_field_is_named(self, acme: Module, body: Any, bad: list[str], look: Look) -> None:
        assert fields(refused(acme.post(body, path=TICKET), 400, "invalid_fields")) == bad
        assert look("SELECT 1 FROM tickets") == []

    @pytest.mark.parametrize("command", [each for each in COMMANDS if each != "comment"])
    def test_a_command_without_its_version_is_refused_by_name(self, opened: Opened, acme: Module, command: str) -> None:
        body = {"into": None} if command == "merge" else {}
        answer = acme.post(body, path=f"{TICKETS}/{opened()['id']}/{command}")
        assert fields(refused(answer, 400, "invalid_fields")) == ["version"]

    def test_reading_and_writing_need_their_scopes(self, opened: Opened) -> None:
        ticket = opened()
        reads, writes = Module("acme", scope="tickets:read"), Module("acme", scope="tickets:write")
        assert reads.get(f"{TICKETS}/{ticket['id']}").status_code == 200
        refused(reads.post({"issue": "x"}, path=TICKET), 403, "missing_scope")
        refused(reads.post({"version": 1}, path=f"{TICKETS}/{ticket['id']}/start"), 403, "missing_scope")
        refused(Module("acme", scope="jobs:read").get(TICKETS), 403, "missing_scope")
        assert writes.get(TICKETS).status_code == 200, "who may write them may read them"
        assert writes.post({"version": 1}, path=f"{TICKETS}/{ticket['id']}/start").status_code == 200

    def test_what_was_resolved_more_than_a_week_ago_stays_so(
        self, opened: Opened, asked: Asked, acme: Module, ago: Callable[..., None]
    ) -> None:
        ticket = asked(opened(), "resolve")
        ago(ticket, seconds=7 * 86_400 + 5)
        refused(acme.post({"version": 2}, path=f"{TICKETS}/{ticket['id']}/reopen"), 409, "reopen_window_over")

    def test_a_command_sent_twice_under_one_key_is_done_once(self, opened: Opened, acme: Module, kinds: Kinds) -> None:
        ticket = opened()
        path, key = f"{TICKETS}/{ticket['id']}/acknowledge", {"Idempotency-Key": "k1"}
        first, again = (acme.post({"version": 1}, path=path, **key) for _ in range(2))
        assert (first.status_code, again.status_code, first.content) == (200, 200, again.content)
        assert again["Idempotent-Replayed"] == "true"
        assert kinds(ticket) == ["opened", "acknowledged"]


class TestTheSameAgain:
    """One open ticket about the same thing, by the caller's own key or by a job's failure."""

    def test_a_key_counts_what_is_said_again(self, acme: Module, opened: Opened, rows: Any) -> None:
        first = opened("disk at 91 %", module="store", dedup_key="disk-7")
        again = said(acme.post({"issue": "disk at 97 %", "module": "store", "dedup_key": "disk-7"}, path=TICKET), 200)
        assert (again["id"], again["occurrences"], again["version"]) == (first["id"], 2, 1)
        assert opened("disk at 99 %", module="other", dedup_key="disk-7")["id"] != first["id"], "a key is its module's"
        assert len(rows()) == 2

    def test_without_a_key_everybody_has_a_ticket_of_their_own(self, opened: Opened) -> None:
        assert opened("row 1 is bad")["id"] != opened("row 2 is bad")["id"]

    def test_a_key_of_another_tenant_is_another_one(self, opened: Opened) -> None:
        assert opened(module="m", dedup_key="k")["id"] != opened(module="m", dedup_key="k", tenant="globex")["id"]

    def test_a_person_who_names_a_failed_job_joins_the_ticket_of_its_failure(
        self, acme: Module, ran: Ran, react: Callable[[], None], reactor: Any, rows: Any
    ) -> None:
        (job_id,) = ran(fails=ERROR)
        react()
        answer = said(acme.post({"issue": "my report is missing", "job_id": str(job_id)}, path=TICKET), 200)
        (row,) = rows()
        assert (answer["id"], answer["occurrences"]) == (str(row["id"]), 2)
        assert answer["kind"] == "ops.noop"


class TestLists:
    """Newest first, by cursor, filtered."""

    def test_a_list_goes_by_cursor_and_filters(
        self, acme: Module, opened: Opened, asked: Asked, globex: Module
    ) -> None:
        made = [opened(f"number {n}", module="m1" if n % 2 else "m2", severity="info") for n in range(5)]
        opened("theirs", tenant="globex")
        asked(made[0], "resolve")
        ids = [each["id"] for each in reversed(made)]
        first = said(acme.get(TICKETS, limit=2))
        assert [each["id"] for each in first["items"]] == ids[:2]
        rest = said(acme.get(TICKETS, limit=10, cursor=first["next"]))
        assert ([each["id"] for each in rest["items"]], rest["next"]) == (ids[2:], None)

        def found(**query: Any) -> list[str]:
            return [each["id"] for each in said(acme.get(TICKETS, **query))["items"]]

        assert found(module="m1") == [ids[1], ids[3]]
        assert found(status="resolved") == found(open="false") == [ids[4]]
        assert found(open="true") == ids[:4]
        assert found(severity="critical") == found(source="job") == found(assignee="ada") == []
        assert fields(refused(acme.get(TICKETS, status="done"), 400, "invalid_fields")) == ["status"]
        assert fields(refused(acme.get(TICKETS, colour="red"), 400, "invalid_fields")) == ["colour"]
        assert [each["issue"] for each in said(globex.get(TICKETS))["items"]] == ["theirs"]

    def test_the_tickets_of_a_job_are_found_by_it(
        self, acme: Module, ran: Ran, react: Callable[[], None], reactor: Any, rows: Any
    ) -> None:
        jobs = ran(fails=ERROR, times=3)
        react()
        (row,) = rows()
        for each in jobs:
            assert [t["id"] for t in said(acme.get(TICKETS, job_id=str(each)))["items"]] == [str(row["id"])]
        assert said(acme.get(TICKETS, job_id=str(uuid7())))["items"] == []


class TestThePlatformsOwn:
    """Tickets that are no tenant's: a platform module's to open and read, nobody else's."""

    def test_a_platform_module_opens_and_works_on_one(
        self, platform: Module, acme: Module, look: Look, control: Control
    ) -> None:
        ticket = said(platform.post({"issue": "the plane hurts", "module": "scheduler"}, path=TICKET), 201)
        assert ticket["tenant_id"] is None
        path = f"{TICKETS}/{ticket['id']}"
        assert said(platform.post({"version": 1}, path=f"{path}/acknowledge"))["status"] == "acknowledged"
        done = said(platform.post({"version": 2, "resolution": "restarted"}, path=f"{path}/resolve"))
        assert (done["status"], done["evidence"]) == ("resolved", None)
        assert {row["tenant_id"] for row in look("SELECT tenant_id FROM ticket_entries")} == {None}
        assert said(platform.get(path))["log"][-1]["what"] == "resolved"
        refused(acme.get(path), 404, "not_found")
        refused(acme.post({"version": 3}, path=f"{path}/close"), 404, "not_found")
        assert said(acme.get(TICKETS))["items"] == []
        answer = platform.post({"version": 3}, path=f"{path}/close", **{"Idempotency-Key": "k"})
        refused(answer, 400, "invalid_idempotency_key")

    def test_a_platform_module_acts_for_a_tenant_in_that_tenants_own_context(
        self, platform: Module, opened: Opened, look: Look
    ) -> None:
        ticket = opened()
        done = said(platform.post({"version": 1}, path=f"{TICKETS}/{ticket['id']}/resolve"))
        assert (done["tenant_id"], done["evidence"]["state"]) == ("acme", "pending")
        named = said(platform.post({"issue": "x", "tenant_id": "globex"}, path=TICKET), 201)
        assert named["tenant_id"] == "globex"
        refused(platform.post({"issue": "x", "tenant_id": "nobody"}, path=TICKET), 404, "not_found")


def test_the_open_tickets_of_a_tenant_that_had_very_many_are_found_by_an_index_of_their_own(
    opened: Opened, change: Change
) -> None:
    opened("the open one")
    change(
        "INSERT INTO tickets (id, tenant_id, module, issue, description, about, source, kind, status, severity,"
        " version, occurrences, successes, opened_by, closed_at, promise, chain)"
        " SELECT gen_random_uuid(), 'acme', 'etl', 'old', '', '{}', 'module', '', 'closed', 'error', 1, 1, '[]', 'x',"
        " now(), '{}', '{}' FROM generate_series(1, 5000)"
    )
    change("ANALYZE tickets")
    with in_tenant("acme"), connection.cursor() as cursor:
        with CaptureQueriesContext(connection) as made:
            rows = queries.page(queries.Filters(tenant_id="acme", open=True), limit=8)
        cursor.execute("EXPLAIN " + made[-1]["sql"])
        plan = " ".join(line for (line,) in cursor.fetchall())
    assert [row.issue for row in rows] == ["the open one"]
    assert "tickets_tenant_open" in plan, plan

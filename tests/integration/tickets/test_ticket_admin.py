"""Admin pages of tickets: operators see each with its story, act on it as the API does, and configure the desk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from apps.tenancy.context import operator_reading
from tests.integration.conftest import Change, Look
from tests.integration.tickets.conftest import ERROR, TICKET, Asked, Opened, Ran
from tests.support.api import Module, client, said

ADMIN = "/admin/tickets"
Kinds = Callable[[Any], list[str]]


@pytest.fixture
def operator(db: None) -> Client:
    """A browser in which an operator has signed in."""
    browser = client(headers={"Accept": "text/html"})
    with operator_reading():
        browser.force_login(get_user_model().objects.create_superuser("olga"))
    return browser


def page(operator: Client, path: str) -> str:
    answer = operator.get(path)
    assert answer.status_code == 200, (path, answer.status_code)
    return str(answer.content.decode())


def post(operator: Client, ticket: dict[str, Any], command: str, **more: str) -> str:
    """Post a command of a ticket's page; return the page that follows."""
    body = {"version": str(ticket["version"]), "command": command, **more}
    answer = operator.post(f"{ADMIN}/ticket/{ticket['id']}/act/", body, follow=True)
    assert answer.status_code == 200
    return str(answer.content.decode())


def test_pages_show_a_ticket_with_its_story_and_everything_beside_it(
    operator: Client, ran: Ran, react: Callable[[], None], reactor: Any, change: Change, look: Look
) -> None:
    change("INSERT INTO sla_policies (name, position, response_s, ack_timeout_s) VALUES ('gold', 1, 600, 300)")
    ran(type="ops.fail", params={"times": 0})
    (job_id,) = ran(type="ops.fail", params={"times": 2}, fails=ERROR)
    react()
    (row,) = look("SELECT id FROM tickets")
    shown = page(operator, f"{ADMIN}/ticket/{row['id']}/change/")
    words = ["NoRowsError", "params.times", str(job_id), "response", "10 min", "opened", "acknowledge", "acme"]
    assert [word for word in words if word not in shown] == []
    lists = {
        "ticket": "no rows in partition 17",
        "entry": "opened",
        "link": str(job_id),
        "watcher": "Watchers",
        "slapolicy": "gold",
        "team": "Teams",
        "escalationchain": "chains",
        "businesscalendar": "calendar",
    }
    for name, word in lists.items():
        assert word in page(operator, f"{ADMIN}/{name}/"), name
    assert str(row["id"]) in page(operator, f"{ADMIN}/ticket/?q={row['id']}")
    entry = look("SELECT id FROM ticket_entries")[0]["id"]
    assert "source" in page(operator, f"{ADMIN}/entry/{entry}/change/")


def test_an_operator_acts_on_a_tenants_ticket_in_that_tenants_context(
    operator: Client, opened: Opened, asked: Asked, kinds: Kinds, look: Look, change: Change
) -> None:
    change("INSERT INTO ticket_teams (name, title, members) VALUES ('batch', 'Batch', '{}')")
    ticket, main = opened(), opened("the other")
    assert "Done." in post(operator, ticket, "acknowledge")
    assert "Done." in post(operator, {**ticket, "version": 2}, "assign", assignee="ada", team="batch")
    assert "Done." in post(operator, ticket, "comment", text="I look")
    assert "Done." in post(operator, ticket, "watch")
    assert "Done." in post(operator, {**ticket, "version": 3}, "merge", into=main["id"])
    assert "Done." in post(operator, {**ticket, "version": 4}, "unmerge")
    assert "Done." in post(operator, {**ticket, "version": 5}, "resolve", text="it was the cable")
    assert kinds(ticket) == [
        "opened", "acknowledged", "assigned", "commented", "watched", "merged", "unmerged", "resolved",
    ]  # fmt: skip
    (record,) = look("SELECT tenant_id FROM evidence_records WHERE kind = 'ticket'")
    assert record["tenant_id"] == "acme"
    assert {row["by"] for row in look("SELECT by FROM ticket_entries WHERE kind <> 'opened'")} == {"olga"}
    assert [row["tenant_id"] for row in look("SELECT DISTINCT tenant_id FROM ticket_entries")] == ["acme"]


def test_what_is_refused_is_said_and_changes_nothing(operator: Client, opened: Opened, kinds: Kinds) -> None:
    ticket = opened()
    post(operator, ticket, "acknowledge")
    assert "the ticket is at version 2 by now" in post(operator, ticket, "start")
    assert "cannot be asked to" in post(operator, {**ticket, "version": 2}, "close")
    for command, more in (("explode", {}), ("merge", {"into": "nowhere"}), ("assign", {"team": "nobody"})):
        assert "Not done" in post(operator, {**ticket, "version": 2}, command, **more)
    assert kinds(ticket) == ["opened", "acknowledged"]


@pytest.mark.parametrize(
    ("command", "more"),
    [
        ("comment", {"text": "a\x00b"}),
        ("resolve", {"text": "\x00"}),
        ("comment", {"text": "  "}),
        ("assign", {"assignee": "a" * 129}),
        ("assign", {"assignee": "<ada>"}),
        ("assign", {"team": "\x00"}),
        ("merge", {"into": "\x00"}),
    ],
)
def test_what_cannot_be_is_refused_in_words(
    operator: Client, opened: Opened, kinds: Kinds, command: str, more: dict[str, str]
) -> None:
    ticket = opened()
    assert "Not done" in post(operator, ticket, command, **more)
    assert kinds(ticket) == ["opened"]


def test_who_comments_by_name_hears_of_the_resolution(operator: Client, opened: Opened, look: Look) -> None:
    ticket = opened()
    post(operator, ticket, "comment", text="I look")
    post(operator, ticket, "comment", text="and look")
    assert [row["person"] for row in look("SELECT person FROM ticket_watchers")] == ["olga"]


def test_what_people_wrote_is_text_on_the_page(operator: Client, opened: Opened, asked: Asked) -> None:
    ticket = opened("<script>alert(1)</script>", description="<img src=x onerror=alert(2)>")
    asked(ticket, "comment", text="<svg onload=alert(3)> [x](javascript:alert(4)) @nobody-there @team:none")
    shown = page(operator, f"{ADMIN}/ticket/{ticket['id']}/change/")
    assert [raw for raw in ("<script>alert(1)", "<img src=x", "<svg onload=") if raw in shown] == []
    assert "&lt;svg onload=alert(3)&gt;" in shown


def test_a_page_bears_what_a_caller_calls_a_job(operator: Client, opened: Opened) -> None:
    refs = ["no\nid", "../../logout", "%00", "<b>"]
    ticket = opened(links=[{"kind": "job", "ref": ref} for ref in refs])
    shown = page(operator, f"{ADMIN}/ticket/{ticket['id']}/change/")
    assert "logout/change" not in shown
    assert "&lt;b&gt;" in shown


def test_commands_are_posted_by_who_may(operator: Client, opened: Opened, kinds: Kinds) -> None:
    ticket = opened()
    path = f"{ADMIN}/ticket/{ticket['id']}/act/"
    assert operator.get(path).status_code == 405
    reader = client(headers={"Accept": "text/html"})
    with operator_reading():
        reader.force_login(get_user_model().objects.create_user("rita", is_staff=True))
    assert reader.post(path, {"version": "1", "command": "acknowledge"}).status_code == 403
    stranger = client(headers={"Accept": "text/html"})
    assert stranger.post(path, {"version": "1", "command": "acknowledge"}).status_code == 302
    assert kinds(ticket) == ["opened"]


def test_an_operator_acts_on_what_is_the_platforms(operator: Client, platform: Module, kinds: Kinds) -> None:
    ticket = said(platform.post({"issue": "the plane hurts"}, path=TICKET), 201)
    assert "the platform" in page(operator, f"{ADMIN}/ticket/{ticket['id']}/change/")
    assert "Done." in post(operator, ticket, "acknowledge")
    assert "Done." in post(operator, {**ticket, "version": 2}, "resolve", text="restarted")
    assert kinds(ticket) == ["opened", "acknowledged", "resolved"]


class TestTheDesk:
    """What people decide about tickets, and what they cannot."""

    @pytest.fixture(autouse=True)
    def restored(self, change: Change) -> None:
        """Configuration is as before when the test is over."""

    def errors(self, answer: Any) -> str:
        assert answer.status_code == 200
        return " ".join(str(error) for found in answer.context["errors"] for error in found)

    def test_teams_chains_calendars_and_policies_are_made_and_changed(self, operator: Client, look: Look) -> None:
        made = {
            "team": {"name": "batch", "title": "Batch", "members": "ada, grace"},
            "escalationchain": {
                "name": "quick", "rounds": "2", "steps": '[{"after_s": 60, "tell": ["team:batch"]}]',
            },
            "businesscalendar": {
                "name": "office", "time_zone": "Europe/Berlin", "hours": '{"mon": [["09:00", "17:00"]]}',
                "holidays": "2026-12-25",
            },
            "slapolicy": {
                "name": "gold", "position": "1", "tenant": "acme", "module": "etl", "severity": "", "response_s": "600",
                "resolution_s": "", "ack_timeout_s": "300", "calendar": "office", "chain": "quick",
            },
        }  # fmt: skip
        for name, body in made.items():
            answer = operator.post(f"{ADMIN}/{name}/add/", body)
            assert answer.status_code == 302, (name, self.errors(answer))
        (policy,) = look("SELECT * FROM sla_policies")
        assert (policy["tenant_id"], policy["severity"], policy["chain_id"]) == ("acme", None, "quick")
        assert look("SELECT members FROM ticket_teams") == [{"members": ["ada", "grace"]}]
        changed = operator.post(f"{ADMIN}/team/batch/change/", {"title": "Night", "members": ""})
        assert changed.status_code == 302
        assert look("SELECT title, members FROM ticket_teams") == [{"title": "Night", "members": []}]
        assert operator.post(f"{ADMIN}/slapolicy/gold/delete/", {"post": "yes"}).status_code == 302
        assert look("SELECT 1 FROM sla_policies") == []

    @pytest.mark.parametrize(
        ("name", "body", "says"),
        [
            ("escalationchain", {"name": "c", "rounds": "1", "steps": '[{"after_s": 1}]'}, "steps"),
            ("escalationchain", {"name": "c", "rounds": "9", "steps": "[]"}, "rounds"),
            (
                "businesscalendar",
                {"name": "c", "time_zone": "Mars", "hours": '{"mon": [["09:00", "17:00"]]}'},
                "Berlin",
            ),
            ("businesscalendar", {"name": "c", "time_zone": "UTC", "hours": '{"mon": [["17:00", "09:00"]]}'}, "spans"),
        ],
    )
    def test_what_cannot_be_is_refused_with_what_would_be_right(
        self, operator: Client, name: str, body: dict[str, str], says: str
    ) -> None:
        assert says in self.errors(operator.post(f"{ADMIN}/{name}/add/", body))

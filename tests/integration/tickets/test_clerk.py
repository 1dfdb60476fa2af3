"""What time alone does to tickets in the database: written once, told once, and the same for a clerk who was away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from apps.core import metrics
from apps.tenancy.context import across_tenants
from tests.integration.conftest import Change, Control, Look
from tests.integration.tickets.conftest import TICKETS, Asked, Opened
from tests.integration.tickets.test_races import at_once
from tests.support.api import Module, said
from workers.clerk import Clerk

Kinds = Callable[[Any], list[str]]
Read = Callable[[Any], dict[str, Any]]
Ago = Callable[..., None]
Clerks = Callable[[], None]

CHAIN = """
INSERT INTO escalation_chains (name, steps, rounds)
VALUES ('quick', '[{"after_s": 60, "tell": ["person:ada"]}, {"after_s": 60, "tell": ["operators"]}]', 1)
"""
CALENDAR = """
INSERT INTO business_calendars (name, time_zone, hours, holidays)
VALUES ('never-now', 'UTC', '{"mon": [["00:00", "00:01"]]}', '{}')
"""
POLICY = """
INSERT INTO sla_policies (name, position, module, response_s, resolution_s, ack_timeout_s, chain_id, calendar_id)
VALUES ('gold', 1, 'etl', 600, 3600, 300, 'quick', %s)
"""


@pytest.fixture
def promised(change: Change) -> None:
    """Promise something about tickets of the module etl."""
    change(CHAIN)
    change(POLICY, None)


def escalations(look: Look) -> list[tuple[Any, ...]]:
    rows = look("SELECT data FROM events WHERE type = 'operations.ticket.escalated' ORDER BY occurred_at, event_id")
    return [(row["data"]["reason"], row["data"].get("step"), row["data"]["tells"]) for row in rows]


def test_a_ticket_that_nobody_takes_goes_along_its_chain(
    promised: None, opened: Opened, clerk: Clerks, ago: Ago, kinds: Kinds, look: Look
) -> None:
    ticket = opened(module="etl")
    clerk()
    assert kinds(ticket) == ["opened"]
    for _ in range(4):
        ago(ticket, seconds=61)
        clerk()
        clerk()
    assert kinds(ticket) == ["opened", "escalated", "escalated", "escalation_ended"]
    assert escalations(look) == [("unacknowledged", 1, ["person:ada"]), ("unacknowledged", 2, ["operators"])]


def test_an_acknowledged_ticket_is_open_again_when_nothing_follows(
    promised: None, opened: Opened, asked: Asked, clerk: Clerks, ago: Ago, read: Read, acme: Module, kinds: Kinds
) -> None:
    ticket = asked(opened(module="etl"), "acknowledge")
    clerk()
    ago(ticket, seconds=301)
    clerk()
    again = read(ticket)
    assert (again["status"], again["version"]) == ("open", 3)
    stale = acme.post({"version": 2}, path=f"{TICKETS}/{ticket['id']}/start")
    assert stale.status_code == 409, "who acknowledged must see that it expired"
    assert "ack_expired" in kinds(ticket)


def test_a_promise_that_is_broken_is_noted_and_told_once(
    promised: None, opened: Opened, asked: Asked, clerk: Clerks, ago: Ago, read: Read, look: Look, react: Any
) -> None:
    ticket = asked(opened(module="etl"), "assign", assignee="ada")
    ago(ticket, seconds=601)
    clerk()
    clerk()
    found = {each["goal"]: each for each in read(ticket)["sla"]}
    assert (found["response"]["breached"], found["resolution"]["breached"]) == (True, False)
    assert (found["response"]["goal_s"], read(ticket)["promise"]) == (600, "gold")
    told = look("SELECT data FROM events WHERE type = 'operations.ticket.sla_breached'")
    assert [row["data"]["goal"] for row in told] == ["response"]
    react()
    (alert,) = look("SELECT * FROM notifications WHERE dedup_key LIKE '%%:sla:response'")
    assert ("person:ada" in alert["audience"], alert["resolved"]) == (True, False)
    asked(read(ticket), "resolve")
    react()
    (alert,) = look("SELECT * FROM notifications WHERE dedup_key LIKE '%%:sla:response'")
    assert alert["resolved"]


def test_what_was_promised_in_office_hours_is_not_broken_at_night(
    opened: Opened, clerk: Clerks, ago: Ago, read: Read, change: Change, kinds: Kinds
) -> None:
    change(CHAIN)
    change(CALENDAR)
    change(POLICY, "never-now")
    ticket = opened(module="etl")
    ago(ticket, seconds=3 * 3600)
    clerk()
    assert "response_breached" not in kinds(ticket)
    assert max(each["elapsed_s"] for each in read(ticket)["sla"]) <= 60


def test_a_policy_that_is_changed_changes_no_ticket_that_is_there(
    promised: None, opened: Opened, read: Read, change: Change
) -> None:
    ticket = opened(module="etl")
    change("UPDATE sla_policies SET response_s = 1, name = 'harsh'")
    change("DELETE FROM sla_policies")
    assert {each["goal_s"] for each in read(ticket)["sla"]} == {600, 3600}


def test_a_policy_is_the_first_that_fits(opened: Opened, read: Read, change: Change) -> None:
    for name, position, tenant, module, severity in (
        ("all", 50, None, None, None),
        ("globex", 1, "globex", None, None),
        ("critical", 2, None, None, "critical"),
        ("etl", 3, "acme", "etl", None),
    ):
        change(
            "INSERT INTO sla_policies (name, position, tenant_id, module, severity, ack_timeout_s)"
            " VALUES (%s, %s, %s, %s, %s, 0)",
            name, position, tenant, module, severity,
        )  # fmt: skip
    assert read(opened(module="x"))["promise"] == "all"
    assert read(opened(module="etl"))["promise"] == "etl"
    assert read(opened(module="etl", severity="critical"))["promise"] == "critical"


def test_what_is_resolved_closes_by_itself(opened: Opened, asked: Asked, clerk: Clerks, ago: Ago, read: Read) -> None:
    ticket = asked(opened(), "resolve")
    ago(ticket, seconds=3 * 86_400 - 60)
    clerk()
    assert read(ticket)["status"] == "resolved"
    ago(ticket, seconds=120)
    clerk()
    whole = read(ticket)
    assert (whole["status"], whole["log"][-1]["what"], whole["log"][-1]["by"]) == ("closed", "auto_closed", "plane")


def test_repeats_escalate_at_once_whoever_has_the_ticket(
    opened: Opened, acme: Module, asked: Asked, clerk: Clerks, look: Look
) -> None:
    ticket = asked(opened(module="m", dedup_key="k"), "acknowledge")
    for _ in range(9):
        said(acme.post({"issue": "again", "module": "m", "dedup_key": "k"}, path="/operations/ticket"))
    clerk()
    clerk()
    assert escalations(look) == [("repeats", None, ["operators"])]
    assert said(acme.get(f"{TICKETS}/{ticket['id']}"))["severity"] == "critical"


def test_an_escalation_is_an_alert_until_somebody_takes_the_ticket(
    promised: None,
    opened: Opened,
    asked: Asked,
    clerk: Clerks,
    ago: Ago,
    react: Any,
    look: Look,
    read: Read,
    reactor: Any,
) -> None:
    ticket = opened(module="etl")
    ago(ticket, seconds=61)
    clerk()
    react()
    (alert,) = look("SELECT * FROM notifications WHERE dedup_key LIKE '%%:escalation:1'")
    assert (alert["audience"], alert["category"], alert["acknowledged_at"]) == (["person:ada"], "alert", None)
    asked(read(ticket), "acknowledge")
    react()
    (alert,) = look("SELECT * FROM notifications WHERE dedup_key LIKE '%%:escalation:1'")
    assert alert["acknowledged_by"] == "data-acquisition"


def test_a_clerk_without_work_rests_and_counts_what_is_open(
    opened: Opened, asked: Asked, control: Control, clerk: Clerks
) -> None:
    gone, _stays = opened(module="m-gone"), opened(module="m-stays")
    counting = Clerk()

    def counted() -> dict[str, float]:
        with control():
            counting._count_at = 0.0
            while counting.step() < 0.05:
                pass
        families = text_string_to_metric_families(metrics.exposition().decode())
        (family,) = [each for each in families if each.name == "operations_tickets_open_total"]
        return {each.labels["module"]: each.value for each in family.samples if each.labels["module"].startswith("m-")}

    assert counted() == {"m-gone": 1, "m-stays": 1}
    asked(gone, "resolve")
    assert counted() == {"m-gone": 0, "m-stays": 1}


def test_two_clerks_write_each_thing_once(
    opened: Opened, control: Control, ago: Ago, kinds: Kinds, promised: None
) -> None:

    tickets = [opened(module="etl") for _ in range(5)]
    for each in tickets:
        ago(each, seconds=61)

    def look_once() -> None:
        with across_tenants():
            for _ in range(5):
                Clerk().step()

    with control():
        at_once(look_once, look_once, look_once)
    assert [kinds(each) for each in tickets] == [["opened", "escalated"]] * 5

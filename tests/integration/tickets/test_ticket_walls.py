"""Tickets behind both walls, and a log that nobody changes."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from apps.tenancy.context import NoTenantContextError, in_tenant, operator_reading
from apps.tickets.models import Entry, Link, SlaPolicy, Ticket, Watcher
from tests.integration.conftest import Change, Control, Look
from tests.integration.tickets.conftest import TICKET, Opened
from tests.support.api import Module, said
from tests.support.walls import ask_nothing, refused, tenants_in

MODELS = [Ticket, Entry, Link, Watcher]
TABLES = [model._meta.db_table for model in MODELS]


@pytest.fixture(autouse=True)
def two_tenants_and_the_platform(opened: Opened, platform: Module, change: Change) -> None:
    """Leave a ticket with everything in each of two tenants, and one of the platform's own."""
    for tenant in ("acme", "globex"):
        opened(tenant=tenant, assignee="ada")
    said(platform.post({"issue": "ours", "assignee": "ada"}, path=TICKET), 201)
    change("INSERT INTO sla_policies (name, position, tenant_id, ack_timeout_s) VALUES ('a', 1, 'acme', 0)")
    change("INSERT INTO sla_policies (name, position, tenant_id, ack_timeout_s) VALUES ('e', 2, NULL, 0)")


@pytest.mark.parametrize("model", MODELS, ids=TABLES)
def test_a_manager_answers_inside_one_tenants_context_alone(model: Any) -> None:
    with pytest.raises(NoTenantContextError):
        model.objects.count()
    for tenant in ("acme", "globex"):
        with in_tenant(tenant):
            assert {row.tenant_id for row in model.objects.all()} == {tenant}


@pytest.mark.parametrize("table", TABLES)
def test_raw_sql_finds_one_tenants_rows_alone_and_never_the_platforms(table: str) -> None:
    assert tenants_in(table) == []
    for tenant in ("acme", "globex", "sandbox"):
        with in_tenant(tenant):
            assert tenants_in(table) == ([] if tenant == "sandbox" else [tenant])


def test_a_policy_is_seen_by_whom_it_is_for() -> None:
    for tenant, seen in (("acme", ["a", "e"]), ("globex", ["e"])):
        with in_tenant(tenant):
            assert [row.name for row in SlaPolicy.every.order_by("name")] == seen
            with refused():
                ask_nothing("UPDATE sla_policies SET position = 0")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE tickets SET status = 'resolved', resolved_at = now() WHERE tenant_id = 'globex'",
        "UPDATE tickets SET status = 'resolved', resolved_at = now() WHERE tenant_id IS NULL",
        "DELETE FROM ticket_watchers WHERE tenant_id = 'globex' OR tenant_id IS NULL",
    ],
)
def test_raw_sql_changes_nothing_of_anothers(statement: str, look: Look) -> None:
    before = [look(f"SELECT * FROM {table} ORDER BY 1") for table in TABLES]
    with in_tenant("acme"):
        assert ask_nothing(statement) == 0
        for tenant in ("'globex'", "NULL"):
            with refused("row-level security"):
                ask_nothing(f"UPDATE tickets SET tenant_id = {tenant}")
    assert [look(f"SELECT * FROM {table} ORDER BY 1") for table in TABLES] == before


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ticket_entries SET data = '{}'",
        "DELETE FROM ticket_entries",
        "TRUNCATE ticket_entries",
        "DELETE FROM tickets",
        "UPDATE ticket_links SET ref = 'x'",
        "DELETE FROM ticket_links",
    ],
)
def test_no_role_changes_what_was_said(statement: str, control: Control) -> None:
    with in_tenant("acme"), refused():
        ask_nothing(statement)
    with operator_reading(), refused():
        ask_nothing(statement)
    with control(), refused():
        ask_nothing(statement)


@pytest.mark.parametrize("statement", ["UPDATE ticket_entries SET data = '{}'", "DELETE FROM ticket_entries"])
def test_not_even_whoever_owns_the_tables_does(statement: str, superuser: psycopg.Connection) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="never changed"):
        superuser.execute(statement.encode())


def test_people_read_all_and_write_the_platforms_alone(look: Look) -> None:
    with operator_reading():
        for table in TABLES:
            assert tenants_in(table) == ["acme", "globex", None]
        assert ask_nothing("UPDATE tickets SET severity = 'info' WHERE tenant_id IS NOT NULL") == 0
        assert ask_nothing("UPDATE tickets SET severity = 'info'") == 1
        with refused("row-level security"):
            ask_nothing("UPDATE tickets SET tenant_id = 'acme'")
    assert look("SELECT count(*) AS n FROM tickets WHERE severity = 'info'")[0]["n"] == 1

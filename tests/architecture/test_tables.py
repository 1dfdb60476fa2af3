"""The second wall stands around every table that holds a tenant's rows, and the rights are those of the one page."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import psycopg
import pytest

from apps.tenancy.rls import TENANT
from opsplatform import roles
from tests.support.work import admitted

pytestmark = pytest.mark.usefixtures("db")

# Some of their rows are the whole platform's: those have no tenant.
PLATFORMS_TOO = {"pauses", "health_status", "health_flips", "health_windows", "recovery_receipts", "sla_policies"}
# And of these people write the platform's own, which is read by nobody else.
PEOPLES = {"tickets", "ticket_entries", "ticket_watchers", "ticket_links"}
APPEND_ONLY = ["evidence_records", "evidence_nodes", "evidence_checkpoints", "evidence_emissions", "events"]
APPEND_ONLY += ["ticket_entries", "ticket_links", "evidence_series_members"]
RIGHTS = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER")
TABLES = "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'public'"
TENANT_TABLES = (
    TABLES + " AND c.relkind IN ('r', 'p') AND EXISTS (SELECT 1 FROM pg_attribute a"
    " WHERE a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped)"
)


def names(superuser: psycopg.Connection, query: str) -> set[str]:
    """Return the names that a query finds."""
    return {row[0] for row in superuser.execute(query.encode())}


def test_tenants_own_the_tables_that_the_page_says(superuser: psycopg.Connection) -> None:
    assert names(superuser, TENANT_TABLES) == set(roles.TENANT_OWNED) | {"tenants", "subscriptions", "memberships"}


def test_every_tenant_table_forces_row_security(superuser: psycopg.Connection) -> None:
    forced = names(superuser, TABLES + " AND c.relrowsecurity AND c.relforcerowsecurity")
    assert names(superuser, TENANT_TABLES) <= forced


def test_every_tenant_table_has_the_three_policies(superuser: psycopg.Connection) -> None:
    rows = superuser.execute(
        "SELECT tablename, policyname, roles::text[], cmd, permissive FROM pg_policies WHERE schemaname = 'public'"
    ).fetchall()
    policies = {(table, name): (who, permissive) for table, name, who, _, permissive in rows}
    for table in names(superuser, TENANT_TABLES):
        assert policies.pop((table, "tenant")) == (["ops_app"], "PERMISSIVE")
        assert policies.pop((table, "control")) == (["ops_control"], "PERMISSIVE")
        assert policies.pop((table, "operator")) == (["ops_operator"], "PERMISSIVE")
    assert {table for table, name in policies if name == "everybodys"} == PLATFORMS_TOO, "read by all"
    assert {table for table, name in policies if name == "platforms"} == PEOPLES
    assert {name for _, name in policies} == {"everybodys", "platforms"}
    assert {cmd for _, name, _, cmd, _ in rows if name == "everybodys"} == {"SELECT"}
    assert {tuple(who) for _, name, who, _, _ in rows if name == "platforms"} == {("ops_operator",)}


def test_the_tenant_policy_has_the_form_that_keeps_the_index(superuser: psycopg.Connection) -> None:
    rows = superuser.execute(
        "SELECT tablename, qual, with_check FROM pg_policies WHERE policyname = 'tenant'"
    ).fetchall()
    assert rows
    for table, qual, with_check in rows:
        for condition in (qual, with_check):
            plain = "".join(condition.lower().split())
            assert "nullif((selectcurrent_setting('ops.tenant'::text,true)" in plain, table
            assert "case" not in plain, table
    assert "select current_setting" in TENANT


def test_every_table_is_on_the_page(superuser: psycopg.Connection) -> None:
    granted = {table for _, _, tables in roles.GRANTS for table in tables}
    assert names(superuser, TABLES + " AND c.relkind IN ('r', 'p', 'v')") == granted


@pytest.mark.parametrize("role", ["ops_app", "ops_control", "ops_operator"])
def test_a_role_may_do_what_the_page_says_and_nothing_else(superuser: psycopg.Connection, role: str) -> None:
    wanted: set[tuple[str, str]] = set()
    for grantee, rights, tables in roles.GRANTS:
        whole = [right.strip() for right in rights.split(",") if "(" not in right]
        wanted |= {(table, right) for table in tables for right in whole if grantee == role and right in RIGHTS}
    rows = superuser.execute(
        f"SELECT t.relname, r FROM ({TABLES} AND c.relkind IN ('r', 'p', 'v')) AS t, unnest(%s::text[]) AS r"
        " WHERE has_table_privilege(%s, quote_ident(t.relname), r)".encode(),
        [list(RIGHTS), role],
    ).fetchall()
    assert {(table, right) for table, right in rows} == wanted


@pytest.mark.parametrize("role", roles.ROLES)
def test_no_role_can_log_in_or_pass_the_wall(superuser: psycopg.Connection, role: str) -> None:
    row = superuser.execute(
        "SELECT rolcanlogin, rolsuper, rolbypassrls, rolcreaterole, rolcreatedb FROM pg_roles WHERE rolname = %s",
        [role],
    ).fetchone()
    assert row == (False, False, False, False, False)


def test_evidence_and_events_are_append_only_for_everybody(superuser: psycopg.Connection) -> None:
    rows = superuser.execute(
        "SELECT role, t, r FROM unnest(%s::text[]) AS role, unnest(%s::text[]) AS t, unnest(%s::text[]) AS r"
        " WHERE has_table_privilege(role, t, r)",
        [["ops_app", "ops_control", "ops_operator"], APPEND_ONLY, ["UPDATE", "DELETE", "TRUNCATE"]],
    ).fetchall()
    assert rows == []


def test_the_control_role_cannot_change_the_bytes_of_a_record(
    in_role: Callable[[str], AbstractContextManager[None]],
) -> None:
    from django.db import ProgrammingError, connection  # noqa: PLC0415 - after the role is chosen

    admitted()
    for change in ("payload = ''::bytea", "salt = ''::bytea", "payload = NULL", "leaf = ''::bytea", "fence = 7"):
        with (
            in_role("control"),
            connection.cursor() as cursor,
            pytest.raises(ProgrammingError, match="permission denied"),
        ):
            cursor.execute(f"UPDATE evidence_records SET {change}")

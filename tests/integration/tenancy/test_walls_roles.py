"""What no role may touch, what operators may, and how the walls are built.

Every test here runs as the role that would do the deed in life, never as a superuser, whom no wall holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg
import pytest

from apps.tenancy.context import (
    acting_for,
    in_tenant,
    operator_reading,
)
from opsplatform import roles
from opsplatform.settings.environment import DatabaseRole
from tests.integration.conftest import Change, Control, Look
from tests.support.database import InRole
from tests.support.queue import queue
from tests.support.walls import TABLES, ask, ask_nothing, refused, tables, tenants_in

PROTECTED = [
    "UPDATE evidence_records SET payload = ''",
    "UPDATE evidence_records SET leaf = ''",
    "UPDATE evidence_records SET salt = ''",
    "UPDATE evidence_records SET tenant_id = 'acme'",
    "UPDATE evidence_records SET created_at = now()",
    "DELETE FROM evidence_records",
    "TRUNCATE evidence_records",
    "UPDATE events SET data = '{}'",
    "UPDATE events SET type = 'x'",
    "UPDATE events SET occurred_at = now()",
    "UPDATE events SET tenant_id = 'acme'",
    "DELETE FROM events",
    "TRUNCATE events",
    "DELETE FROM attempts",
    "DELETE FROM decisions",
    "UPDATE decisions SET allowed = true",
    "DELETE FROM log_chunks",
    "UPDATE log_chunks SET lines = '[]'",
    "DELETE FROM jobs",
    "TRUNCATE jobs CASCADE",
    "ALTER TABLE jobs DISABLE ROW LEVEL SECURITY",
    "DROP POLICY tenant ON jobs",
    "CREATE TABLE mine (n int)",
]


class TestWhatNobodyMayTouch:
    """Evidence and events are written once: no process's role changes or removes them."""

    @pytest.mark.parametrize("statement", PROTECTED)
    def test_the_app_is_refused(self, work_of_two_tenants: None, statement: str) -> None:
        with in_tenant("acme"), refused("permission denied", "must be owner"):
            ask_nothing(statement)

    @pytest.mark.parametrize("statement", PROTECTED)
    def test_loops_and_workers_are_refused(self, work_of_two_tenants: None, control: Control, statement: str) -> None:
        with control(), refused("permission denied", "must be owner"):
            ask_nothing(statement)

    @pytest.mark.parametrize("statement", PROTECTED)
    def test_operators_are_refused(self, work_of_two_tenants: None, statement: str) -> None:
        with operator_reading(), refused("permission denied", "must be owner"):
            ask_nothing(statement)

    def test_the_loops_may_number_events_and_account_for_evidence_and_no_more(
        self, work_of_two_tenants: None, control: Control
    ) -> None:
        with control():
            assert ask_nothing("UPDATE events SET sequence = NULL") == 6
            assert ask_nothing("UPDATE evidence_records SET number = NULL") == 6

    @pytest.mark.parametrize("column", ["events.sequence", "evidence_records.number", "evidence_outlets.error"])
    def test_the_app_may_not_even_do_that(self, work_of_two_tenants: None, column: str) -> None:
        table, name = column.split(".")
        with in_tenant("acme"), refused():
            ask_nothing(f"UPDATE {table} SET {name} = NULL")


class TestOperators:
    """Signed-in people read across tenants and write configuration, never what tenants own."""

    @tables
    def test_read_every_tenants_rows(self, work_of_two_tenants: None, table: str) -> None:
        with operator_reading():
            assert tenants_in(table) == ["acme", "globex"]

    @tables
    def test_write_none_of_them(self, work_of_two_tenants: None, table: str) -> None:
        for statement in (
            f"UPDATE {table} SET tenant_id = tenant_id",
            f"DELETE FROM {table}",
            f"INSERT INTO {table} SELECT * FROM {table}",
        ):
            with operator_reading(), refused("permission denied", "row-level security"):
                ask_nothing(statement)

    @pytest.mark.parametrize("table", [each for each in roles.CONFIGURATION if each != "memberships"])
    def test_write_configuration(self, change: Change, table: str) -> None:
        with operator_reading():
            (column,) = ask("SELECT column_name FROM information_schema.columns WHERE table_name = %s LIMIT 1", table)[
                0
            ]
            assert ask_nothing(f"UPDATE {table} SET {column} = {column}") > 0

    def test_are_operators_only_until_their_context_ends(self, work_of_two_tenants: None) -> None:
        with operator_reading():
            assert ask("SELECT current_user") == [("ops_operator",)]
        assert ask("SELECT current_user") == [("ops_app",)]
        assert tenants_in("jobs") == []

    def test_are_operators_no_more_when_it_breaks_off(self, work_of_two_tenants: None) -> None:
        with pytest.raises(ZeroDivisionError), operator_reading():
            raise ZeroDivisionError
        assert ask("SELECT current_user") == [("ops_app",)]

    def test_act_for_a_tenant_as_its_own_caller_would_and_are_operators_again_behind_it(
        self, work_of_two_tenants: None, look: Look
    ) -> None:
        with operator_reading():
            with acting_for("acme"):
                assert ask("SELECT current_user") == [("ops_app",)]
                assert tenants_in("jobs") == ["acme"]
                assert ask_nothing("UPDATE jobs SET priority = 0") == 2
            assert tenants_in("jobs") == ["acme", "globex"]
            with refused():
                ask_nothing("UPDATE jobs SET priority = 1")
        assert {row["tenant_id"]: row["priority"] for row in look("SELECT * FROM jobs")} == {"acme": 0, "globex": 2}

    def test_are_operators_again_when_acting_for_a_tenant_broke_off(self, work_of_two_tenants: None) -> None:
        with operator_reading():
            with pytest.raises(ZeroDivisionError), acting_for("acme"):
                raise ZeroDivisionError
            assert ask("SELECT current_user") == [("ops_operator",)]
            assert tenants_in("jobs") == ["acme", "globex"]


ROLES_FOUND = """
SELECT rolname, rolsuper, rolbypassrls, rolcanlogin FROM pg_roles
 WHERE rolname = session_user OR rolname LIKE 'ops\\_%%'
"""


class TestHowTheWallsAreBuilt:
    """No role is above them. (That no table is without them: `tests/architecture/test_tables.py`.)"""

    def test_no_role_of_ours_is_a_superuser_or_goes_around_row_security(self, db: None) -> None:
        found = {name: (above, around) for name, above, around, _ in ask(ROLES_FOUND)}
        assert set(roles.ROLES) < set(found)
        assert set(found.values()) == {(False, False)}

    def test_only_the_login_logs_in(self, db: None) -> None:
        (login,) = ask("SELECT session_user::text")[0]
        assert {name for name, _, _, logs_in in ask(ROLES_FOUND) if logs_in} == {login}

    @pytest.mark.parametrize(("role", "user"), [("app", "ops_app"), ("control", "ops_control"), ("owner", "ops_owner")])
    def test_a_process_has_its_role_from_its_first_statement_on(
        self, in_role: InRole, role: DatabaseRole, user: str
    ) -> None:
        with in_role(role):
            assert ask("SELECT current_user::text") == [(user,)]
            ask_nothing("RESET ROLE")
            assert ask("SELECT current_user::text") == [(user,)], (
                "a reset leads back to the process's role, not to the login"
            )

    def test_the_tables_owner_is_held_by_the_walls_too(self, work_of_two_tenants: None, in_role: InRole) -> None:
        with in_role("owner"):
            assert all(tenants_in(table) == [] for table in TABLES)

    def test_a_tenants_page_of_jobs_is_read_by_the_index_that_leads_with_the_tenant(
        self, work_of_two_tenants: None, superuser: psycopg.Connection
    ) -> None:
        # Among few jobs, all of them in their order cost as little as a tenant's own.
        queue(superuser, tenant="globex", count=2000)
        superuser.execute("ANALYZE jobs")
        with in_tenant("acme"):
            for cheaper_for_a_few_rows in ("seqscan", "bitmapscan", "sort"):
                ask_nothing(f"SET LOCAL enable_{cheaper_for_a_few_rows} = off")
            plan = "\n".join(
                line
                for (line,) in ask("EXPLAIN SELECT * FROM jobs WHERE tenant_id = 'acme' ORDER BY job_id DESC LIMIT 50")
            )
        assert "jobs_tenant_newest" in plan

    def test_no_function_of_ours_runs_with_its_owners_rights(self, db: None) -> None:
        assert ask("SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND prosecdef") == []

    def test_no_view_of_ours_shows_what_its_reader_may_not_see(self, db: None) -> None:
        views: Sequence[tuple[Any, ...]] = ask(
            "SELECT relname FROM pg_class WHERE relkind IN ('v', 'm') AND relnamespace = 'public'::regnamespace"
            " AND NOT coalesce('security_invoker=true' = ANY (reloptions), false)"
        )
        assert views == []

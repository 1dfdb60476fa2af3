"""The walls between tenants: managers that refuse outside a context, and row-level security where SQL goes around them.

Every test here runs as the role that would do the deed in life, never as a superuser, whom no wall holds.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from uuid import UUID

import pytest
from django.db import Error, connection, models, transaction

from apps.events.models import Event
from apps.evidence.models import Record
from apps.jobs.models import Attempt, Decision, Dependency, Job, LogChunk
from apps.jobs.operations.dependencies import DependsOn
from apps.jobs.operations.run import report
from apps.tenancy.context import (
    NoTenantContextError,
    across_tenants,
    acting_for,
    current_tenant,
    in_tenant,
    operator_reading,
)
from apps.tenancy.models import IdempotencyKey
from opsplatform import roles
from opsplatform.settings.environment import DatabaseRole
from tests.integration.conftest import Change, Control, Look
from tests.support.api import Module, said
from tests.support.work import admitted, claimed, finish, only, worker

InRole = Callable[[DatabaseRole], AbstractContextManager[None]]

OWNED: list[type[models.Model]] = [Job, Dependency, Attempt, Decision, LogChunk, Event, Record, IdempotencyKey]
# Their rows may be the whole platform's (no tenant), or people write them: their own tests ask for their walls, and
# tests/architecture that row-level security is forced on them.
WITH_TESTS_OF_THEIR_OWN = (
    "jobs.Pause",
    "jobs.StartPrediction",
    "schedules.Schedule",
    "schedules.Fire",
    "schedules.Trigger",
    "schedules.Firing",
    "subscription.UsageDaily",
)
TABLES = [model._meta.db_table for model in OWNED]
tables = pytest.mark.parametrize("table", TABLES)


@pytest.fixture
def work_of_two_tenants(db: None, control: Control) -> None:
    """Leave rows of acme and globex in every tenant-owned table."""
    key = {"Idempotency-Key": "the-same"}
    ids = [UUID(said(Module(tenant).post({"type": "ops.noop"}, **key), 202)["job_id"]) for tenant in ("acme", "globex")]
    for tenant, job_id in zip(("acme", "globex"), ids, strict=True):
        admitted(tenant=tenant, depends_on=DependsOn(jobs=[job_id]))
    with control():
        mine = worker()
        for job_id in ids:
            run = claimed(job_id, worker_id=mine)
            report(
                job_id=job_id,
                fence=run.fence,
                bundle_id=run.bundle_id,
                progress=None,
                first_line=1,
                lines=[["t", "info", "hello", {}]],
            )
            finish(run)


def ask(query: str, *values: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query, values)
        return list(cursor.fetchall())


def tenants_in(table: str) -> list[str]:
    """Return whose rows of `table` plain SQL finds now."""
    return [tenant for (tenant,) in ask(f"SELECT DISTINCT tenant_id FROM {table} ORDER BY 1")]


@contextmanager
def refused(*words: str) -> Any:
    """Expect PostgreSQL to refuse, with one of the words; what was open goes on behind it."""
    with pytest.raises(Error, match="|".join(words or ("permission denied",))), transaction.atomic():
        yield


class TestTheFirstWall:
    """Managers: no context, no answer; one context, one tenant."""

    @pytest.mark.parametrize("model", OWNED, ids=TABLES)
    def test_a_manager_refuses_to_answer_outside_a_context(self, db: None, model: Any) -> None:
        asked: list[Callable[[], Any]] = [
            lambda: list(model.objects.all()),
            lambda: model.objects.order_by("pk").count(),
            lambda: model.objects.filter(pk=1).exists(),
            lambda: model.objects.get(pk=1),
            lambda: model.objects.values_list("pk"),
            lambda: model.objects.filter(pk=1).update(pk=2),
            lambda: model.objects.filter(pk=1).delete(),
            lambda: model.objects.create(pk=1),
            lambda: model.objects.bulk_create([model()]),
        ]
        for each in asked:
            with pytest.raises(NoTenantContextError, match=model.__name__):
                each()

    @pytest.mark.parametrize("model", OWNED, ids=TABLES)
    def test_a_manager_finds_only_the_contexts_tenant(self, work_of_two_tenants: None, model: Any) -> None:
        for tenant in ("acme", "globex", "acme"):
            with in_tenant(tenant):
                assert {row.tenant_id for row in model.objects.all()} == {tenant}
        with in_tenant("sandbox"):
            assert not model.objects.exists()

    def test_another_tenants_object_does_not_exist_by_its_id(self, db: None) -> None:
        job_id = admitted(tenant="globex")
        with in_tenant("acme"), pytest.raises(Job.DoesNotExist):
            Job.objects.get(job_id=job_id)

    def test_the_manager_filters_even_where_the_second_wall_is_open(
        self, work_of_two_tenants: None, in_role: InRole
    ) -> None:
        with in_role("control"), in_tenant("acme"):
            assert {row.tenant_id for row in Job.objects.all()} == {"acme"}
            assert tenants_in("jobs") == ["acme", "globex"], "the control role itself sees both"

    def test_every_tenant_owned_model_has_such_a_manager(self) -> None:
        from django.apps import apps  # noqa: PLC0415 - only here

        owned = {
            model
            for model in apps.get_models()
            if "tenant" in {field.name for field in model._meta.fields}
            and model._meta.db_table not in roles.CONFIGURATION
        }
        assert owned == {*OWNED, *map(apps.get_model, WITH_TESTS_OF_THEIR_OWN)}, (
            "a tenant-owned model is missing from these tests, or has no `tenant`"
        )


class TestContexts:
    """One context is one tenant, and it ends with its transaction."""

    def test_a_tenant_is_not_entered_inside_another(self, db: None) -> None:
        with in_tenant("acme"), pytest.raises(NoTenantContextError, match=r"'acme'.*'globex'"), in_tenant("globex"):
            pass
        assert current_tenant() is None

    def test_the_same_tenant_is_entered_again_and_stays_when_the_inner_one_ends(
        self, work_of_two_tenants: None
    ) -> None:
        with in_tenant("acme"):
            with in_tenant("acme"):
                assert tenants_in("jobs") == ["acme"]
            assert tenants_in("jobs") == ["acme"]

    @pytest.mark.parametrize("wider", [across_tenants, operator_reading])
    def test_a_tenants_context_is_not_widened_from_inside(self, work_of_two_tenants: None, wider: Any) -> None:
        with in_tenant("acme"):
            with pytest.raises(NoTenantContextError, match="acme"), wider():
                pass
            assert {row.tenant_id for row in Job.objects.all()} == {"acme"}
            assert tenants_in("jobs") == ["acme"]

    @pytest.mark.parametrize("wide", [across_tenants, operator_reading])
    def test_a_tenant_is_not_entered_inside_a_wider_context(self, db: None, wide: Any) -> None:
        with wide(), pytest.raises(NoTenantContextError), in_tenant("acme"):
            pass

    def test_a_context_that_broke_off_leaves_nobody_behind(self, work_of_two_tenants: None) -> None:
        with pytest.raises(ZeroDivisionError), in_tenant("acme"):
            raise ZeroDivisionError
        assert current_tenant() is None
        assert tenants_in("jobs") == []

    def test_another_thread_has_a_context_of_its_own(self, db: None) -> None:
        seen: list[Any] = []
        with in_tenant("acme"):
            thread = threading.Thread(target=lambda: seen.append(current_tenant()))
            thread.start()
            thread.join()
        assert seen == [None]

    def test_working_across_tenants_lifts_only_the_first_wall(self, work_of_two_tenants: None) -> None:
        with across_tenants():
            assert list(Job.objects.all()) == []


class TestTheSecondWall:
    """Row-level security holds raw SQL in the app's role, on a connection that served another tenant before."""

    @tables
    def test_without_a_context_there_are_no_rows_on_a_fresh_or_a_reused_connection(
        self, work_of_two_tenants: None, table: str
    ) -> None:
        connection.close()
        assert tenants_in(table) == []
        (first,) = ask("SELECT pg_backend_pid()")
        with in_tenant("acme"):
            assert tenants_in(table) == ["acme"]
        assert tenants_in(table) == []
        assert ask("SELECT pg_backend_pid()") == [first], "the connection must be the one that served acme"
        assert ask("SELECT current_setting('ops.tenant', true)") == [("",)], "'' is what such a connection reads"

    @tables
    def test_a_reused_connection_carries_no_tenant_into_the_next_context(
        self, work_of_two_tenants: None, table: str
    ) -> None:
        for tenant in ("acme", "globex", "sandbox", "acme"):
            with in_tenant(tenant):
                assert tenants_in(table) == ([] if tenant == "sandbox" else [tenant])

    @tables
    def test_naming_the_other_tenant_finds_nothing(self, work_of_two_tenants: None, table: str) -> None:
        with in_tenant("acme"):
            assert ask(f"SELECT 1 FROM {table} WHERE tenant_id = 'globex'") == []
            assert ask(f"SELECT 1 FROM {table} WHERE tenant_id = 'acme' OR true") != []

    def test_a_tenant_sees_no_other_tenant_nor_its_subscription(self, db: None) -> None:
        with in_tenant("acme"):
            assert tenants_in("tenants") == ["acme"]
            assert tenants_in("subscriptions") == ["acme"]
        assert tenants_in("tenants") == tenants_in("subscriptions") == []

    @pytest.mark.parametrize("context", ["", "acme' OR true --", "ACME", "acme ", "%", "nobody"])
    def test_a_context_of_no_tenant_finds_nothing(self, work_of_two_tenants: None, context: str) -> None:
        with in_tenant(context):
            assert tenants_in("jobs") == []
            assert Job.objects.count() == 0

    @pytest.mark.parametrize("table", ["jobs", "attempts", "decisions", "events", "evidence_records"])
    def test_another_tenants_row_is_not_inserted(self, work_of_two_tenants: None, look: Look, table: str) -> None:
        key = {"jobs": "job_id", "attempts": "fence", "decisions": "decision_id", "events": "event_id"}.get(
            table, "record_id"
        )
        changed = {"fence": "fence + 100"}.get(key, "gen_random_uuid()")
        columns = [
            row["column_name"]
            for row in look("SELECT column_name FROM information_schema.columns WHERE table_name = %s", table)
            if row["column_name"] not in {"id", "sequence", "number" if table == "evidence_records" else ""}
        ]
        new = {key: changed, "ending": "'failed'", "tenant_id": "'globex'", "subject_id": "gen_random_uuid()::text"}
        picked = ", ".join(new.get(name, name) if name in columns else name for name in columns)
        statement = f"INSERT INTO {table} ({', '.join(columns)}) SELECT {picked} FROM {table} LIMIT 1"
        with in_tenant("acme"), refused("row-level security"):
            ask_nothing(statement)
        with in_tenant("acme"):
            assert ask_nothing(statement.replace("'globex'", "'acme'")) == 1, (
                "the statement must fail for its tenant alone"
            )

    def test_another_tenants_job_is_neither_changed_nor_taken_nor_given_away(
        self, work_of_two_tenants: None, look: Look
    ) -> None:
        before = look("SELECT * FROM jobs ORDER BY job_id")
        with in_tenant("acme"):
            assert ask_nothing("UPDATE jobs SET priority = 0 WHERE tenant_id = 'globex'") == 0
            assert ask_nothing("UPDATE jobs SET tenant_id = 'acme' WHERE tenant_id = 'globex'") == 0
            with refused("row-level security"):
                ask_nothing("UPDATE jobs SET tenant_id = 'globex'")
        assert ask_nothing("UPDATE jobs SET priority = 0") == 0, "outside a context nothing is there to change"
        assert look("SELECT * FROM jobs ORDER BY job_id") == before

    def test_a_primary_key_that_another_tenant_holds_cannot_be_taken_over(self, db: None, look: Look) -> None:
        job_id = admitted(tenant="globex")
        with in_tenant("acme"), refused("row-level security", "duplicate key"):
            ask_nothing(
                "INSERT INTO jobs (job_id, tenant_id, type, status, priority, environment_id, region, params,"
                " params_digest, trigger, submitted_by, timeout_s, max_attempts, obligations, attempt, retries, fence,"
                " unclaimed) VALUES (%s, 'acme', 't', 'queued', 2, 'default', 'local', '{}', '', 'user', 'x', 1, 1,"
                " '{}', 0, 0, 0, 0)"
                " ON CONFLICT (job_id) DO UPDATE SET priority = 0",
                job_id,
            )
        assert only(look("SELECT tenant_id, priority FROM jobs")) == {"tenant_id": "globex", "priority": 2}


def ask_nothing(statement: str, *values: Any) -> int:
    """Run a statement; return how many rows it touched."""
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return int(cursor.rowcount)


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
            assert (
                ask_nothing("UPDATE evidence_records SET state = 'emitted', ref = 'r', tries = 1, number = NULL") == 6
            )

    @pytest.mark.parametrize("column", ["events.sequence", "evidence_records.state", "evidence_records.number"])
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

    @pytest.mark.parametrize("table", roles.CONFIGURATION)
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
        self, work_of_two_tenants: None
    ) -> None:
        with in_tenant("acme"):
            ask_nothing("SET LOCAL enable_seqscan = off")
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

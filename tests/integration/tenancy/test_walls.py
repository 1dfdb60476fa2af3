"""The walls between tenants: managers that refuse outside a context, and row-level security where SQL goes around them.

Every test here runs as the role that would do the deed in life, never as a superuser, whom no wall holds.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection

from apps.jobs.models import Job
from apps.tenancy.context import (
    NoTenantContextError,
    across_tenants,
    current_tenant,
    in_tenant,
    operator_reading,
)
from opsplatform import roles
from tests.integration.conftest import Look
from tests.support.database import InRole
from tests.support.walls import OWNED, TABLES, ask, ask_nothing, refused, tables, tenants_in
from tests.support.work import admitted, only

# Their rows may be the whole platform's (no tenant), or people write them: their own tests ask for their walls, and
# tests/architecture that row-level security is forced on them.
WITH_TESTS_OF_THEIR_OWN = (
    "evidence.LegalHold",
    "evidence.Series",
    "evidence.SeriesMember",
    "migrations.Migration",
    "migrations.Approval",
    "migrations.Wave",
    "migrations.Target",
    "migrations.Step",
    "jobs.Pause",
    "jobs.StartPrediction",
    "schedules.Schedule",
    "schedules.Fire",
    "schedules.Trigger",
    "schedules.Firing",
    "subscription.UsageDaily",
    "webhooks.Webhook",
    "webhooks.Delivery",
    "health.Component",
    "health.Flip",
    "health.Impact",
    "health.MinuteWindow",
    "health.Receipt",
    "notifications.Notification",
    "notifications.Signal",
    "notifications.Delivery",
    "notifications.Attempt",
    "notifications.InboxItem",
    "notifications.Deadline",
    "tickets.SlaPolicy",
    "tickets.Ticket",
    "tickets.Entry",
    "tickets.Watcher",
    "tickets.Link",
)


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

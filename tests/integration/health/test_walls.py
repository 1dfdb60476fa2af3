"""Health behind both walls: raw SQL in the app's role finds a tenant's rows and the platform's, changes its own."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection

from apps.health.models import Component, Flip, Impact, MinuteWindow, Receipt
from apps.tenancy.context import NoTenantContextError, in_tenant, operator_reading
from tests.integration.conftest import Control, Look
from tests.integration.health.conftest import Process, Watch, beat
from tests.support.api import Module
from tests.support.walls import ask_nothing, refused
from tests.support.work import admitted

MODELS = [Component, Flip, MinuteWindow, Impact, Receipt]
TABLES = [model._meta.db_table for model in MODELS]
PLATFORMS_TOO = ["health_status", "health_flips", "health_windows", "recovery_receipts"]


@pytest.fixture(autouse=True)
def two_tenants(
    acme: Module, globex: Module, whole: Any, processes: Process, watch: Watch, policies: Any, superuser: Any
) -> None:
    """Leave a row of each kind in two tenants and, where it may have them, the platform."""
    policies("rehearse", pattern="*", statuses=["down"], action="call_webhook", dry_run=True, cooldown_s=600)
    for tenant, module in (("acme", acme), ("globex", globex)):
        beat(module, "feed", signal="fail", latency_ms=5, terms={"failure_threshold": 1})
        admitted(tenant=tenant)
    processes.die(whole["worker-default"])
    watch()
    superuser.execute(
        b"INSERT INTO health_impacts (tenant_id, component_id, jobs, seen_at) SELECT t, component_id, 1, now()"
        b" FROM health_status, unnest('{acme,globex}'::text[]) AS t WHERE component = 'relay'"
    )


def owners(table: str) -> list[str | None]:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT DISTINCT tenant_id FROM {table} ORDER BY 1 NULLS FIRST")
        return [tenant for (tenant,) in cursor.fetchall()]


@pytest.mark.parametrize("model", MODELS, ids=TABLES)
def test_a_manager_answers_inside_one_tenants_context_alone(model: Any) -> None:
    with pytest.raises(NoTenantContextError):
        model.objects.count()
    for tenant in ("acme", "globex"):
        with in_tenant(tenant):
            assert {row.tenant_id for row in model.objects.all()} == {tenant}


@pytest.mark.parametrize("table", TABLES)
def test_raw_sql_finds_one_tenants_rows_and_the_platforms(table: str) -> None:
    platforms: list[str | None] = [None] if table in PLATFORMS_TOO else []
    assert owners(table) == platforms
    for tenant in ("acme", "globex", "sandbox"):
        with in_tenant(tenant):
            assert owners(table) == platforms + ([] if tenant == "sandbox" else [tenant])


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE health_status SET status = 'up' WHERE tenant_id IS NULL",
        "UPDATE health_status SET status = 'up' WHERE tenant_id = 'globex'",
        "UPDATE health_windows SET errors = 0 WHERE tenant_id IS DISTINCT FROM 'acme'",
    ],
)
def test_raw_sql_changes_nothing_of_another_tenant_nor_of_the_platform(statement: str, look: Look) -> None:
    before = [look(f"SELECT md5(t::text) FROM {table} t ORDER BY 1") for table in TABLES]
    with in_tenant("acme"):
        assert ask_nothing(statement) == 0
        with refused("row-level security"):
            ask_nothing("UPDATE health_status SET tenant_id = NULL")
    assert [look(f"SELECT md5(t::text) FROM {table} t ORDER BY 1") for table in TABLES] == before


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM health_status",
        "UPDATE health_flips SET reason = ''",
        "DELETE FROM health_flips",
        "UPDATE recovery_receipts SET outcome = 'helped'",
        "INSERT INTO recovery_receipts SELECT * FROM recovery_receipts",
        "UPDATE health_impacts SET jobs = 0",
        "SELECT 1 FROM health_canaries",
        "SELECT 1 FROM process_orders",
        "SELECT 1 FROM recovery_policies",
    ],
)
def test_no_request_rewrites_history_or_sees_the_machinery(statement: str) -> None:
    with in_tenant("acme"), refused():
        ask_nothing(statement)


@pytest.mark.parametrize("statement", ["UPDATE health_flips SET reason = ''", "DELETE FROM health_flips"])
def test_history_is_append_only_for_the_loops_and_for_people_too(statement: str, control: Control) -> None:
    with control(), refused():
        ask_nothing(statement)
    with operator_reading(), refused():
        ask_nothing(statement)

"""Webhooks and deliveries behind both walls: raw SQL in the app's role finds and changes one tenant's alone."""

from __future__ import annotations

from typing import Any

import pytest

from apps.tenancy.context import NoTenantContextError, in_tenant, operator_reading
from apps.webhooks.models import Delivery, Webhook
from apps.webhooks.operations import following
from tests.integration.conftest import Control, Look
from tests.integration.webhooks.conftest import Hooked
from tests.support.receiver import Receiver
from tests.support.walls import ask_nothing, refused, tenants_in
from tests.support.work import admitted

MODELS = [Webhook, Delivery]
TABLES = [model._meta.db_table for model in MODELS]


@pytest.fixture(autouse=True)
def two_tenants(receiver: Receiver, hooked: Hooked, control: Control) -> None:
    """Leave a webhook and a delivery in each of two tenants."""
    from apps.events.operations import number_committed  # noqa: PLC0415 - beside its use

    for tenant in ("acme", "globex"):
        hooked(receiver, tenant=tenant)
        admitted(tenant=tenant)
    with control():
        number_committed(limit=100)
        following.follow()


@pytest.mark.parametrize("model", MODELS, ids=TABLES)
def test_a_manager_answers_inside_one_tenants_context_alone(model: Any) -> None:
    with pytest.raises(NoTenantContextError):
        model.objects.count()
    for tenant in ("acme", "globex"):
        with in_tenant(tenant):
            assert [row.tenant_id for row in model.objects.all()] == [tenant]


@pytest.mark.parametrize("table", TABLES)
def test_raw_sql_finds_one_tenants_rows_alone(table: str) -> None:
    assert tenants_in(table) == []
    for tenant in ("acme", "globex", "sandbox"):
        with in_tenant(tenant):
            assert tenants_in(table) == ([] if tenant == "sandbox" else [tenant])
    assert tenants_in(table) == []


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE webhooks SET url = 'https://evil.example.org/' WHERE tenant_id = 'globex'",
        "UPDATE webhooks SET secret_id = gen_random_uuid() WHERE tenant_id = 'globex'",
        "UPDATE webhook_deliveries SET state = 'waiting' WHERE tenant_id = 'globex'",
    ],
)
def test_raw_sql_changes_nothing_of_another_tenant(statement: str, look: Look) -> None:
    before = [look(f"SELECT * FROM {table} ORDER BY 1") for table in TABLES]
    with in_tenant("acme"):
        assert ask_nothing(statement) == 0
        with refused("row-level security"):
            ask_nothing("UPDATE webhooks SET tenant_id = 'globex'")
    assert [look(f"SELECT * FROM {table} ORDER BY 1") for table in TABLES] == before


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM webhooks",
        "DELETE FROM webhook_deliveries",
        "UPDATE webhook_deliveries SET event_id = gen_random_uuid()",
        "UPDATE webhook_deliveries SET webhook_id = webhook_id",
        "UPDATE webhook_deliveries SET attempts = '[]'",
        "INSERT INTO webhook_deliveries SELECT * FROM webhook_deliveries",
    ],
)
def test_what_was_sent_is_written_by_the_sender_alone(statement: str, control: Control) -> None:
    with in_tenant("acme"), refused():
        ask_nothing(statement)
    with operator_reading(), refused():
        ask_nothing(statement)
    if statement == "DELETE FROM webhooks":
        with control(), refused():
            ask_nothing(statement)


def test_operators_read_all_and_write_none(look: Look) -> None:
    with operator_reading():
        assert [tenants_in(table) for table in TABLES] == [["acme", "globex"]] * 2
        with refused():
            ask_nothing("UPDATE webhooks SET disabled_at = now(), disabled_reason = 'gone'")

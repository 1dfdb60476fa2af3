"""What is said to one tenant is no other's, by the manager and by raw SQL; the platform's own is nobody's."""

from __future__ import annotations

from typing import Any

import pytest

from apps.notifications.models import Attempt, Deadline, Delivery, InboxItem, Notification, Signal
from apps.tenancy.context import NoTenantContextError, in_tenant
from tests.integration.conftest import Look
from tests.integration.notifications.conftest import NOTIFY, Channelled, Notifying, Routed
from tests.support.api import Module, said
from tests.support.smtp import Post
from tests.support.walls import ask_nothing, refused, tenants_in

MODELS: list[Any] = [Notification, Signal, Delivery, Attempt, InboxItem, Deadline]
TABLES = [model._meta.db_table for model in MODELS]
DONE = "SELECT 1 FROM notifications WHERE status <> 'delivered'"
INBOX = "SELECT 1 FROM inbox_items"


@pytest.fixture(autouse=True)
def two_tenants_and_the_platform(
    platform: Module, channelled: Channelled, routed: Routed, posts: Any, notifying: Notifying, look: Look
) -> None:
    """Tell each of two tenants something, and the platform itself: by mail and in the inbox."""
    post: Post = posts()
    routed("mail", channel=channelled("mail", url=post.url, to="oncall@example.org"), goes_on=True)
    routed("inbox", goes_on=True)
    for tenant in ("acme", "globex", None):
        named = {"tenant_id": tenant} if tenant else {}
        said(platform.post({"severity": "critical", "summary": "late", **named}, path=NOTIFY), 202)
    notifying(lambda: not look(DONE) and len(look(INBOX)) >= 3)


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


def test_the_app_says_and_does_not_settle() -> None:
    with in_tenant("acme"):
        for statement in ("UPDATE notification_deliveries SET state = 'sent'", "DELETE FROM notifications"):
            with refused():
                ask_nothing(statement)

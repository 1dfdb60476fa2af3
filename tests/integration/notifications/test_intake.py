"""What is said about a thing, as other apps say it: one open notification a key, each cause once."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from apps.core.ids import uuid7
from apps.notifications.operations import BadNotificationError, notify
from apps.tenancy.context import in_tenant
from tests.integration.conftest import Control, Look

NOTIFICATIONS = "SELECT * FROM notifications ORDER BY id"
EVENTS = "SELECT type, subject, tenant_id, data FROM events WHERE type LIKE 'operations.alert.%%' ORDER BY occurred_at"


def said(action: str = "trigger", *, tenant: str | None = "acme", **more: Any) -> UUID | None:
    values: dict[str, Any] = {
        "severity": "error",
        "category": "alert",
        "source": "data-acquisition",
        "summary": "The feed is late.",
        "dedup_key": "feed",
        "by": "tests",
    }
    return notify(tenant_id=tenant, action=action, **{**values, **more})


def test_a_trigger_is_one_notification_one_promise_and_one_event(look: Look) -> None:
    with in_tenant("acme"):
        made = said(component="feed-7", details={"late_s": 90})
    (row,) = look(NOTIFICATIONS)
    assert row["id"] == made
    assert (row["status"], row["resolved"], row["target"]) == ("pending", False, "operators, tenant:acme")
    assert row["details"] == {"late_s": 90}
    (promise,) = look(
        "SELECT notification_id, due_at - clock_timestamp() > interval '50 s' AS ok FROM notification_deadlines"
    )
    assert promise == {"notification_id": made, "ok": True}
    (event,) = look(EVENTS)
    assert (event["type"], event["subject"], event["tenant_id"]) == ("operations.alert.raised", str(made), "acme")
    assert "late" not in str(event["data"]), "an event has no summary and no details"


def test_a_key_gathers_what_is_said_while_it_is_open_and_the_worst_of_it_counts(look: Look) -> None:
    with in_tenant("acme"):
        first = said(severity="warning")
        assert said(severity="critical") == first
        assert said(severity="info") == first
    (row,) = look(NOTIFICATIONS)
    assert (row["severity"], row["repeats"], row["escalations"]) == ("critical", 2, 1)
    assert [event["type"] for event in look(EVENTS)] == ["operations.alert.raised"]


def test_what_is_resolved_begins_anew(look: Look) -> None:
    with in_tenant("acme"):
        first = said()
        assert said("acknowledge") == first
        assert said("resolve") == first
        assert said("resolve") == first, "said again it changes nothing"
        assert said() != first
    assert [row["resolved"] for row in look(NOTIFICATIONS)] == [True, False]
    assert [event["type"].rpartition(".")[2] for event in look(EVENTS)] == [
        "raised", "acknowledged", "resolved", "raised",
    ]  # fmt: skip


def test_of_nothing_nothing_is_resolved(look: Look) -> None:
    with in_tenant("acme"):
        assert said("resolve", dedup_key="never-seen") is None
    assert look(NOTIFICATIONS) == []


def test_a_cause_is_told_once_however_often_it_comes(look: Look) -> None:
    cause = uuid7()
    with in_tenant("acme"):
        first = said(cause_event_id=cause)
        assert said(cause_event_id=cause) == first
        said("resolve", cause_event_id=cause)
        assert said(cause_event_id=cause) == first, "not even when it is over"
    (row,) = look(NOTIFICATIONS)
    assert row["repeats"] == 0


def test_two_that_say_it_at_once_in_their_own_scopes_do_not_meet(look: Look) -> None:
    with in_tenant("acme"):
        assert said(scope="module-a") != said(scope="module-b")
    assert len(look(NOTIFICATIONS)) == 2


def test_the_loops_say_what_is_the_platforms(control: Control, look: Look) -> None:
    with control():
        said(tenant=None, source="health", component="database")
    (row,) = look(NOTIFICATIONS)
    assert (row["tenant_id"], row["target"]) == (None, "operators")


@pytest.mark.parametrize(
    ("field", "more"),
    [
        ("audience", {"audience": ["everybody"]}),
        ("details", {"details": {"rows": "x" * 9000}}),
        ("links", {"links": {"runbook": "javascript:alert(1)"}}),
    ],
)
def test_what_cannot_be_kept_is_refused_by_name(db: None, field: str, more: dict[str, Any]) -> None:
    with in_tenant("acme"), pytest.raises(BadNotificationError) as refused:
        said(**more)
    assert refused.value.field == field

"""What could stay untold, or be told to the wrong ones: silences that end, what grows worse, repeats, other tenants."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection

from apps.core.ids import uuid7
from apps.notifications.models import Notification
from apps.notifications.operations import intake
from apps.tenancy.context import in_tenant, operator_reading
from tests.integration.conftest import Change, Control, Look
from tests.integration.notifications.conftest import (
    NOTIFICATIONS,
    NOTIFY,
    SECRET,
    Channelled,
    Notifying,
    Routed,
    trigger,
)
from tests.integration.notifications.test_decisions import SILENCE
from tests.support.api import Module, refused, said
from tests.support.receiver import Receiver
from tests.support.smtp import Post
from tests.unit.notifications.test_notifications_alertmanager import PAYLOAD
from workers.notifier import Notifier

Deliveries = Callable[[], list[dict[str, Any]]]
Status = Callable[[dict[str, Any]], str]
Posts = Callable[..., Post]
LONG_AGO = "UPDATE notification_groups SET told_at = told_at - interval '2 h'"
UNHANDLED = "SELECT 1 FROM notification_signals WHERE handled_at IS NULL"


@pytest.fixture
def mail(posts: Posts, channelled: Channelled, routed: Routed) -> Post:
    """A mailbox to which everything goes, again each hour."""
    post = posts()
    routed("mail", channel=channelled("mail", url=post.url), repeat_s=3600)
    return post


def test_a_tenant_is_not_told_of_the_routes_for_others(
    acme: Module, platform: Module, mail: Post, routed: Routed, notifying: Notifying, status: Status
) -> None:
    routed("pager-of-globex", "tenant=globex", position=1)
    told = trigger(acme)
    notifying(lambda: status(told) == "delivered")
    path = f"{NOTIFICATIONS}/{told['notification_id']}"
    mine, whole = said(acme.get(path)), said(platform.get(path))
    assert "globex" not in json.dumps(mine)
    assert [each["route"] for each in mine["why"] if each["step"] == "route"] == ["mail"]
    assert "tenant=globex does not hold" in json.dumps(whole["why"])


def test_what_is_still_said_when_its_silence_is_over_is_told(
    acme: Module, mail: Post, notifying: Notifying, status: Status, change: Change, look: Look
) -> None:
    change(SILENCE, uuid7(), ["dedup_key=feed"])
    told = trigger(acme, dedup_key="feed")
    notifying(lambda: status(told) == "suppressed")
    trigger(acme, dedup_key="feed")
    notifying(lambda: not look(UNHANDLED))
    (row,) = look("SELECT why FROM notifications")
    assert len(row["why"]) == 3, "still silenced: nothing is decided anew"
    change("UPDATE notification_silences SET ends_at = clock_timestamp()")
    trigger(acme, dedup_key="feed")
    notifying(lambda: status(told) == "delivered")
    assert len(mail.mails) == 1


def test_what_grows_worse_has_its_fallback_although_that_told_of_it_before(
    acme: Module, posts: Posts, receivers: Callable[..., Receiver], channelled: Channelled, routed: Routed,
    notifying: Notifying,
) -> None:  # fmt: skip
    post, receiver = posts("554 never"), receivers()
    hook = channelled("hook", "webhook", url=receiver.url, secret=SECRET)
    routed("mail", channel=channelled("mail", url=post.url, fallback=hook))  # type: ignore[arg-type]
    trigger(acme, severity="warning", dedup_key="feed")
    notifying(lambda: len(receiver.told) == 1)
    trigger(acme, severity="critical", dedup_key="feed")
    notifying(lambda: len(receiver.told) == 2)


def test_whoever_took_on_less_has_not_taken_on_what_it_became(
    acme: Module, posts: Posts, channelled: Channelled, routed: Routed, notifying: Notifying, status: Status,
    look: Look,
) -> None:  # fmt: skip
    post, reserve = posts(), posts()
    fallback = channelled("reserve", url=reserve.url)
    routed("mail", channel=channelled("mail", url=post.url, fallback=fallback))  # type: ignore[arg-type]
    told = trigger(acme, severity="warning", dedup_key="feed")
    notifying(lambda: status(told) == "delivered")
    said(acme.post({"event_action": "acknowledge", "dedup_key": "feed"}, path=NOTIFY), 202)
    notifying(lambda: not look(UNHANDLED))
    post.behaviour = "451 not now"
    trigger(acme, severity="critical", dedup_key="feed")
    notifying(lambda: reserve.mails)


class TestRepeats:
    """What goes on is said again."""

    def test_it_is_said_again_however_often_others_of_its_group_were_told(
        self, acme: Module, mail: Post, notifying: Notifying, change: Change, look: Look
    ) -> None:
        repeats = "SELECT round FROM notification_deliveries WHERE reason = 'repeat' AND state = 'sent' ORDER BY 1"
        for number in range(1, 4):
            trigger(acme, severity="critical", dedup_key=f"feed-{number}")
            notifying(
                lambda: not look(UNHANDLED) and not look("SELECT 1 FROM notification_deliveries WHERE sent_at IS NULL")
            )
            change(LONG_AGO)
            notifying(lambda number=number: len(look(repeats)) == number * (number + 1) / 2)  # type: ignore[misc]

    def test_what_was_silenced_meanwhile_is_not(
        self, acme: Module, mail: Post, notifying: Notifying, change: Change, deliveries: Deliveries, status: Status
    ) -> None:
        told = trigger(acme, severity="critical", dedup_key="feed")
        notifying(lambda: status(told) == "delivered")
        change(SILENCE, uuid7(), ["dedup_key=feed"])
        change(LONG_AGO)
        notifying(lambda: len(deliveries()) == 2)
        assert [(each["reason"], each["state"], each["note"]) for each in deliveries()[1:]] == [
            ("repeat", "skipped", "silenced")
        ]
        assert len(mail.mails) == 1

    def test_in_quiet_hours_it_waits_for_the_morning(
        self, acme: Module, mail: Post, notifying: Notifying, change: Change, look: Look, status: Status
    ) -> None:
        told = trigger(acme, severity="error", dedup_key="feed")
        notifying(lambda: status(told) == "delivered")
        hour = "(clock_timestamp() AT TIME ZONE 'UTC' {} interval '1 h')::time"
        change(f"UPDATE notification_routes SET quiet_from = {hour.format('-')}, quiet_until = {hour.format('+')}")
        change(LONG_AGO)
        held = "SELECT 1 FROM notification_deliveries WHERE reason = 'repeat' AND due_at > now() + interval '50 min'"
        notifying(lambda: look(held))
        assert len(mail.mails) == 1


def test_test_messages_leave_threads_to_what_is_owed_to_people(
    notifier: Notifier, control: Control, channelled: Channelled, posts: Posts
) -> None:
    post = posts("hang")
    for number in range(6):
        channelled(f"mail-{number}", url=post.url, test_address="test@example.org", tested_every_s=60)  # type: ignore[arg-type]
    with control():
        for _ in range(5):
            notifier._upkeep_at = 0.0
            notifier.step()
            assert len(notifier._tests) == 2
    post.behaviour = "250 OK"


def many(change: Change, tenant_id: str | None) -> None:
    """Leave as many open notifications of a tenant, or of the platform, as a planner needs to tell indexes apart."""
    with in_tenant(tenant_id) if tenant_id else operator_reading():
        intake.notify(
            tenant_id=tenant_id, action="trigger", severity="info", category="alert", source="s", summary="late",
            dedup_key="first", by="tests",
        )  # fmt: skip
    own = [str(field.column) for field in Notification._meta.concrete_fields]
    columns = ", ".join(f'"{each}"' for each in own if each not in {"id", "dedup_key"})
    change(
        f"INSERT INTO notifications (id, dedup_key, {columns}) SELECT gen_random_uuid(), 'k' || n, {columns}"
        " FROM notifications, generate_series(1, 5000) AS n"
    )
    change("ANALYZE notifications")


@pytest.mark.parametrize("tenant_id", ["acme", None])
@pytest.mark.parametrize("statement", ["ACKNOWLEDGE", "RESOLVE", "NEWEST"])
def test_what_is_open_under_a_key_is_found_along_an_index(
    db: None, control: Control, change: Change, tenant_id: str | None, statement: str
) -> None:
    asked = intake._of(tenant_id, getattr(intake, statement))
    names = {"tenant": tenant_id, "scope": "", "key": "k", "by": "x", "cause": None, "event": "e", "action": "resolve",
             "severity": "info", "source": "s"}  # fmt: skip
    many(change, tenant_id)  # of a table that is nearly empty one index is as good as another
    with control(), connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {asked}", names)
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert "dedup_key" in next(line for line in plan.splitlines() if "Index Cond" in line and "dedup_key" in line)


@pytest.mark.parametrize("body", [{"summary": "Boo."}, PAYLOAD])
def test_what_is_said_of_a_tenant_that_is_none_is_not_found(db: None, body: dict[str, Any]) -> None:
    refused(Module("ghost", scope="notify:send").post(body, path=NOTIFY), 404, "not_found")

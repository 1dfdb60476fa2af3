"""From what a module says to who was told: the inbox, mail, webhooks, chats; and to the end of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from standardwebhooks import Webhook

from tests.integration.conftest import Look
from tests.integration.notifications.conftest import (
    NOTIFICATIONS,
    SECRET,
    Channelled,
    Notifying,
    Routed,
    resolve,
    trigger,
)
from tests.support.api import Module, said
from tests.support.receiver import Receiver
from tests.support.smtp import Post

Deliveries = Callable[[], list[dict[str, Any]]]
Status = Callable[[dict[str, Any]], str]


def read(module: Module, told: dict[str, Any]) -> dict[str, Any]:
    return said(module.get(f"{NOTIFICATIONS}/{told['notification_id']}"))


def test_where_no_route_says_otherwise_everything_is_in_the_inbox(
    acme: Module, notifying: Notifying, look: Look, status: Status
) -> None:
    told = trigger(acme)
    notifying(lambda: status(told) == "delivered")
    seen = read(acme, told)
    assert (seen["channel"], seen["resolved"]) == ("inbox", False)
    assert [(each["channel"], each["state"], each["reason"]) for each in seen["deliveries"]] == [
        ("inbox", "sent", "first")
    ]
    items = look("SELECT audience, tenant_id, read_at FROM inbox_items ORDER BY audience")
    assert items == [
        {"audience": "operators", "tenant_id": "acme", "read_at": None},
        {"audience": "tenant", "tenant_id": "acme", "read_at": None},
    ]
    assert seen["deadline"]["met_at"] is not None


def test_a_mail_says_what_is_the_matter_and_later_that_it_is_over(
    acme: Module,
    notifying: Notifying,
    posts: Callable[..., Post],
    channelled: Channelled,
    routed: Routed,
    status: Status,
    deliveries: Deliveries,
) -> None:
    post = posts()
    routed("mail", channel=channelled("mail", url=post.url, to="oncall@example.org"))
    told = trigger(acme, component="feed-7", custom_details={"late_s": 90})
    notifying(lambda: post.mails)
    (mail,) = post.mails
    assert mail["Subject"] == "[ERROR] The feed is late. (acme)"
    assert "late_s: 90" in mail.get_content()
    notifying(lambda: status(told) == "delivered")
    resolve(acme, told["dedup_key"])
    notifying(lambda: len(post.mails) == 2)
    assert post.mails[1]["Subject"] == "[RESOLVED] The feed is late. (acme)"
    notifying(lambda: [each["state"] for each in deliveries()] == ["sent", "sent"])
    attempts = [each["attempts"] for each in read(acme, told)["deliveries"]]
    assert [[each["accepted"] for each in of_one] for of_one in attempts] == [[True], [True]]


def test_a_webhooks_signature_holds_for_the_standards_own_library(
    acme: Module, notifying: Notifying, receivers: Callable[..., Receiver], channelled: Channelled, routed: Routed
) -> None:
    receiver = receivers()
    routed("hook", channel=channelled("hook", "webhook", url=receiver.url, secret=SECRET))
    told = trigger(acme, severity="critical")
    notifying(lambda: receiver.told)
    (request,) = receiver.told
    body: Any = Webhook(SECRET).verify(request.body, dict(request.headers))
    (item,) = body["data"]["notifications"]
    assert item["notification_id"] == told["notification_id"]
    assert (item["event_action"], item["severity"], item["reason"]) == ("trigger", "critical", "first")

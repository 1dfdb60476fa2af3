"""Channels that speak HTTP, test messages, caps, and what a fresh plane begins with."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from apps.notifications import seeds
from apps.notifications.operations import upkeep
from apps.tenancy.context import operator_reading
from tests.integration.conftest import Change, Look
from tests.integration.notifications.conftest import SECRET, Channelled, Notifying, Routed, resolve, trigger
from tests.support.api import Module
from tests.support.receiver import Receiver
from tests.support.smtp import Post

Deliveries = Callable[[], list[dict[str, Any]]]
Receivers = Callable[..., Receiver]
Posts = Callable[..., Post]
KEY = "R0" * 16


def test_pagerduty_is_triggered_and_resolved_under_one_key(
    acme: Module, receivers: Receivers, channelled: Channelled, routed: Routed, notifying: Notifying, look: Look
) -> None:
    receiver = receivers((202, {}, b'{"status": "success"}'))
    routed("pages", channel=channelled("pages", "pagerduty", routing_key=KEY, url=receiver.url))
    told = trigger(acme, severity="critical", component="feed-7", custom_details={"late_s": 90})
    notifying(lambda: look("SELECT 1 FROM notifications WHERE status = 'delivered'"))
    resolve(acme, told["dedup_key"])
    notifying(lambda: len(receiver.told) == 2)
    first, second = (each.event for each in receiver.told)
    assert (first["event_action"], second["event_action"]) == ("trigger", "resolve")
    assert first["dedup_key"] == second["dedup_key"] == told["notification_id"]
    assert first["routing_key"] == KEY
    assert first["payload"]["custom_details"] == {"late_s": 90}
    kept = str(look("SELECT * FROM notification_attempts")) + str(look("SELECT type, data FROM events"))
    assert KEY not in kept


@pytest.mark.parametrize("kind", ["pagerduty", "slack"])
def test_whoever_is_asked_too_often_says_when_it_may_be_asked_again(
    kind: str,
    acme: Module,
    receivers: Receivers,
    channelled: Channelled,
    routed: Routed,
    notifying: Notifying,
    look: Look,
) -> None:
    receiver = receivers((429, {"Retry-After": "120"}, b""))
    settings = {"routing_key": KEY} if kind == "pagerduty" else {}
    routed("busy", channel=channelled("busy", kind, url=receiver.url, **settings))
    trigger(acme, severity="critical")
    notifying(lambda: look("SELECT 1 FROM notification_deliveries WHERE tries = 1"))
    (waiting,) = look(
        "SELECT due_at - clock_timestamp() > interval '110 s' AS delivery,"
        " left_alone_until - clock_timestamp() > interval '110 s' AS channel"
        " FROM notification_deliveries JOIN notification_channels USING (channel_id)"
    )
    assert waiting == {"delivery": True, "channel": True}
    assert len(receiver.told) == 1


def test_a_chat_is_told_without_markup_of_ours_or_of_others(
    acme: Module, receivers: Receivers, channelled: Channelled, routed: Routed, notifying: Notifying
) -> None:
    receiver = receivers((200, {}, b"ok"))
    routed("chat", channel=channelled("chat", "slack", url=receiver.url))
    trigger(acme, severity="critical", summary="<!channel> it burns & smokes")
    notifying(lambda: receiver.told)
    assert receiver.told[0].event["text"] == "[CRITICAL] &lt;!channel&gt; it burns &amp; smokes (acme)"


def test_a_channel_is_led_nowhere_else(
    acme: Module,
    receivers: Receivers,
    channelled: Channelled,
    routed: Routed,
    notifying: Notifying,
    deliveries: Deliveries,
) -> None:
    inside = receivers()
    outside = receivers((302, {"Location": inside.url}, b""))
    routed("hook", channel=channelled("hook", "webhook", url=outside.url, secret=SECRET))
    trigger(acme, severity="critical")
    notifying(lambda: [each["tries"] for each in deliveries()] == [1])
    assert deliveries()[0]["note"] == "status_302"
    assert inside.told == []


def test_an_address_inside_is_refused_unless_an_operator_granted_it(
    acme: Module,
    receivers: Receivers,
    channelled: Channelled,
    routed: Routed,
    notifying: Notifying,
    deliveries: Deliveries,
    loopback: Path,
) -> None:
    loopback.write_text(json.dumps({"acme": {"networks": ["127.0.0.0/8"]}}))  # a tenant's grant is no channel's
    receiver = receivers()
    routed("hook", channel=channelled("hook", "webhook", url=receiver.url, secret=SECRET))
    trigger(acme, severity="critical")
    notifying(lambda: [each["state"] for each in deliveries()] == ["failed"])
    assert deliveries()[0]["note"] == "address_forbidden"
    assert receiver.told == []


def test_a_cap_makes_fewer_messages_of_the_same_news(
    acme: Module, posts: Posts, channelled: Channelled, routed: Routed, notifying: Notifying, look: Look
) -> None:
    post = posts()
    capped = channelled("mail", url=post.url, per_minute=1)  # type: ignore[arg-type]
    routed("mail", channel=capped, group_by=["component"])
    for number in range(3):
        trigger(acme, severity="critical", component=f"feed-{number}", dedup_key=f"k{number}")
    notifying(lambda: post.mails)
    notifying(lambda: look("SELECT 1 FROM notifications WHERE status = 'delivered'"))
    assert len(look("SELECT 1 FROM notification_deliveries WHERE state = 'queued' AND NOT under_way")) == 2
    assert len(post.mails) == 1


class TestTestMessages:
    """A channel that is asked only in need is found broken only in need."""

    def test_without_a_test_address_there_are_none(
        self, posts: Posts, channelled: Channelled, notifying: Notifying, look: Look
    ) -> None:
        post = posts()
        channelled("mail", url=post.url, tested_every_s=300)  # type: ignore[arg-type]
        notifying(lambda: look("SELECT 1 FROM notification_channels WHERE test_at IS NOT NULL"))
        assert post.tried == 0

    def test_one_that_is_not_taken_is_an_alert_until_one_is(
        self, posts: Posts, channelled: Channelled, notifying: Notifying, change: Change, look: Look
    ) -> None:
        post = posts("451 not now")
        channelled("mail", url=post.url, test_address="canary@example.org", tested_every_s=300)  # type: ignore[arg-type]
        notifying(lambda: look("SELECT 1 FROM notifications WHERE source = 'notifications' AND component = 'mail'"))
        assert look("SELECT test_error FROM notification_channels WHERE name = 'mail'") == [{"test_error": "refused"}]
        post.behaviour = "250 OK"
        change("UPDATE notification_channels SET test_at = NULL WHERE name = 'mail'")
        notifying(lambda: look("SELECT 1 FROM notifications WHERE resolved"))
        (mail,) = post.mails
        assert mail["To"] == "canary@example.org"


class TestSeeds:
    """What a fresh local plane tells to whom."""

    def test_where_there_is_mail_the_operator_gets_it_and_the_inbox_as_well(
        self, acme: Module, posts: Posts, notifying: Notifying, deliveries: Deliveries, settings: Any, look: Look
    ) -> None:
        post = posts()
        settings.ENVIRONMENT = replace(settings.ENVIRONMENT, email_url=post.url)
        with operator_reading():
            upkeep.ensure_inbox()
            seeds.lay(email_url=post.url)
            seeds.lay(email_url=post.url)
        trigger(acme, severity="critical")
        notifying(lambda: look("SELECT 1 FROM notifications WHERE channel = 'operator-mail'"))
        assert sorted((each["by"], each["state"]) for each in deliveries()) == [
            ("inbox", "sent"), ("operator-mail", "sent"),
        ]  # fmt: skip
        assert post.mails[0]["To"] == "oncall@example.org"

    def test_where_there_is_none_nothing_is_laid(self, db: None, look: Look) -> None:
        with operator_reading():
            upkeep.ensure_inbox()
            seeds.lay(email_url="consolemail://")
        assert look("SELECT name FROM notification_channels") == [{"name": "inbox"}]
        assert look("SELECT 1 FROM notification_routes") == []

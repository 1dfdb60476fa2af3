"""A mail server that hangs, refuses or breaks off: the fallback tells in time, and the primary goes on trying."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.conftest import Change, Look
from tests.integration.notifications.conftest import SECRET, Channelled, Notifying, Routed, resolve, trigger
from tests.support.api import Module
from tests.support.receiver import Receiver
from tests.support.smtp import Post

Deliveries = Callable[[], list[dict[str, Any]]]
Status = Callable[[dict[str, Any]], str]
Receivers = Callable[..., Receiver]
Posts = Callable[..., Post]
WITHIN_S = 20.0
OWN_ANSWER = "SELECT extract(epoch FROM delivered_at - timestamp)::float8 AS s, channel FROM notifications"


@pytest.mark.parametrize("behaviour", ["hang", "drop", "451 not now", "554 never"])
def test_the_fallback_tells_within_twenty_seconds(
    behaviour: str,
    acme: Module,
    posts: Posts,
    receivers: Receivers,
    channelled: Channelled,
    routed: Routed,
    notifying: Notifying,
    deliveries: Deliveries,
    look: Look,
) -> None:
    post, receiver = posts(behaviour), receivers()
    hook = channelled("hook", "webhook", url=receiver.url, secret=SECRET)
    routed("mail", channel=channelled("mail", url=post.url, fallback=hook))  # type: ignore[arg-type]
    trigger(acme, severity="critical")
    notifying(lambda: receiver.told, within_s=WITHIN_S)
    notifying(lambda: look(OWN_ANSWER)[0]["s"] is not None)
    (answer,) = look(OWN_ANSWER)
    assert answer["s"] < WITHIN_S
    assert answer["channel"] == "hook"
    primary, fallback = deliveries()
    assert (fallback["by"], fallback["reason"], fallback["state"]) == ("hook", "fallback", "sent")
    assert primary["state"] == ("failed" if behaviour.startswith("5") else "queued"), "it goes on trying what may pass"


def test_a_server_that_is_not_there_is_noticed_at_once_and_tried_again(
    acme: Module,
    posts: Posts,
    receivers: Receivers,
    channelled: Channelled,
    routed: Routed,
    notifying: Notifying,
    deliveries: Deliveries,
    change: Change,
    look: Look,
) -> None:
    post, receiver = posts("451 not now"), receivers()
    hook = channelled("hook", "webhook", url=receiver.url, secret=SECRET)
    routed("mail", channel=channelled("mail", url=post.url, fallback=hook))  # type: ignore[arg-type]
    trigger(acme, severity="critical")
    notifying(lambda: receiver.told)
    post.behaviour = "250 OK"
    change("UPDATE notification_deliveries SET due_at = clock_timestamp() WHERE state = 'queued'")
    notifying(lambda: post.mails)
    notifying(lambda: [each["state"] for each in deliveries()] == ["sent", "sent"])
    attempts = look("SELECT accepted, status, error, message_id FROM notification_attempts ORDER BY at")
    by_mail = [each for each in attempts if each["message_id"] == deliveries()[0]["message_id"]]
    assert [(each["accepted"], each["status"]) for each in by_mail] == [(False, 451), (True, None)]


def test_a_fallback_that_fails_has_a_fallback_of_its_own(
    acme: Module, posts: Posts, channelled: Channelled, routed: Routed, notifying: Notifying, deliveries: Deliveries
) -> None:
    first, second, third = posts("554 never"), posts("554 never"), posts()
    last = channelled("third", url=third.url)
    middle = channelled("second", url=second.url, fallback=last)  # type: ignore[arg-type]
    routed("mail", channel=channelled("first", url=first.url, fallback=middle))  # type: ignore[arg-type]
    trigger(acme, severity="critical")
    notifying(lambda: third.mails)
    notifying(lambda: [each["state"] for each in deliveries()] == ["failed", "failed", "sent"])
    assert [each["by"] for each in deliveries()] == ["first", "second", "third"]


def test_after_three_failures_a_channel_is_left_alone_and_its_fallback_does_not_wait_for_it(
    acme: Module,
    posts: Posts,
    channelled: Channelled,
    routed: Routed,
    notifying: Notifying,
    change: Change,
    look: Look,
) -> None:
    bad, good = posts("drop"), posts()
    fallback = channelled("good", url=good.url)
    routed("mail", channel=channelled("bad", url=bad.url, fallback=fallback))  # type: ignore[arg-type]
    trigger(acme, severity="critical", dedup_key="one")
    notifying(lambda: good.mails)
    tries = "SELECT 1 FROM notification_deliveries d JOIN notification_channels USING (channel_id)"
    for count in (1, 2):
        notifying(lambda count=count: look(f"{tries} WHERE name = 'bad' AND tries = {count}"))  # type: ignore[misc]
        change("UPDATE notification_deliveries SET due_at = clock_timestamp() WHERE state = 'queued' AND NOT under_way")
    open_now = "SELECT failures FROM notification_channels WHERE name = 'bad' AND left_alone_until > clock_timestamp()"
    notifying(lambda: look(open_now))
    tried = bad.tried
    trigger(acme, severity="critical", dedup_key="two")
    notifying(lambda: len(good.mails) == 2, within_s=2)
    assert bad.tried == tried


def test_what_is_resolved_or_acknowledged_calls_no_fallback_any_more(
    acme: Module,
    posts: Posts,
    channelled: Channelled,
    routed: Routed,
    notifying: Notifying,
    deliveries: Deliveries,
    change: Change,
) -> None:
    post, other = posts("451 not now"), posts()
    routed("mail", channel=channelled("mail", url=post.url))
    told = trigger(acme, severity="critical")
    notifying(lambda: post.tried)
    notifying(lambda: deliveries()[0]["tries"] == 1)
    resolve(acme, told["dedup_key"])
    notifying(lambda: deliveries()[0]["state"] == "skipped")
    (only,) = deliveries()
    assert only["note"] == "resolved before it was sent"
    assert (other.mails, only["hedge_at"]) == ([], None)


def test_what_ends_while_it_is_under_way_and_then_fails_is_told_to_nobody(
    acme: Module,
    receivers: Receivers,
    channelled: Channelled,
    routed: Routed,
    notifying: Notifying,
    deliveries: Deliveries,
    look: Look,
    change: Change,
) -> None:
    go_on = threading.Event()

    def refuse(_: Any) -> tuple[int, dict[str, str], bytes]:
        go_on.wait(30)
        return 503, {}, b""

    receiver = receivers(refuse)
    routed("hook", channel=channelled("hook", "webhook", url=receiver.url, secret=SECRET))
    told = trigger(acme, severity="critical")
    notifying(lambda: receiver.open_now)
    resolve(acme, told["dedup_key"])
    notifying(lambda: not look("SELECT 1 FROM notification_signals WHERE handled_at IS NULL"))
    go_on.set()
    notifying(lambda: deliveries()[0]["state"] == "skipped")
    assert deliveries()[0]["note"] == "resolved before it was sent"
    assert len(deliveries()) == 1


def test_whoever_is_told_by_the_fallbacks_channel_anyway_is_told_once(
    acme: Module,
    posts: Posts,
    receivers: Receivers,
    channelled: Channelled,
    routed: Routed,
    notifying: Notifying,
    deliveries: Deliveries,
) -> None:
    receiver = receivers()
    hook = channelled("hook", "webhook", url=receiver.url, secret=SECRET)
    mail = channelled("mail", url=posts("554 never").url, fallback=hook)  # type: ignore[arg-type]
    routed("mail", channel=mail, goes_on=True, position=1)
    routed("hook", channel=hook, position=2)
    trigger(acme, severity="critical")
    notifying(lambda: {each["state"] for each in deliveries()} == {"failed", "sent"})
    notifying(lambda: not [each for each in deliveries() if each["hedge_at"]])
    assert sorted(each["by"] for each in deliveries()) == ["hook", "mail"]
    assert len(receiver.told) == 1


def test_the_end_is_told_to_those_who_were_told_and_to_no_others(
    acme: Module,
    posts: Posts,
    receivers: Receivers,
    channelled: Channelled,
    routed: Routed,
    notifying: Notifying,
    deliveries: Deliveries,
) -> None:
    bad, receiver, bystander = posts("554 never"), receivers(), posts()
    hook = channelled("hook", "webhook", url=receiver.url, secret=SECRET)
    channelled("bystander", url=bystander.url)
    routed("mail", channel=channelled("mail", url=bad.url, fallback=hook))  # type: ignore[arg-type]
    told = trigger(acme, severity="critical")
    notifying(lambda: [each["state"] for each in deliveries()] == ["failed", "sent"])
    resolve(acme, told["dedup_key"])
    notifying(lambda: len(receiver.told) == 2)
    assert receiver.told[1].event["data"]["notifications"][0]["event_action"] == "resolve"
    notifying(lambda: len(deliveries()) == 3 and deliveries()[2]["state"] == "sent")
    assert (deliveries()[2]["by"], deliveries()[2]["reason"]) == ("hook", "resolved")
    assert (bad.tried, bystander.mails) == (1, [])

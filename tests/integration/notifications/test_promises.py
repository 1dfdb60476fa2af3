"""What is promised: 1,000 alerts within two seconds, somebody told by the deadline, and said so where nobody was."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.core.ids import uuid7
from apps.notifications.operations import auditing, notify
from tests.integration.conftest import Change, Control, Look
from tests.integration.notifications.conftest import Channelled, Notifying, Routed, trigger
from tests.support.api import Module
from tests.support.smtp import Post
from workers import notifier as worker
from workers.notifier import Notifier

Deliveries = Callable[[], list[dict[str, Any]]]
Status = Callable[[dict[str, Any]], str]
Posts = Callable[..., Post]
P95 = """
SELECT percentile_cont(0.95) WITHIN GROUP (ORDER BY extract(epoch FROM delivered_at - timestamp))::float8 AS s,
       count(delivered_at) AS delivered FROM notifications
"""


def raised(count: int, *, first: int = 0, severity: str = "error") -> None:
    """Raise alerts of as many components, as reactions do."""
    for place in range(first, first + count):
        notify(
            tenant_id="acme",
            action="trigger",
            severity=severity,
            category="alert",
            source="data-acquisition",
            component=f"feed-{place}",
            summary=f"The feed {place} is late.",
            dedup_key=f"feed-{place}",
            by="tests",
            cause_event_id=uuid7(),
        )


@pytest.mark.alone
@pytest.mark.parametrize("severity", ["error", "critical"])
def test_of_a_thousand_alerts_nineteen_of_twenty_are_mailed_within_two_seconds(
    severity: str,
    notifier: Notifier,
    control: Control,
    posts: Posts,
    channelled: Channelled,
    routed: Routed,
    look: Look,
) -> None:
    routed("mail", channel=channelled("mail", url=posts().url))
    end = time.monotonic() + 60
    with control():
        for first in range(0, 1000, 50):
            raised(50, first=first, severity=severity)
            notifier.step()
        while look(P95)[0]["delivered"] < 1000:
            assert time.monotonic() < end
            notifier.step()
    assert look(P95)[0]["s"] < 2.0


def test_a_look_asks_as_much_for_many_alerts_as_for_few(
    notifier: Notifier, control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "UPKEEP_EVERY_S", 3600)  # it comes with the clock, not with alerts
    counts = []
    with control():
        notifier.step()
        for number in (3, 300):
            raised(number, first=number * 1000)
            with CaptureQueriesContext(connection) as asked:
                notifier.step()
            counts.append(len(asked))
    assert counts[0] == counts[1], counts


def test_whom_nobody_told_by_the_deadline_is_said_and_paged_by_another_channel(
    acme: Module,
    posts: Posts,
    channelled: Channelled,
    routed: Routed,
    notifying: Notifying,
    deliveries: Deliveries,
    status: Status,
    change: Change,
    look: Look,
) -> None:
    dead, other = posts("451 not now"), posts()
    routed("mail", channel=channelled("mail", url=dead.url))
    told = trigger(acme, severity="critical")
    notifying(lambda: dead.tried)
    channelled("pager", url=other.url)
    assert status(told) == "pending"
    change("UPDATE notification_deadlines SET due_at = clock_timestamp()")
    notifying(lambda: other.mails)
    notifying(lambda: status(told) == "delivered")
    events = look("SELECT subject, data FROM events WHERE type = 'operations.alert.undelivered'")
    assert [event["subject"] for event in events] == [told["notification_id"]]
    assert "late" not in str(events[0]["data"])
    assert [(each["by"], each["reason"]) for each in deliveries()][1] == ("pager", "out_of_band")
    (promise,) = look("SELECT met_at, breached_at FROM notification_deadlines")
    assert promise["breached_at"] < promise["met_at"], "the breach stays in the ledger"


def test_without_another_channel_it_is_undelivered_and_in_the_inbox(
    acme: Module,
    posts: Posts,
    channelled: Channelled,
    routed: Routed,
    notifying: Notifying,
    status: Status,
    change: Change,
    look: Look,
) -> None:
    routed("mail", channel=channelled("mail", url=posts("554 never").url))
    told = trigger(acme, severity="critical")
    notifying(lambda: look("SELECT 1 FROM notification_deliveries WHERE state = 'failed'"))
    change("UPDATE notification_deadlines SET due_at = clock_timestamp()")
    notifying(lambda: status(told) == "undelivered")
    assert look("SELECT audience FROM inbox_items WHERE audience = 'operators'")


def test_a_dead_notifier_hides_nothing_from_the_other_auditor(acme: Module, control: Control, change: Change) -> None:
    trigger(acme)
    change("UPDATE notification_deadlines SET due_at = clock_timestamp() - interval '3 s'")
    with control():
        assert auditing.audit(slack_s=10.0) == 0
        assert auditing.audit(slack_s=2.0) == 1
        assert auditing.audit(slack_s=2.0) == 0


def test_what_quiet_hours_hold_is_not_late(
    acme: Module, posts: Posts, channelled: Channelled, routed: Routed, notifying: Notifying, look: Look
) -> None:
    post = posts()
    whole_day = {"quiet_from": "00:00", "quiet_until": "23:59:59.999999"}
    routed("mail", channel=channelled("mail", url=post.url), **whole_day)
    trigger(acme, severity="warning", dedup_key="later")
    trigger(acme, severity="critical", dedup_key="now")
    notifying(lambda: post.mails)
    (mail,) = post.mails
    assert "CRITICAL" in mail["Subject"]
    waiting = look(
        "SELECT p.due_at > d.due_at AS later FROM notification_deliveries d"
        " JOIN notification_deadlines p USING (notification_id) JOIN notifications n ON n.id = notification_id"
        " WHERE dedup_key = 'later'"
    )
    assert waiting == [{"later": True}]


def test_two_notifiers_at_once_send_once(
    acme: Module, posts: Posts, channelled: Channelled, routed: Routed, control: Control, look: Look
) -> None:
    post = posts()
    routed("mail", channel=channelled("mail", url=post.url))
    with control():
        first, second = Notifier(), Notifier()
        first.step()
        second.step()
    for _ in range(20):
        trigger(acme, severity="critical")
    end = time.monotonic() + 20
    with control():
        while not look("SELECT 1 FROM notifications HAVING count(delivered_at) = 20"):
            assert time.monotonic() < end
            first.step()
            second.step()
        first.close()
        second.close()
    shown = " ".join(mail.get_content() for mail in post.mails)
    assert shown.count("The feed is late.") == 20

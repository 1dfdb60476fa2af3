"""Silences, inhibition, repetition, escalation, residency: what was decided, what came of it, what is said of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.core.management import call_command

from apps.core.ids import uuid7
from apps.notifications.operations import notify
from tests.integration.conftest import Change, Control, Look
from tests.integration.notifications.conftest import NOTIFY, Channelled, Notifying, Routed, resolve, trigger
from tests.support.api import Module, said
from tests.support.database import InRole
from tests.support.smtp import Post

Deliveries = Callable[[], list[dict[str, Any]]]
Status = Callable[[dict[str, Any]], str]
Posts = Callable[..., Post]
SILENCE = """
INSERT INTO notification_silences (silence_id, matchers, starts_at, ends_at, author, comment, created_at)
VALUES (%s, %s, clock_timestamp() - interval '1 min', clock_timestamp() + interval '1 h', 'ada', 'planned', now())
"""


@pytest.fixture
def mail(posts: Posts, channelled: Channelled, routed: Routed) -> Post:
    """A mailbox to which everything goes."""
    post = posts()
    routed("mail", channel=channelled("mail", url=post.url))
    return post


@pytest.fixture
def whether(in_role: InRole) -> Callable[..., str]:
    """Return what a command says, under the role that it has in life."""

    def ask(command: str, *words: object) -> str:
        out = StringIO()
        with in_role("control"):
            call_command(command, *[str(word) for word in words], stdout=out)
        return out.getvalue()

    return ask


def test_what_is_silenced_is_told_to_nobody_and_says_whose_silence_it_is(
    acme: Module, mail: Post, notifying: Notifying, status: Status, change: Change, look: Look
) -> None:
    change(SILENCE, uuid7(), ["component=~feed-.*"])
    silent, loud = trigger(acme, component="feed-1", dedup_key="a"), trigger(acme, component="api", dedup_key="b")
    notifying(lambda: status(loud) == "delivered")
    assert status(silent) == "suppressed"
    assert len(mail.mails) == 1
    (row,) = look("SELECT why FROM notifications WHERE id = %s", silent["notification_id"])
    assert [step["step"] for step in row["why"]] == ["decided", "silenced", "suppressed"]
    assert row["why"][1]["author"] == "ada"
    (promise,) = look("SELECT met_at FROM notification_deadlines WHERE notification_id = %s", silent["notification_id"])
    assert promise["met_at"] is not None, "a decision keeps the promise"


def test_what_is_still_so_when_a_silence_ends_is_told_by_itself(
    acme: Module, mail: Post, notifying: Notifying, status: Status, change: Change
) -> None:
    change(SILENCE, uuid7(), ["component=~feed-.*"])
    still, over = trigger(acme, component="feed-1", dedup_key="a"), trigger(acme, component="feed-2", dedup_key="b")
    notifying(lambda: status(still) == status(over) == "suppressed")
    resolve(acme, "b")
    change("UPDATE notification_silences SET ends_at = clock_timestamp()")
    notifying(lambda: status(still) == "delivered")
    assert status(over) == "suppressed"
    assert len(mail.mails) == 1


def test_a_muted_child_is_told_when_its_parent_no_longer_stands_before_it(
    mail: Post, notifying: Notifying, control: Control, look: Look
) -> None:
    def child(*, muted: str | None) -> None:
        notify(
            tenant_id=None, action="trigger", severity="critical", category="alert", source="jobs",
            component="scheduler", summary="The scheduler is down.", dedup_key="health:jobs/scheduler",
            by="notifications", cause_event_id=uuid7(), inhibited_by=muted,
        )  # fmt: skip

    with control():
        child(muted="health/database")
    notifying(lambda: look("SELECT 1 FROM notifications WHERE status = 'suppressed'"))
    assert mail.mails == []
    with control():
        child(muted=None)
    notifying(lambda: mail.mails)
    notifying(lambda: look("SELECT 1 FROM notifications WHERE status = 'delivered'"))


def test_what_grows_worse_is_told_again_and_what_only_repeats_is_not(
    acme: Module, mail: Post, notifying: Notifying, deliveries: Deliveries, status: Status
) -> None:
    told = trigger(acme, severity="warning", dedup_key="feed")
    notifying(lambda: status(told) == "delivered")
    trigger(acme, severity="warning", dedup_key="feed")
    trigger(acme, severity="critical", dedup_key="feed")
    notifying(lambda: len(mail.mails) == 2)
    assert [(each["reason"], each["round"]) for each in deliveries()] == [("first", 0), ("escalation", 1)]
    assert mail.mails[1]["Subject"].startswith("[CRITICAL]")


def test_what_goes_on_is_repeated_until_somebody_has_it(
    acme: Module,
    posts: Posts,
    channelled: Channelled,
    routed: Routed,
    notifying: Notifying,
    change: Change,
    deliveries: Deliveries,
    look: Look,
) -> None:
    post = posts()
    routed("mail", channel=channelled("mail", url=post.url), repeat_s=3600)
    trigger(acme, severity="critical", dedup_key="feed")
    notifying(lambda: post.mails)
    notifying(lambda: deliveries()[0]["state"] == "sent")
    long_ago = "UPDATE notification_groups SET told_at = told_at - interval '2 h'"
    change(long_ago)
    notifying(lambda: len(post.mails) == 2)
    assert deliveries()[1]["reason"] == "repeat"
    said(acme.post({"event_action": "acknowledge", "dedup_key": "feed"}, path=NOTIFY), 202)
    notifying(lambda: not look("SELECT 1 FROM notification_signals WHERE handled_at IS NULL"))
    change(long_ago)
    notifying(lambda: look("SELECT 1 FROM notification_groups WHERE repeat_s = 0"))
    assert len(post.mails) == 2, "whoever has it is not paged again"


def test_a_tenant_whose_data_must_stay_is_not_told_by_a_channel_elsewhere(
    acme: Module,
    posts: Posts,
    channelled: Channelled,
    routed: Routed,
    notifying: Notifying,
    change: Change,
    deliveries: Deliveries,
) -> None:
    change("UPDATE tenants SET region = 'eu' WHERE tenant_id = 'acme'")
    abroad, home = posts(), posts()
    near = channelled("near", url=home.url, regions=["eu"])  # type: ignore[arg-type]
    routed("mail", channel=channelled("far", url=abroad.url, regions=["us"], fallback=near))  # type: ignore[arg-type]
    trigger(acme, severity="critical")
    notifying(lambda: home.mails)
    refused, sent = deliveries()
    assert (refused["by"], refused["state"]) == ("far", "skipped")
    assert refused["note"] == "residency: it must stay in eu, and the channel is in us"
    assert sent["by"] == "near"
    assert abroad.tried == 0


def test_a_storm_becomes_few_mails(
    acme: Module, posts: Posts, channelled: Channelled, routed: Routed, notifying: Notifying, look: Look
) -> None:
    post = posts()
    routed("mail", channel=channelled("mail", url=post.url))
    for number in range(60):
        trigger(acme, dedup_key=f"k{number}", component=f"feed-{number}")
    notifying(lambda: look("SELECT 1 FROM notifications HAVING count(delivered_at) = 60"))
    assert len(post.mails) <= 5
    assert sum(mail.get_content().count("The feed is late.") for mail in post.mails) >= 50


def test_what_is_over_before_anybody_was_told_is_told_to_nobody(
    acme: Module, mail: Post, notifying: Notifying, status: Status
) -> None:
    told = trigger(acme)
    resolve(acme, told["dedup_key"])
    notifying(lambda: status(told) == "suppressed")
    assert mail.mails == []


class TestWhy:
    """“Why was (not) I told?”"""

    def test_the_story_of_a_notification_names_routes_channels_and_attempts(
        self, acme: Module, mail: Post, notifying: Notifying, status: Status, whether: Callable[..., str]
    ) -> None:
        told = trigger(acme, severity="critical")
        notifying(lambda: status(told) == "delivered")
        story = whether("why_told", told["notification_id"], "--for", "operators")
        assert "operators: yes, by mail." in story
        assert "route: route mail, matched True" in story
        assert "by mail (email), as first: sent" in story
        assert "person:ada: no, it was for operators, tenant." in whether(
            "why_told", told["notification_id"], "--for", "person:ada"
        )
        assert "inbox: no, no route led there" in whether("why_told", told["notification_id"], "--for", "inbox")

    def test_an_event_tells_of_what_it_caused_and_another_why_it_caused_nothing(
        self, control: Control, look: Look, change: Change, whether: Callable[..., str]
    ) -> None:
        cause, unheard, step = uuid7(), uuid7(), uuid7()
        with control():
            made = notify(
                tenant_id="acme", action="trigger", severity="error", category="alert", source="jobs",
                summary="It failed.", by="notifications", cause_event_id=cause,
            )  # fmt: skip
        event = (
            "INSERT INTO events (event_id, tenant_id, type, subject, data, occurred_at)"
            " VALUES (%s, 'acme', %s, 'x', %s::jsonb, now())"
        )
        change(event, unheard, "operations.job.completed", "{}")
        change(event, step, "operations.job.failed", json.dumps({"parent_id": str(uuid7())}))
        assert f"Notification {made}: error alert of jobs" in whether("why_told", cause)
        assert "nobody is told of events of this type" in whether("why_told", unheard)
        assert "only the plan is told of" in whether("why_told", step)
        assert "There is no event and no notification" in whether("why_told", UUID(int=3))


class TestSimulator:
    """What edited routes would have done."""

    def test_drafts_are_compared_over_what_was_told_and_change_nothing(
        self,
        acme: Module,
        posts: Posts,
        channelled: Channelled,
        routed: Routed,
        notifying: Notifying,
        status: Status,
        whether: Callable[..., str],
        tmp_path: Path,
    ) -> None:
        post = posts()
        channel = channelled("mail", url=post.url)
        first, second = trigger(acme, severity="critical", dedup_key="a"), trigger(acme, dedup_key="b")
        notifying(lambda: {status(first), status(second)} == {"delivered"})
        routed("pages", "severity=critical", channel=channel, draft=True)
        told = whether("route_simulate", "--days", "1")
        assert "2 notifications; 1 would take another way." in told
        assert "1 by mail instead of inbox" in told
        assert first["notification_id"] in told
        file = tmp_path / "routes.json"
        file.write_text(json.dumps([{"name": "all", "channel": "mail", "matchers": ["severity=~.*"]}]))
        assert "2 by mail instead of inbox" in whether("route_simulate", "--routes", str(file))
        assert post.mails == []

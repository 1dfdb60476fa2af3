"""Kinds of channels: what an operator may type, and what a message looks like to each."""

from __future__ import annotations

import warnings
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from apps.notifications import kinds, wording
from apps.notifications.kinds import BadSettingError, Item, Message
from opsplatform import wiring
from workers.channels import apprise as apprise_channel
from workers.channels import pagerduty, slack

AT = datetime(2026, 1, 1, 12, tzinfo=UTC)


def item(**more: Any) -> Item:
    values: dict[str, Any] = {
        "notification_id": UUID(int=7), "tenant_id": "acme", "severity": "error", "category": "alert",
        "source": "jobs", "component": "kpi.refresh", "group": None, "kind": None, "summary": "It failed.",
        "details": {}, "links": {}, "dedup_key": "k", "timestamp": AT, "resolved": False, "acknowledged": False,
        "repeats": 0, "reason": "first",
    }  # fmt: skip
    return Item(**{**values, **more})


def message(*items: Item, public_url: str | None = "https://ops.example.org") -> Message:
    return Message(message_id=UUID(int=1), channel="c", at=AT, items=items or (item(),), public_url=public_url)


class TestSettings:
    """What may be typed."""

    @pytest.mark.parametrize(
        ("kind", "settings", "field"),
        [
            ("email", {"to": "nobody"}, "to"),
            ("email", {"to": "a@example.org", "url": "http://x"}, "url"),
            ("email", {"to": "a@example.org", "colour": "red"}, "colour"),
            ("webhook", {"url": "https://example.org/"}, "secret"),
            ("webhook", {"url": "ftp://example.org/", "secret": "whsec_c2VjcmV0"}, "url"),
            ("webhook", {"url": "https://example.org/", "secret": "not base64!"}, "secret"),
            ("pagerduty", {"routing_key": "short"}, "routing_key"),
            ("slack", {"url": "https://user:pw@example.org"}, "url"),
            ("apprise", {"url": "json://127.0.0.1/"}, "url"),
            ("apprise", {"url": "file:///etc/passwd"}, "url"),
            ("apprise", {"url": "zulip://bot@chat.internal.example/token"}, "url"),
            ("apprise", {"url": "tgram://token/chat?template=/etc/passwd"}, "url"),
            ("apprise", {"url": "tgram://token/chat?redirect=yes"}, "url"),
            ("apprise", {"url": "tgram://token/chat?+verify=no"}, "url"),
        ],
    )
    def test_what_cannot_be_used_is_refused_by_name_and_never_by_value(
        self, kind: str, settings: dict[str, str], field: str
    ) -> None:
        with pytest.raises(BadSettingError) as refused:
            kinds.kind_of(kind).checked(settings)
        assert refused.value.field == field
        assert not [value for value in settings.values() if len(value) > 5 and value in str(refused.value)]

    def test_each_kind_of_the_wiring_page_is_known_under_its_modules_name(self) -> None:
        assert kinds.names() == sorted(path.rpartition(".")[2] for path in wiring.CHANNELS)

    def test_who_stands_behind_it_is_said_without_a_secret(self) -> None:
        typed = {"url": "https://hooks.slack.com/services/T0/B0/secret"}
        assert kinds.kind_of("slack").provider(typed) == "hooks.slack.com"
        assert kinds.kind_of("apprise").provider({"url": "tgram://secret/chat"}) == "apprise:tgram"


class TestApprise:
    """Its schemes lead to hosts that the plugins fix."""

    @pytest.fixture
    def plugins(self) -> Any:
        with warnings.catch_warnings(
            action="ignore", category=DeprecationWarning
        ):  # of a plugin that is not on the list
            from apprise.manager_plugins import NotificationManager  # noqa: PLC0415 - slow, and for this class alone

            manager = NotificationManager()
            manager.load_modules()
        return manager

    def test_no_allowed_scheme_lets_an_address_name_the_host(self, plugins: Any) -> None:
        known = set(plugins.schemas())
        assert len(apprise_channel.SCHEMES & known) > 100
        loose = [
            scheme
            for scheme in sorted(apprise_channel.SCHEMES & known)
            if any("{host}" in template for template in plugins[scheme].templates)
        ]
        assert loose == []

    def test_it_may_do_nothing_beside_sending(self) -> None:
        asset = apprise_channel._asset()
        assert not asset.http_redirects
        assert not asset.allow_templates
        assert list(asset.plugin_paths) == []


class TestWording:
    """How it reads."""

    def test_the_worst_comes_first_and_the_rest_is_counted(self) -> None:
        many = message(item(), item(severity="critical", summary="It burns."), item(severity="info"))
        assert wording.subject(many) == "[CRITICAL] It burns. (acme) and 2 more"

    def test_a_subject_is_one_short_line_whatever_was_said(self) -> None:
        subject = wording.subject(message(item(summary="a\r\nBcc: x@example.org\n" * 40)))
        assert "\n" not in subject
        assert "\r" not in subject
        assert len(subject) <= wording.LONGEST_SUBJECT

    def test_a_text_tells_of_what_is_over_too(self) -> None:
        text = wording.text(message(item(), item(resolved=True, summary="It was.")))
        assert "error: It failed." in text
        assert "Over:\nresolved: It was." in text
        assert "https://ops.example.org/operations/notifications/" in text

    def test_nothing_in_a_chat_is_markup(self) -> None:
        body = slack._body(message(item(summary="<!channel> & <https://evil|click>")))
        assert body["attachments"][0]["text"] == "&lt;!channel&gt; &amp; &lt;https://evil|click&gt;"

    def test_pagerduty_resolves_under_the_key_it_was_triggered_with(self) -> None:
        events = [
            pagerduty._event(item(resolved=over), message=message(), routing_key="R" * 32) for over in (False, True)
        ]
        assert [event["event_action"] for event in events] == ["trigger", "resolve"]
        assert events[0]["dedup_key"] == events[1]["dedup_key"] == str(UUID(int=7))
        assert events[0]["payload"]["severity"] == "error"

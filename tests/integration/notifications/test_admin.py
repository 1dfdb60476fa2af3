"""What operators do in the admin: channels whose settings are seen by nobody, routes, silences, taking an alert on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from apps.notifications.secrets import SealBrokenError, opened
from apps.tenancy.context import operator_reading
from tests.integration.conftest import Look
from tests.integration.notifications.conftest import SECRET, Channelled, Notifying, trigger
from tests.support.api import Module, client
from tests.support.smtp import Post

CHANNELS = "/admin/notifications/channel"
Status = Callable[[dict[str, Any]], str]


@pytest.fixture
def operator(db: None) -> Client:
    """A browser in which an operator has signed in."""
    browser = client(headers={"Accept": "text/html"})
    with operator_reading():
        browser.force_login(get_user_model().objects.create_superuser("signed-in"))
    return browser


def channel(**more: str) -> dict[str, str]:
    form = {"name": "hook", "kind": "webhook", "enabled": "on", "clearance": "confidential"}
    return {**form, "settings": f"url: https://hooks.example.org/T0/very-secret\nsecret: {SECRET}", **more}


def test_a_channels_settings_are_sealed_and_shown_to_nobody(operator: Client, look: Look) -> None:
    answer = operator.post(f"{CHANNELS}/add/", channel())
    assert answer.status_code == 302, answer.content.decode()
    (row,) = look("SELECT * FROM notification_channels WHERE name = 'hook'")
    assert row["provider"] == "hooks.example.org"
    assert b"very-secret" not in bytes(row["sealed"])
    settings = opened(bytes(row["sealed"]), channel_id=row["channel_id"])
    assert settings["url"] == "https://hooks.example.org/T0/very-secret"
    for page in (f"{CHANNELS}/", f"{CHANNELS}/{row['channel_id']}/change/"):
        text = operator.get(page).content.decode()
        assert "hook" in text
        assert [secret for secret in ("very-secret", SECRET) if secret in text] == []


def test_what_is_sealed_for_one_channel_does_not_open_in_anothers_row(operator: Client, look: Look) -> None:
    operator.post(f"{CHANNELS}/add/", channel())
    (row,) = look("SELECT * FROM notification_channels WHERE name = 'hook'")
    with pytest.raises(SealBrokenError):
        opened(bytes(row["sealed"]), channel_id=UUID(int=7))


def test_a_setting_is_changed_by_itself_and_the_rest_stays(operator: Client, look: Look) -> None:
    operator.post(f"{CHANNELS}/add/", channel())
    (row,) = look("SELECT * FROM notification_channels WHERE name = 'hook'")
    form = {**channel(), "settings": "url: https://other.example.org/"}
    answer = operator.post(f"{CHANNELS}/{row['channel_id']}/change/", form)
    assert answer.status_code == 302, answer.content.decode()
    (row,) = look("SELECT * FROM notification_channels WHERE name = 'hook'")
    assert opened(bytes(row["sealed"]), channel_id=row["channel_id"]) == {
        "url": "https://other.example.org/", "secret": SECRET,
    }  # fmt: skip
    assert (row["provider"], row["version"]) == ("other.example.org", 2)


def test_a_setting_that_cannot_be_used_is_refused_by_name(operator: Client, look: Look) -> None:
    page = operator.post(f"{CHANNELS}/add/", channel(settings="url: ftp://very-secret")).content.decode()
    assert "secret: needed" in page
    assert look("SELECT 1 FROM notification_channels WHERE name = 'hook'") == []


def test_a_fallback_of_the_same_provider_is_flagged(operator: Client, channelled: Channelled) -> None:
    first = channelled("first", "webhook", url="https://hooks.example.org/1", secret=SECRET)
    page = operator.post(f"{CHANNELS}/add/", channel(fallback=str(first)), follow=True).content.decode()
    assert "they fail together" in page


def test_a_route_with_a_matcher_that_is_none_is_refused(operator: Client, look: Look) -> None:
    form = {"name": "bad", "position": "100", "matchers": "colour=red", "quiet_zone": "UTC"}
    page = operator.post("/admin/notifications/route/add/", form).content.decode()
    assert "colour=red" in page
    assert look("SELECT 1 FROM notification_routes") == []
    answer = operator.post("/admin/notifications/route/add/", {**form, "matchers": "severity=~critical|error"})
    assert answer.status_code == 302, answer.content.decode()
    (row,) = look("SELECT name, matchers, changed_by FROM notification_routes")
    assert row == {"name": "bad", "matchers": ["severity=~critical|error"], "changed_by": "signed-in"}


def test_a_silence_says_whose_it_is_and_can_be_ended(operator: Client, look: Look) -> None:
    form = {
        "matchers": "source=storage", "comment": "planned work",
        "starts_at_0": "2026-01-01", "starts_at_1": "00:00:00", "ends_at_0": "2100-01-01", "ends_at_1": "00:00:00",
    }  # fmt: skip
    answer = operator.post("/admin/notifications/silence/add/", form)
    assert answer.status_code == 302, answer.content.decode()
    (row,) = look("SELECT silence_id, author FROM notification_silences")
    assert row["author"] == "signed-in"
    chosen = {"action": "end", "_selected_action": [str(row["silence_id"])]}
    operator.post("/admin/notifications/silence/", chosen)
    assert look("SELECT 1 FROM notification_silences WHERE ends_at > clock_timestamp()") == []


def test_an_operator_takes_on_and_ends_what_is_a_tenants_and_what_is_nobodys(
    operator: Client, acme: Module, platform: Module, look: Look
) -> None:
    ids = [trigger(acme)["notification_id"], trigger(platform)["notification_id"]]
    for action in ("acknowledge", "resolve"):
        answer = operator.post("/admin/notifications/notification/", {"action": action, "_selected_action": ids})
        assert answer.status_code == 302, answer.content.decode()
    rows = look("SELECT acknowledged_by, resolved_by FROM notifications")
    assert rows == [{"acknowledged_by": "signed-in", "resolved_by": "signed-in"}] * 2


def test_every_page_opens_with_something_on_it(
    operator: Client,
    acme: Module,
    notifying: Notifying,
    posts: Callable[..., Post],
    channelled: Channelled,
    routed: Any,
    look: Look,
) -> None:
    routed("mail", channel=channelled("mail", url=posts().url))
    told = trigger(acme)
    notifying(lambda: look("SELECT 1 FROM notifications WHERE status = 'delivered'"))
    page = operator.get(f"/admin/notifications/notification/{told['notification_id']}/change/").content.decode()
    assert "by mail (email), as first: sent" in page
    for model in ("notification", "signal", "delivery", "attempt", "deadline", "group", "channel", "route"):
        answer = operator.get(f"/admin/notifications/{model}/")
        assert answer.status_code == 200
        key = look(f"SELECT * FROM {TABLES[model]} LIMIT 1")[0]
        answer = operator.get(f"/admin/notifications/{model}/{key[KEYS[model]]}/change/")
        assert answer.status_code == 200, model


TABLES = {
    "notification": "notifications", "signal": "notification_signals", "delivery": "notification_deliveries",
    "attempt": "notification_attempts", "deadline": "notification_deadlines", "group": "notification_groups",
    "channel": "notification_channels", "route": "notification_routes",
}  # fmt: skip
KEYS = {
    "notification": "id", "signal": "signal_id", "delivery": "delivery_id", "attempt": "attempt_id",
    "deadline": "notification_id", "group": "group_id", "channel": "channel_id", "route": "route_id",
}  # fmt: skip

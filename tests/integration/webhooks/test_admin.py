"""Admin pages of webhooks: an operator sees who is told what, and why somebody is not told any more; and no secret."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from apps.tenancy.context import operator_reading
from tests.integration.webhooks.conftest import Hooked, Sending
from tests.support.receiver import Receiver
from tests.support.work import admitted


@pytest.fixture
def operator(db: None) -> Client:
    """A browser in which an operator has signed in."""
    browser = Client(headers={"Accept": "text/html"})
    with operator_reading():
        browser.force_login(get_user_model().objects.create_superuser("signed-in"))
    return browser


def test_pages_say_what_is_told_what_came_of_it_and_why_nothing_is_told_any_more(
    operator: Client,
    receiver: Receiver,
    hooked: Hooked,
    sending: Sending,
    deliveries: Callable[[], list[dict[str, Any]]],
) -> None:
    receiver.answer = (410, {}, b"")
    webhook = hooked(receiver)
    admitted()
    sending(lambda: [row["state"] for row in deliveries()] == ["failed"])
    (delivery,) = deliveries()
    pages = {
        "/admin/webhooks/webhook/": ["acme", "disabled", "gone", "operations.job.*"],
        f"/admin/webhooks/webhook/{webhook['webhook_id']}/change/": [
            receiver.url,
            "gone",
            "Deliveries of this webhook",
        ],
        "/admin/webhooks/delivery/": ["operations.job.submitted", "failed", "410"],
        f"/admin/webhooks/delivery/?webhook__webhook_id__exact={webhook['webhook_id']}": ["410"],
        f"/admin/webhooks/delivery/{delivery['delivery_id']}/change/": [str(delivery["event_id"]), "410", "failed"],
    }
    for path, words in pages.items():
        answer = operator.get(path)
        assert answer.status_code == 200, path
        page = answer.content.decode()
        assert [word for word in words if word not in page] == [], path
        assert webhook["secret"] not in page
    nobodys = operator.get("/admin/webhooks/delivery/?webhook__webhook_id__exact=0198f3a2-7b1c-7d3e-8f4a-5b6c7d8e9f00")
    assert str(delivery["delivery_id"]) not in nobodys.content.decode()

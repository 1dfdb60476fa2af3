"""PagerDuty's Events API v2: an event a notification, resolved under the key it was triggered with."""

from __future__ import annotations

from typing import Any, Final

import orjson

from apps.notifications import wording
from apps.notifications.kinds import BadSettingError, Field, Item, Kind, Message, Settings
from apps.notifications.lifecycle import Answer
from workers.channels import http

ENQUEUE: Final = "https://events.pagerduty.com/v2/enqueue"
KEY_LENGTH: Final = 32
LONGEST_SUMMARY: Final = 1024


def send(message: Message, settings: Settings) -> Answer:
    """Enqueue one event and return what came of it. 429 says how long to wait."""
    (item,) = message.items
    return http.post(
        settings.get("url", ENQUEUE),
        body=orjson.dumps(_event(item, message=message, routing_key=settings["routing_key"])),
        headers={"Content-Type": "application/json"},
        message=message,
    )


def check(settings: Settings) -> None:
    """Refuse a key that is none; raises `BadSettingError`."""
    key = settings["routing_key"]
    if len(key) != KEY_LENGTH or not key.isalnum():
        raise BadSettingError("routing_key", f"{KEY_LENGTH} letters and digits would be right")
    if "url" in settings:
        http.checked_url(settings, "url")


def _event(item: Item, *, message: Message, routing_key: str) -> dict[str, Any]:
    address = wording.address(item, public_url=message.public_url)
    return {
        "routing_key": routing_key,
        "event_action": "resolve" if item.resolved else "trigger",
        # The notification's own id: another module's or tenant's key cannot meet it.
        "dedup_key": str(item.notification_id),
        "client": "Platform Operations",
        **({"client_url": address} if address else {}),
        "payload": {
            "summary": item.summary[:LONGEST_SUMMARY],
            "source": item.tenant_id or "platform",
            "severity": item.severity,
            "timestamp": item.timestamp,
            "component": item.component or item.source,
            "group": item.group or item.source,
            "class": item.kind,
            "custom_details": dict(item.details),
        },
        "links": [{"href": href, "text": text} for text, href in item.links.items() if href.startswith("http")],
    }


KIND = Kind(
    name="pagerduty",
    title="PagerDuty (Events v2)",
    fields=(
        Field(name="routing_key", says="the integration key of a service", secret=True),
        Field(name="url", says=f"empty = {ENQUEUE}", required=False),
    ),
    send=send,
    provider=lambda settings: http.host_of(settings.get("url", ENQUEUE)),
    check=check,
    most=1,
    tested_by="routing_key",
)

"""A signed webhook: JSON, signed as Standard Webhooks asks, the same `webhook-id` for every try of a message."""

from __future__ import annotations

from typing import Any

import orjson

from apps.core import standard_webhooks
from apps.notifications.kinds import BadSettingError, Field, Item, Kind, Message, Settings
from apps.notifications.lifecycle import Answer
from workers.channels import http

TYPE = "operations.notification"


def send(message: Message, settings: Settings) -> Answer:
    """Post one message, signed by each secret, and return what came of it."""
    body = orjson.dumps({"type": TYPE, "timestamp": message.at, "data": {"notifications": _items(message)}})
    secrets = [settings[name] for name in ("secret", "previous_secret") if name in settings]
    signed = standard_webhooks.signed(
        body, message_id=str(message.message_id), secrets=secrets, at=int(message.at.timestamp())
    )
    return http.post(
        settings["url"], body=body, headers={"Content-Type": "application/json", **signed}, message=message
    )


def check(settings: Settings) -> None:
    """Refuse an address that is none, and secrets that are no base64; raises `BadSettingError`."""
    http.checked_url(settings, "url")
    for name in ("secret", "previous_secret"):
        if name in settings:
            try:
                standard_webhooks.signed(b"", message_id="", secrets=[settings[name]], at=0)
            except standard_webhooks.BadSecretError as error:
                raise BadSettingError(name, str(error)) from error


def _items(message: Message) -> list[dict[str, Any]]:
    return [_item(each) for each in message.items]


def _item(item: Item) -> dict[str, Any]:
    return {
        "notification_id": item.notification_id,
        "event_action": "resolve" if item.resolved else "trigger",
        "reason": item.reason,
        "tenant_id": item.tenant_id,
        "severity": item.severity,
        "category": item.category,
        "source": item.source,
        "component": item.component,
        "group": item.group,
        "class": item.kind,
        "summary": item.summary,
        "dedup_key": item.dedup_key,
        "custom_details": item.details,
        "links": [{"text": text, "href": href} for text, href in item.links.items()],
        "timestamp": item.timestamp,
    }


KIND = Kind(
    name="webhook",
    title="Signed webhook (Standard Webhooks)",
    fields=(
        Field(name="url", says="an https address", secret=True),
        Field(name="secret", says="whsec_ and base64: openssl rand -base64 32", secret=True),
        Field(name="previous_secret", says="signs as well, while its receiver changes", secret=True, required=False),
    ),
    send=send,
    provider=lambda settings: http.host_of(settings["url"]),
    check=check,
    most=100,
    tested_by="url",
)

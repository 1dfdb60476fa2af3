"""A chat's incoming webhook as Slack has it, and Mattermost, Rocket.Chat, Zulip and others after it."""

from __future__ import annotations

from typing import Any, Final

import orjson

from apps.notifications import wording
from apps.notifications.kinds import Field, Item, Kind, Message, Settings
from apps.notifications.lifecycle import Answer
from workers.channels import http

MOST_SHOWN: Final = 20
COLOURS: Final = {"info": "#3b82f6", "warning": "#f59e0b", "error": "#ef4444", "critical": "#991b1b"}
RESOLVED: Final = "#22c55e"


def send(message: Message, settings: Settings) -> Answer:
    """Post one message and return what came of it. 429 says how long to wait."""
    return http.post(
        settings["url"],
        body=orjson.dumps(_body(message)),
        headers={"Content-Type": "application/json"},
        message=message,
    )


def _body(message: Message) -> dict[str, Any]:
    items = [*wording.open_items(message), *wording.ended_items(message)]
    more = len(items) - MOST_SHOWN
    shown = [_attachment(each, message=message) for each in items[:MOST_SHOWN]]
    if more > 0:
        shown.append({"text": f"… and {more} more."})
    return {"text": escaped(wording.subject(message)), "attachments": shown}


def _attachment(item: Item, *, message: Message) -> dict[str, Any]:
    where = " / ".join(each for each in (item.tenant_id or "platform", item.source, item.component) if each)
    address = wording.address(item, public_url=message.public_url)
    return {
        "color": RESOLVED if item.resolved else COLOURS[item.severity],
        "fallback": escaped(item.summary),
        "text": escaped(item.summary),
        "footer": escaped(where),
        "ts": int(item.timestamp.timestamp()),
        **({"title": "resolved" if item.resolved else item.severity, "title_link": address} if address else {}),
    }


def escaped(text: str) -> str:
    """Return a text in which nothing is a link, a mention or markup of the chat's."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


KIND = Kind(
    name="slack",
    title="Slack-compatible webhook",
    fields=(Field(name="url", says="the incoming webhook's address", secret=True),),
    send=send,
    provider=lambda settings: http.host_of(settings["url"]),
    check=lambda settings: http.checked_url(settings, "url"),
    most=100,
    tested_by="url",
)

"""How a message reads to a person: a subject of one line, and a text. Values in, values out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from apps.notifications.kinds import Item, Message
from apps.notifications.lifecycle import Severity

LONGEST_SUBJECT: Final = 150
MOST_SHOWN: Final = 50


def open_items(message: Message) -> list[Item]:
    """Return what is still so, the worst first."""
    going_on = [each for each in message.items if not each.resolved]
    return sorted(going_on, key=lambda each: (-Severity(each.severity).rank, each.timestamp))


def ended_items(message: Message) -> list[Item]:
    """Return what is over."""
    return [each for each in message.items if each.resolved]


def subject(message: Message) -> str:
    """Return one line: of a single notification its summary, of many the worst and their number."""
    going_on, ended = open_items(message), ended_items(message)
    first = (going_on or ended)[0]
    mark = "RESOLVED" if not going_on else first.severity.upper()
    more = len(going_on or ended) - 1
    whose = f" ({first.tenant_id})" if first.tenant_id else ""
    text = f"[{mark}] {_one_line(first.summary)}{whose}" + (f" and {more} more" if more else "")
    return text if len(text) <= LONGEST_SUBJECT else text[: LONGEST_SUBJECT - 1] + "…"


def text(message: Message) -> str:
    """Return the whole message as plain text."""
    parts = [
        *_listed("", open_items(message), message=message),
        *_listed("Over:", ended_items(message), message=message),
    ]
    return "\n".join(parts).strip() + "\n"


def address(item: Item, *, public_url: str | None) -> str | None:
    """Return where a person can read more."""
    return None if public_url is None else f"{public_url}/operations/notifications/{item.notification_id}"


def _listed(title: str, items: Sequence[Item], *, message: Message) -> list[str]:
    if not items:
        return []
    lines = [title] if title else []
    for item in items[:MOST_SHOWN]:
        lines += _lines(item, message=message)
    if len(items) > MOST_SHOWN:
        lines += [f"… and {len(items) - MOST_SHOWN} more.", ""]
    return lines


def _lines(item: Item, *, message: Message) -> list[str]:
    where = " / ".join(each for each in (item.tenant_id or "platform", item.source, item.component) if each)
    again = f", {item.repeats + 1} times so far" if item.repeats else ""
    lines = [
        f"{'resolved' if item.resolved else item.severity}: {_one_line(item.summary)}",
        f"    {where}",
        f"    since {item.timestamp.isoformat(timespec='seconds')}{again}; told as {item.reason}",
    ]
    lines += [f"    {name}: {_one_line(str(value))}" for name, value in sorted(item.details.items())]
    lines += [f"    {title}: {url}" for title, url in item.links.items()]
    more = address(item, public_url=message.public_url)
    return [*lines, *([f"    {more}"] if more else []), ""]


def _one_line(text: str) -> str:
    return " ".join(text.split())

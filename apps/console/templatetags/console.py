"""Values as a reader meets them: times in their own zone, lengths of time in words, statuses with their colour."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

from apps.console import telling
from apps.core.admin.markup import brief, span

register = template.Library()


@register.simple_tag
def moment(value: datetime | str | None, precise: bool = False) -> SafeString | str:
    """Return a time: in UTC as it is sent, in the reader's zone once their browser has it; UTC when pointed at."""
    at = _at(value)
    if at is None:
        return ""
    utc = f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03}"
    shown = utc if precise else utc[:-4]
    return format_html(
        '<time datetime="{}" title="{} UTC" data-local="{}">{} UTC</time>',
        at.isoformat().replace("+00:00", "Z"),
        utc,
        "precise" if precise else "plain",
        shown,
    )


@register.simple_tag
def since(value: datetime | str | None) -> SafeString | str:
    """Return a length of time that still grows; the browser counts it, so that the page need not be sent again."""
    at = _at(value)
    if at is None:
        return ""
    iso = at.isoformat().replace("+00:00", "Z")
    return format_html('<span class="since" data-since="{}">since {}</span>', iso, f"{at:%H:%M:%S} UTC")


@register.filter
def duration(value: timedelta | float | None) -> str:
    """Return a length of time in its largest fitting unit."""
    return "" if value is None else span(value)


@register.filter
def words(value: str | None) -> str:
    """Return a name of the plane's as words."""
    return telling.words(value)


@register.filter
def tone(value: str | None) -> str:
    """Return the colour of a status, outcome or ending."""
    return telling.tone(value)


@register.filter
def brief_error(value: Any) -> str:
    """Return an error in one line."""
    return telling.error_in_words(value if isinstance(value, dict) else None)


@register.filter
def fields(value: Any) -> str:
    """Return a log line's fields in one line."""
    return brief(value or {})


@register.filter
def tail(value: UUID | str, length: int = 12) -> str:
    """Return the end of an id, which is enough to tell it from its neighbours."""
    return str(value)[-length:]


def _at(value: datetime | str | None) -> datetime | None:
    """Return a time in UTC; of a text, what it spells in ISO 8601, None where it spells none."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    return None if value is None else value.astimezone(UTC)

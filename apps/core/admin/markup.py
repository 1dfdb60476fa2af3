"""Values as a person reads them on an admin page. Pure: values in, safe HTML or words out."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.db import models
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

MILLISECOND_S, MINUTE_S, HOUR_S, DAY_S = 0.001, 60, 3600, 86_400


def code(text: str) -> SafeString:
    """Return `text` in a block that keeps its lines."""
    return format_html('<pre class="ops-code">{}</pre>', text)


def as_json(value: Any) -> SafeString | None:
    """Return a JSON value indented, names in their own order; None for None, so that the page shows its dash."""
    return None if value is None else code(json.dumps(value, indent=2, ensure_ascii=False))


def brief(value: Any) -> str:
    """Return a small JSON object in one line: `name value · name value`."""
    if not isinstance(value, dict):
        return "" if value is None else str(value)
    return " · ".join(f"{name} {_word(inner)}" for name, inner in value.items())


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def mono(text: object) -> SafeString:
    """Return an id or digest in letters of one width."""
    return format_html('<span class="ops-mono">{}</span>', text)


def link(model: type[models.Model], key: object, text: object = None) -> SafeString:
    """Return a link to the page of the row `key` of `model`."""
    address = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_change", args=[key])
    return format_html('<a class="ops-link ops-mono" href="{}">{}</a>', address, key if text is None else text)


def listing(model: type[models.Model], text: str, **filters: object) -> SafeString:
    """Return a link to the list of `model`, filtered by query parameters."""
    address = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
    query = "&".join(f"{name}={value}" for name, value in filters.items())
    return format_html('<a class="ops-link" href="{}?{}">{}</a>', address, query, text)


COLOURS = {"success", "danger", "warning", "info", "primary", "default"}


def badge(word: str, colour: str = "default") -> SafeString:
    """Return a word as a badge; `colour` is one of `COLOURS`."""
    return format_html('<span class="ops-badge ops-{}">{}</span>', colour, word)


def bar(part: float, colour: str = "primary") -> SafeString:
    """Return a bar that is filled by a part of 1, with the percentage to be read."""
    percent = round(100 * min(max(part, 0.0), 1.0))
    return format_html(
        '<div class="ops-bar" role="progressbar" aria-valuenow="{0}" aria-valuemin="0" aria-valuemax="100"'
        ' title="{0} %"><div class="ops-{1}" style="width: {0}%"></div></div>',
        percent,
        colour,
    )


def moment(instant: str | None) -> SafeString | str:
    """Return an instant as the API writes it, to the millisecond, in one line."""
    if not instant:
        return ""
    whole, _, fraction = instant.removesuffix("Z").partition(".")
    return format_html('<span class="ops-moment">{}.{}Z</span>', whole.replace("T", " "), fraction.ljust(3, "0")[:3])


def log_lines(lines: Iterable[Iterable[Any]]) -> SafeString:
    """Return log lines, [at, level, message, fields] each, as a terminal would show them."""
    rows = format_html_join(
        "",
        '<div class="ops-line"><span class="ops-faint">{}</span> <b class="ops-level-{}">{}</b> {}'
        ' <span class="ops-faint">{}</span></div>',
        ((str(at)[:23], level, level, message, brief(fields)) for at, level, message, fields in lines),
    )
    return format_html('<div class="ops-code ops-log">{}</div>', rows)


def span(seconds: float | timedelta) -> str:
    """Return a length of time in its largest fitting unit: `40 ms`, `12 s`, `3 min`, `5 h`, `2 d`."""
    length_s = seconds.total_seconds() if isinstance(seconds, timedelta) else seconds
    if length_s < 1:
        return f"{max(length_s, 0) * 1000:.0f} ms" if length_s >= MILLISECOND_S else "< 1 ms"
    if length_s < 2 * MINUTE_S:
        return f"{length_s:.0f} s"
    if length_s < 2 * HOUR_S:
        return f"{length_s / MINUTE_S:.0f} min"
    return f"{length_s / HOUR_S:.0f} h" if length_s < 2 * DAY_S else f"{length_s / DAY_S:.0f} d"

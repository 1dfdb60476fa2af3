"""What a request asks in its query, read strictly: an unknown, repeated or malformed filter is named, not ignored."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from apps.core.asked import MAX_PAGE, PAGE, bad_field, limit, query
from apps.core.ids import BadIdError, parse_id
from apps.jobs.fields import TRIGGERS
from apps.jobs.lifecycle import OUTCOMES, Priority, State
from apps.jobs.queries import Filters
from apps.jobs.retry import Retry

__all__ = [
    "FILTERS",
    "MAX_PAGE",
    "PAGE",
    "bad_field",
    "cursor",
    "dotted",
    "filters",
    "instant",
    "limit",
    "position",
    "query",
    "retry",
]

FILTERS = (
    "type", "status", "outcome", "contract", "environment", "priority", "trigger", "submitted_by", "concurrency_key",
    "parent_id", "submitted_after", "submitted_before",
)  # fmt: skip
POSITION_DIGITS = 15


def cursor(text: str | None) -> UUID | None:
    """Return the job a page begins after, as `next` of the page before named it."""
    if text is None:
        return None
    try:
        return parse_id(text)
    except BadIdError as error:
        raise bad_field("cursor", "`next` of the page before would be right") from error


def position(text: str | None) -> tuple[int, int]:
    """Return (fence, line) of a position in a log; before everything where none is given."""
    fence, dot, line = (text or "0.0").partition(".")
    if not dot or not all(part.isascii() and part.isdigit() and len(part) <= POSITION_DIGITS for part in (fence, line)):
        raise bad_field("after", "`next` of the answer before would be right")
    return int(fence), int(line)


def filters(asked: Mapping[str, str]) -> Filters:
    """Return the filters of a list, each checked by its kind."""
    return Filters(
        before=cursor(asked.get("cursor")),
        job_type=asked.get("type"),
        status=_word(asked, "status", among=[state.value for state in State]),
        outcome=_word(asked, "outcome", among=sorted(state.value for state in OUTCOMES)),
        contract=asked.get("contract"),
        environment=asked.get("environment"),
        priority=_priority(asked),
        trigger=_word(asked, "trigger", among=TRIGGERS),
        submitted_by=asked.get("submitted_by"),
        concurrency_key=asked.get("concurrency_key"),
        parent_id=_id(asked, "parent_id"),
        submitted_after=instant(asked, "submitted_after"),
        submitted_before=instant(asked, "submitted_before"),
    )


def _word(asked: Mapping[str, str], name: str, *, among: Collection[str]) -> str | None:
    """Return the value of a filter that knows its words."""
    text = asked.get(name)
    if text is not None and text not in among:
        raise bad_field(name, f"one of these would be right: {', '.join(among)}")
    return text


def _priority(asked: Mapping[str, str]) -> Priority | None:
    word = _word(asked, "priority", among=[each.word for each in Priority])
    return None if word is None else Priority[word.upper()]


def _id(asked: Mapping[str, str], name: str) -> UUID | None:
    if name not in asked:
        return None
    try:
        return parse_id(asked[name])
    except BadIdError as error:
        raise bad_field(name, "a job's id would be right") from error


def instant(asked: Mapping[str, str], name: str) -> datetime | None:
    """Return the time a filter names; it must say its offset, or two readers would take it for two times."""
    if name not in asked:
        return None
    try:
        instant = datetime.fromisoformat(asked[name])
    except ValueError as error:
        raise bad_field(name, "a time like 2026-01-31T12:00:00Z would be right") from error
    if instant.tzinfo is None:
        raise bad_field(name, "a time with its offset, like 2026-01-31T12:00:00Z, would be right")
    return instant


def retry(asked: Mapping[str, Any] | None, *, of: Retry) -> Retry | None:
    """Return the type's policy `of` with what a job asks otherwise; None where it asks nothing."""
    if not asked:
        return None
    try:
        return replace(of, **asked)
    except ValueError as error:
        raise bad_field("retry", str(error)) from error


def dotted(pointer: str) -> str:
    """Return a JSON Pointer as the rest of a dotted path."""
    return "".join(f".{part}" for part in pointer.split("/") if part)

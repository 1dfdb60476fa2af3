"""What a request asks in its query, read strictly: an unknown, repeated or malformed filter is named, not ignored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID

from apps.core.asked import MAX_PAGE, PAGE, bad_field, cursor, instant, limit, query, word
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
        status=word(asked, "status", among=[state.value for state in State]),
        outcome=word(asked, "outcome", among=sorted(state.value for state in OUTCOMES)),
        contract=asked.get("contract"),
        environment=asked.get("environment"),
        priority=_priority(asked),
        trigger=word(asked, "trigger", among=TRIGGERS),
        submitted_by=asked.get("submitted_by"),
        concurrency_key=asked.get("concurrency_key"),
        parent_id=_id(asked, "parent_id"),
        submitted_after=instant(asked, "submitted_after"),
        submitted_before=instant(asked, "submitted_before"),
    )


def _priority(asked: Mapping[str, str]) -> Priority | None:
    band = word(asked, "priority", among=[each.word for each in Priority])
    return None if band is None else Priority[band.upper()]


def _id(asked: Mapping[str, str], name: str) -> UUID | None:
    if name not in asked:
        return None
    try:
        return parse_id(asked[name])
    except BadIdError as error:
        raise bad_field(name, "a job's id would be right") from error


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

"""What a request asks in its query, read strictly: an unknown, repeated or malformed filter is named, not ignored."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from uuid import UUID

from rest_framework.request import Request

from apps.core import problems
from apps.core.ids import BadIdError, parse_id
from apps.jobs.fields import TRIGGERS
from apps.jobs.lifecycle import OUTCOMES, Priority, State
from apps.jobs.queries import Filters

FILTERS = (
    "type", "status", "outcome", "contract", "environment", "priority", "trigger", "submitted_by", "concurrency_key",
    "parent_id", "submitted_after", "submitted_before",
)  # fmt: skip
PAGE = 50
MAX_PAGE = 200
POSITION_DIGITS = 15


def query(request: Request, *, known: Collection[str]) -> dict[str, str]:
    """Return the query's values; an unknown or repeated one is refused by name."""
    asked = request.query_params
    errors = [
        problems.FieldError(
            field=name, message="there is no such filter" if name not in known else "given more than once"
        )
        for name, values in asked.lists()
        if name not in known or len(values) > 1
    ]
    if errors:
        raise problems.BadRequest("Some filters are not as they must be.", code="invalid_fields", errors=errors)
    bad = [name for name, value in asked.items() if "\x00" in str(value)]
    if bad:
        raise bad_field(bad[0], "a NUL character stands in it")
    return {name: str(value) for name, value in asked.items()}


def limit(text: str | None) -> int:
    """Return how many items a page may have: `PAGE` where nothing is said."""
    if text is None:
        return PAGE
    if not text.isascii() or not text.isdigit() or len(text) > len(str(MAX_PAGE)) or not 1 <= int(text) <= MAX_PAGE:
        raise bad_field("limit", f"a number from 1 to {MAX_PAGE} would be right")
    return int(text)


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


def bad_field(field: str, message: str) -> problems.Problem:
    """Return the problem that names a field and says what would be right."""
    return problems.BadRequest(
        "Some fields are not as they must be.",
        code="invalid_fields",
        errors=[problems.FieldError(field=field, message=message)],
    )


def dotted(pointer: str) -> str:
    """Return a JSON Pointer as the rest of a dotted path."""
    return "".join(f".{part}" for part in pointer.split("/") if part)

"""What a request asks in its query, read strictly: an unknown, repeated or malformed filter is named, not ignored."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from uuid import UUID

from rest_framework.request import Request

from apps.core import problems
from apps.core.ids import BadIdError, parse_id

PAGE = 50
MAX_PAGE = 200


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


def limit(text: str | None, *, default: int = PAGE, most: int = MAX_PAGE) -> int:
    """Return how many items a page may have: `default` where nothing is said."""
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > len(str(most)) or not 1 <= int(text) <= most:
        raise bad_field("limit", f"a number from 1 to {most} would be right")
    return int(text)


def cursor(text: str | None) -> UUID | None:
    """Return the row a page begins after, as `next` of the page before named it."""
    if text is None:
        return None
    try:
        return parse_id(text)
    except BadIdError as error:
        raise bad_field("cursor", "`next` of the page before would be right") from error


def word(asked: Mapping[str, str], name: str, *, among: Collection[str]) -> str | None:
    """Return the value of a filter that knows its words."""
    text = asked.get(name)
    if text is not None and text not in among:
        raise bad_field(name, f"one of these would be right: {', '.join(among)}")
    return text


def instant(asked: Mapping[str, str], name: str) -> datetime | None:
    """Return the time a filter names; it must say its offset, or two readers would take it for two times."""
    if name not in asked:
        return None
    try:
        found = datetime.fromisoformat(asked[name])
    except ValueError as error:
        raise bad_field(name, "a time like 2026-01-31T12:00:00Z would be right") from error
    if found.tzinfo is None:
        raise bad_field(name, "a time with its offset, like 2026-01-31T12:00:00Z, would be right")
    return found


def bad_field(field: str, message: str) -> problems.Problem:
    """Return the problem that names a field and says what would be right."""
    return problems.BadRequest(
        "Some fields are not as they must be.",
        code="invalid_fields",
        errors=[problems.FieldError(field=field, message=message)],
    )

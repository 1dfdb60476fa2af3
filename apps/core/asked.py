"""What a request asks in its query, read strictly: an unknown, repeated or malformed filter is named, not ignored."""

from __future__ import annotations

from collections.abc import Collection

from rest_framework.request import Request

from apps.core import problems

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


def bad_field(field: str, message: str) -> problems.Problem:
    """Return the problem that names a field and says what would be right."""
    return problems.BadRequest(
        "Some fields are not as they must be.",
        code="invalid_fields",
        errors=[problems.FieldError(field=field, message=message)],
    )

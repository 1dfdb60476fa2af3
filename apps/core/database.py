"""Small pieces of SQL that Django has no word for."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, Self

import psycopg
from django.db import connection, models

# A UUIDv7 of a statement's own; `{place}` (0 to 4095) orders those of one statement. PostgreSQL 18 has a function, but
# nothing before it.
UUID7 = (
    "(lpad(to_hex(floor(extract(epoch FROM statement_timestamp()) * 1000)::bigint), 12, '0') || '7'"
    " || lpad(to_hex({place}), 3, '0') || right(replace(gen_random_uuid()::text, '-', ''), 16))::uuid"
)


class ClockTimestamp(models.Func):
    """PostgreSQL's `clock_timestamp()`: the instant of the statement, where `now()` is its transaction's beginning."""

    template = "clock_timestamp()"
    output_field = models.DateTimeField()


class PreparingCursor(psycopg.Cursor[tuple[Any, ...]]):
    """A cursor of Django's own connection and transaction whose statements PostgreSQL parses and plans once a session.

    Django binds values on the client and so has every statement planned anew: for the plane's long ones that cost more
    than running them. Raises `django.db.Error` as Django's cursors do. For constant statements only.
    """

    def execute(self, query: Any, params: Any = None, *, binary: bool | None = None, **_: Any) -> Self:
        """Run a constant statement, prepared the first time; `binary`: large bytes come as they are, not as hex."""
        with connection.wrap_database_errors:
            return super().execute(query, params, prepare=True, binary=binary)


def preparing() -> PreparingCursor:
    """Return a cursor, to be used in a `with`, for a constant statement that is run again and again."""
    with connection.cursor():  # connects, or finds out that the connection is dead, as for any other cursor
        return PreparingCursor(connection.connection)


def loaded(value: Any) -> Any:
    """Return what a raw query answered as jsonb: Django's connections hand it over as text."""
    return json.loads(value) if isinstance(value, str) else value


def clock() -> datetime:
    """Return the database's time, as it is at this statement."""
    ((instant,),) = rows("SELECT clock_timestamp()", [])
    found: datetime = instant
    return found


def rows(query: str, values: Any) -> list[tuple[Any, ...]]:
    """Return the rows of a query."""
    with connection.cursor() as cursor:
        cursor.execute(query, values)
        return list(cursor.fetchall())

"""Small pieces of SQL that Django has no word for."""

from __future__ import annotations

import json
from typing import Any, Self

import psycopg
from django.db import connection, models

# A UUIDv7 made by a statement; PostgreSQL has a function of its own only from 18 on.
UUID7 = (
    "encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid()) PLACING substring(int8send(floor(extract(epoch FROM"
    " clock_timestamp()) * 1000)::bigint) FROM 3) FROM 1 FOR 6), 52, 1), 53, 1), 'hex')::uuid"
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

    def execute(self, query: Any, params: Any = None, **_: Any) -> Self:
        """Run a constant statement, prepared the first time."""
        with connection.wrap_database_errors:
            return super().execute(query, params, prepare=True)


def preparing() -> PreparingCursor:
    """Return a cursor, to be used in a `with`, for a constant statement that is run again and again."""
    with connection.cursor():  # connects, or finds out that the connection is dead, as for any other cursor
        return PreparingCursor(connection.connection)


def loaded(value: Any) -> Any:
    """Return what a raw query answered as jsonb: Django's connections hand it over as text."""
    return json.loads(value) if isinstance(value, str) else value


def rows(query: str, values: Any) -> list[tuple[Any, ...]]:
    """Return the rows of a query."""
    with connection.cursor() as cursor:
        cursor.execute(query, values)
        return list(cursor.fetchall())

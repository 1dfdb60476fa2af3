"""Some rows of each table of a schema, copied into a copy of it so that its foreign keys hold.

First so many rows of each table, as they lie; then what those refer to, by key, a few times over, for what came along
refers to more; at last every row that still refers to nothing is taken out again. Nothing here leaves the server.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import psycopg
from psycopg import sql

from workers.migrations.blueprint import Column, Reference, Table

Session = psycopg.Connection[Any]
_ROUNDS: Final = 3


def copy(
    connection: Session,
    *,
    tables: Sequence[Table],
    references: Sequence[Reference],
    of: str,
    into: str,
    rows: int,
) -> list[str]:
    """Copy at most `rows` rows of each table of `of` and, within as many again, those they refer to.

    Returns the tables whose rows could not be read, each with the server's code. Raises psycopg.Error when the session
    is lost.
    """
    unread = []
    for table in tables:
        every = sql.SQL("SELECT {} FROM {} AS source LIMIT {}").format(
            _read(table.columns), sql.Identifier(of, table.name), rows
        )
        try:
            connection.execute(_into(into, table, every))
        except psycopg.Error as error:
            if error.sqlstate is None or connection.closed:
                raise
            unread.append(f"rows of {table.name}: refused with {error.sqlstate}")
    by_name = {table.name: table for table in tables}
    for _ in range(_ROUNDS):
        if not sum(_bring(connection, each, to=by_name[each.to], of=of, into=into, rows=rows) for each in references):
            break
    while sum(_part(connection, each, into=into) for each in references):
        pass
    return unread


def count(connection: Session, *, table: str, schema: str) -> int:
    """Return how many rows a table of the copy has."""
    row = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(schema, table))).fetchone()
    return int(row[0]) if row is not None else 0


def _into(schema: str, table: Table, select: sql.Composed) -> sql.Composed:
    names = sql.SQL(", ").join(sql.Identifier(column.name) for column in table.columns)
    return sql.SQL("INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE {}").format(
        sql.Identifier(schema, table.name), names, select
    )


def _read(columns: Sequence[Column]) -> sql.Composed:
    """Return the columns as they are read; a type of the schema's own becomes the copy's by way of its text."""
    return sql.SQL(", ").join(
        sql.SQL("source.{}::text::{}").format(sql.Identifier(column.name), sql.SQL(column.type))
        if column.own_type
        else sql.SQL("source.{}").format(sql.Identifier(column.name))
        for column in columns
    )


def _bring(connection: Session, reference: Reference, *, to: Table, of: str, into: str, rows: int) -> int:
    """Copy rows that are referred to and not there yet; return how many came. What cannot be read stays away."""
    texts = {column.name for column in to.columns if column.own_type}
    wanted = sql.SQL(
        "SELECT {} FROM {} AS source JOIN (SELECT DISTINCT {} FROM {} AS child WHERE ({}) IS NOT NULL AND NOT EXISTS ("
        "SELECT FROM {} AS present WHERE {}) LIMIT {}) AS missing ON {}"
    ).format(
        _read(to.columns),
        sql.Identifier(of, to.name),
        sql.SQL(", ").join(sql.SQL("child.{}").format(sql.Identifier(name)) for name in reference.columns),
        sql.Identifier(into, reference.table),
        sql.SQL(", ").join(sql.SQL("child.{}").format(sql.Identifier(name)) for name in reference.columns),
        sql.Identifier(into, reference.to),
        _pairs(reference, here="child", there="present"),
        rows,
        _pairs(reference, here="missing", there="source", as_text=texts),
    )
    try:
        return connection.execute(_into(into, to, wanted)).rowcount
    except psycopg.Error as error:
        if error.sqlstate is None or connection.closed:
            raise
        return 0


def _part(connection: Session, reference: Reference, *, into: str) -> int:
    """Take the rows of the copy out that refer to nothing; return how many."""
    alone = sql.SQL(
        "DELETE FROM {} AS child WHERE ({}) IS NOT NULL AND NOT EXISTS (SELECT FROM {} AS present WHERE {})"
    )
    return connection.execute(
        alone.format(
            sql.Identifier(into, reference.table),
            sql.SQL(", ").join(sql.SQL("child.{}").format(sql.Identifier(name)) for name in reference.columns),
            sql.Identifier(into, reference.to),
            _pairs(reference, here="child", there="present"),
        )
    ).rowcount


def _pairs(
    reference: Reference, *, here: str, there: str, as_text: frozenset[str] | set[str] = frozenset()
) -> sql.Composed:
    """Return the condition that a row `here` refers to a row `there`; the two schemas' own types meet as text."""
    return sql.SQL(" AND ").join(
        sql.SQL("{}.{}::text = {}.{}::text" if other in as_text else "{}.{} = {}.{}").format(
            sql.Identifier(here), sql.Identifier(column), sql.Identifier(there), sql.Identifier(other)
        )
        for column, other in zip(reference.columns, reference.to_columns, strict=True)
    )

"""What a schema is made of, as statements that make it again elsewhere; and what they leave out, by name.

PostgreSQL itself writes the statements: it leaves a name unqualified where the session's search path finds it. So they
are read with the original's schema alone on the path, and are run with the copy's alone on it: each name then means the
copy's own object. What belongs to an extension, lies in another schema or has no statement here is told, never dropped
in silence.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final

import psycopg
from psycopg import sql

from workers.migrations import blueprint_queries as queries

Session = psycopg.Connection[Any]
MOST_RELATIONS: Final = 1000


class Stage(IntEnum):
    """When a piece is made. Rows come after `STRUCTURE`: a trigger must not fire for them, a check not refuse them."""

    STRUCTURE = 0  # types, sequences, functions, tables, defaults
    RULES = 1  # keys, checks, indexes
    REFERENCES = 2  # foreign keys: of rows that are there
    USES = 3  # views, triggers, policies, owners of sequences


class TooLargeError(Exception):
    """The schema has more relations than a copy may put into the server's table of locks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One thing of a schema: its name as people say it, and the statement that makes it."""

    stage: Stage
    name: str
    statement: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column that rows are copied into; `own_type`: its type is the schema's own, so the copy's is another."""

    name: str
    type: str
    own_type: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table that is copied. `rows`: PostgreSQL's estimate, None while it has none."""

    name: str
    rows: int | None
    bytes: int
    columns: list[Column]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A foreign key between two tables of the schema, its columns pair by pair."""

    table: str
    columns: list[str]
    to: str
    to_columns: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Blueprint:
    """A whole schema. `left_out`: what no piece makes, each by its name and why."""

    schema: str
    pieces: list[Piece]
    tables: list[Table]
    references: list[Reference]
    left_out: list[str]


def read(connection: Session, *, schema: str, leave: frozenset[str] = frozenset()) -> Blueprint:
    """Return the blueprint of `schema`, without its tables named in `leave`. Leaves the search path at `schema`.

    Reads catalogs only. Raises TooLargeError, psycopg.Error.
    """
    connection.execute(sql.SQL("SET search_path TO {}").format(sql.Identifier(schema)))
    asked = {"schema": schema, "leave": sorted(leave)}
    counted = connection.execute(queries.COUNT, asked).fetchone()
    if counted is not None and counted[0] > MOST_RELATIONS:
        raise TooLargeError
    pieces, left_out = [], [name for (name,) in connection.execute(queries.LEFT_OUT, asked)]
    for stage, query in queries.PIECES:
        for name, statement in connection.execute(query, asked):
            kept = _elsewhere(statement, schema=schema, function=query is queries.FUNCTIONS)
            if kept is None:
                left_out.append(f"{name}: it names its schema in a text")
            else:
                pieces.append(Piece(stage=Stage(stage), name=name, statement=kept))
    return Blueprint(
        schema=schema,
        pieces=pieces,
        tables=list(_tables(connection, asked)),
        references=[
            Reference(table=table, columns=columns, to=to, to_columns=to_columns)
            for table, columns, to, to_columns in connection.execute(queries.REFERENCES, asked)
        ],
        left_out=sorted(left_out),
    )


def _tables(connection: Session, asked: dict[str, Any]) -> Iterator[Table]:
    for name, rows, size, names, types, own in connection.execute(queries.TABLES, asked):
        columns = [
            Column(name=column, type=type_, own_type=is_own)
            for column, type_, is_own in zip(names, types, own, strict=True)
        ]
        yield Table(name=name, rows=None if rows < 0 else round(rows), bytes=size, columns=columns)


# Stands for the copy's schema, whose name is not known here.
ELSEWHERE: Final = "\N{REPLACEMENT CHARACTER}"


def _elsewhere(statement: str, *, schema: str, function: bool) -> str | None:
    """Return a statement that cannot reach the original, or None.

    Names that the server resolves are unqualified by now. What it keeps as text it does not resolve: there the schema's
    name leads back to the original, whose rows a copy's function or default must never touch. A qualified name in a
    function can be turned to the copy; any other mention cannot.
    """
    word = rf'(?<![\w$])"?{re.escape(schema)}"?(?![\w$])'
    if function:
        statement = re.sub(rf"{word}(?=\s*\.)", ELSEWHERE, statement)
        statement = re.sub(
            r"^ SET search_path TO .*$",
            lambda line: re.sub(rf"'{re.escape(schema)}'|{word}", f"'{ELSEWHERE}'", line.group()),
            statement,
            flags=re.MULTILINE,
        )
        return None if re.search(word, statement) else statement
    strings = re.findall(r"'(?:[^']|'')*'", statement)
    return None if any(re.search(word, string) for string in strings) else statement

"""A copy of a target's schema beside it, in the same database: its whole shape, and some of its rows.

The original is read and nothing else: catalogs, and at most so many rows a table, under ACCESS SHARE, each statement a
transaction of its own under short time-outs. Rows go from table to table inside the server; none passes through here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg import sql

from workers.migrations import blueprint, samples
from workers.migrations.blueprint import ELSEWHERE, Blueprint, Piece, Stage, Table

Session = psycopg.Connection[Any]
LOCK_S: Final = 1
STATEMENT_S: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Clone:
    """A copy that stands. `rows`: table → rows copied; `tables`: as they are in the original; `not_cloned`: by name."""

    schema: str
    of: str
    rows: Mapping[str, int]
    tables: Sequence[Table]
    not_cloned: Sequence[str]


def make(connection: Session, *, of: str, into: str, rows: int, leave: frozenset[str] = frozenset()) -> Clone:
    """Fill the empty schema `into` with a copy of `of`: all that can be copied, and at most `rows` rows a table.

    What foreign keys refer to comes along, as far as it can be had; a row that refers to nothing is left out. Tables
    named in `leave` are as if they were not there. The session is in autocommit; it ends with `into` on its search
    path and the copy's time-outs. Raises blueprint.TooLargeError, psycopg.Error.
    """
    _be_careful(connection)
    plan = blueprint.read(connection, schema=of, leave=leave)
    connection.execute(sql.SQL("SET search_path TO {}").format(sql.Identifier(into)))
    # A function may name a table that comes after it: bodies are looked at when they run.
    connection.execute("SELECT set_config('check_function_bodies', 'off', false)")
    failed = _build(connection, _of(plan, Stage.STRUCTURE), into=into)
    made = _tables_in(connection, into)
    copied = [table for table in plan.tables if table.name in made]
    failed += samples.copy(
        connection,
        tables=copied,
        references=[each for each in plan.references if {each.table, each.to} <= made],
        of=of,
        into=into,
        rows=rows,
    )
    for stage in (Stage.RULES, Stage.REFERENCES, Stage.USES):
        failed += _build(connection, _of(plan, stage), into=into)
    counted = {table.name: samples.count(connection, table=table.name, schema=into) for table in copied}
    connection.execute(sql.SQL("ANALYZE {}").format(_names(into, sorted(made)))) if made else None
    return Clone(schema=into, of=of, rows=counted, tables=plan.tables, not_cloned=sorted({*plan.left_out, *failed}))


def _be_careful(connection: Session) -> None:
    """Bound what the original can be made to wait for: short waits, short statements, no snapshot kept between them."""
    connection.execute(
        "SELECT set_config('lock_timeout', %s, false), set_config('statement_timeout', %s, false),"
        " set_config('default_transaction_isolation', 'read committed', false),"
        " set_config('max_parallel_workers_per_gather', '0', false)",
        [f"{LOCK_S}s", f"{STATEMENT_S}s"],
    )


def _of(plan: Blueprint, stage: Stage) -> list[Piece]:
    return [piece for piece in plan.pieces if piece.stage is stage]


def _build(connection: Session, pieces: Sequence[Piece], *, into: str) -> list[str]:
    """Make the pieces, each after those that it needs; return what cannot be made, with the server's code.

    What needs what is the server's to know: a piece that failed is tried again after the others, while any succeed.
    """
    waiting = list(pieces)
    while True:
        failed: list[tuple[Piece, str]] = []
        for piece in waiting:
            try:
                connection.execute(piece.statement.replace(ELSEWHERE, into).encode())
            except psycopg.Error as error:
                if error.sqlstate is None or connection.closed:
                    raise
                failed.append((piece, error.sqlstate))
        if not failed or len(failed) == len(waiting):
            return [f"{piece.name}: refused with {code}" for piece, code in failed]
        waiting = [piece for piece, _ in failed]


def _tables_in(connection: Session, schema: str) -> set[str]:
    rows = connection.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = %s::regnamespace AND relkind = 'r'", [schema]
    ).fetchall()
    return {name for (name,) in rows}


def _names(schema: str, tables: Sequence[str]) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(schema, table) for table in tables)

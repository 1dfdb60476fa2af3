"""A target's version: the row that says which version its schema is at, as the definition reads and writes it."""

from __future__ import annotations

from typing import Final

from psycopg import sql

from apps.jobs.types import PermanentError
from apps.migrations.definition import Definition
from workers.migrations.ledger import Session
from workers.migrations.statements import with_values

TABLE: Final = "ops_schema_version"
# As long as a definition's may be. What is longer is none that is known, and is told by its beginning.
LONGEST: Final = 64


def read(connection: Session, definition: Definition, *, schema: str) -> str | None:
    """Return the version that the target says it is at, or None where it says none; raises psycopg.Error."""
    asked = definition.targets.version
    if asked is not None:
        row = connection.execute(asked.read).fetchone()
    elif connection.execute("SELECT to_regclass(%s)", [f"{schema}.{TABLE}"]).fetchone() == (None,):
        row = None
    else:
        row = connection.execute(sql.SQL("SELECT version FROM {}").format(sql.Identifier(schema, TABLE))).fetchone()
    if row is None or row[0] is None:
        return None
    said = str(row[0])
    return said if len(said) <= LONGEST else f"{said[: LONGEST - 1]}…"


def write(connection: Session, definition: Definition, *, schema: str, version: str) -> None:
    """Let the target say that it is at `version`, once this transaction commits; raises psycopg.Error.

    Raises PermanentError where the definition's own statement changes no row, or several.
    """
    asked = definition.targets.version
    if asked is not None:
        if connection.execute(with_values(asked.write), {"version": version}).rowcount != 1:
            raise PermanentError("the version is to be written into one row", code="version_not_written")
        return
    table = sql.Identifier(schema, TABLE)
    connection.execute(sql.SQL("CREATE TABLE IF NOT EXISTS {} (version text NOT NULL)").format(table))
    if connection.execute(sql.SQL("UPDATE {} SET version = %s").format(table), [version]).rowcount == 0:
        connection.execute(sql.SQL("INSERT INTO {} (version) VALUES (%s)").format(table), [version])

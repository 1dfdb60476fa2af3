"""A table's key, as a backfill goes along it: how far a batch reaches, and what is behind it for good."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from psycopg import sql

from apps.jobs.types import PermanentError, RetryableError
from workers.migrations.ledger import Session

_WHOLE: Final = frozenset({"smallint", "integer", "bigint"})
# What is less than every key, for the first batch. A key that is just that is refused by name, not passed over.
_LEAST: Final = {
    "real": "-Infinity",
    "double precision": "-Infinity",
    "date": "-infinity",
    "timestamp without time zone": "-infinity",
    "timestamp with time zone": "-infinity",
    "text": "",
    "character varying": "",
    "character": "",
    "uuid": "00000000-0000-0000-0000-000000000000",
}
COUNTED_BELOW: Final = 2_000_000  # rows by the server's own estimate: more are not counted, but estimated
_WRITERS_S: Final = 60.0
_LOOK_S: Final = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """The keys of a batch: the greatest, as text, and how many rows there are."""

    upto: str
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table of the target's and its key. `kind`: what its values are cast to, from the server's own catalogue.

    In every ORDER BY the key is said with its table: alone it would be the answer's column, which is a text.
    """

    schema: str
    name: str
    key: str
    kind: str

    def next(self, connection: Session, *, after: str | None, upto: str, size: int) -> Range | None:
        """Return the range of the next `size` rows after `after`, none beyond `upto`; None: there are none."""
        least = "" if after is None else " AND {key} > {after}"
        row = connection.execute(
            self._said(
                "WITH found AS MATERIALIZED (SELECT {key} AS key FROM {table} WHERE {key} <= {upto}"
                + least
                + " ORDER BY {key} LIMIT {size}) "
                "SELECT (SELECT f.key::text FROM found f ORDER BY f.key DESC LIMIT 1), count(*) FROM found",
                after=after,
                upto=upto,
                size=size,
            )
        ).fetchone()
        return None if row is None or row[0] is None else Range(upto=row[0], rows=row[1])

    def least(self, connection: Session) -> str:
        """Return a value below every key, as text; raises PermanentError where the type or a key has none."""
        found = connection.execute(
            self._said("SELECT t.{key}::text FROM {table} t WHERE t.{key} IS NOT NULL ORDER BY t.{key} LIMIT 1")
        ).fetchone()
        first = None if found is None else str(found[0])
        if self.kind in _WHOLE or self.kind == "numeric":
            return "0" if first is None else str(int(Decimal(first)) - 1)
        least = _LEAST[self.kind]
        if first is not None and first.strip() == least:
            raise PermanentError("a key is the least of its type: no batch begins before it", code="batch_key")
        return least

    def greatest(self, connection: Session, *, after: str | None) -> str | None:
        """Return the greatest key that is committed, as text, or None if there is none after `after`."""
        least = "{key} IS NOT NULL" if after is None else "{key} > {after}"
        values = {} if after is None else {"after": after}
        text = "SELECT t.{key}::text FROM {table} t WHERE " + least + " ORDER BY t.{key} DESC LIMIT 1"
        found = connection.execute(self._said(text, **values)).fetchone()
        return None if found is None else str(found[0])

    def count(self, connection: Session) -> int | None:
        """Return how many rows there are: counted, or estimated by the server where that would take long."""
        row = connection.execute(
            "SELECT reltuples::bigint FROM pg_class WHERE oid = to_regclass(%s)", [self._qualified]
        ).fetchone()
        estimated = -1 if row is None else int(row[0])
        if estimated >= COUNTED_BELOW:
            return estimated
        counted = connection.execute(self._said("SELECT count(*) FROM {table}")).fetchone()
        return None if counted is None else int(counted[0])

    def await_writers(self, connection: Session, *, pause: Callable[[float], None]) -> None:
        """Wait until every transaction that has written the table by now is over. `pause` waits some seconds.

        A key that a sequence gave earlier may be committed later. Whoever was given one holds his lock on the table
        since before; so after this no key below a committed one is still to come. Raises RetryableError.
        """
        until = time.monotonic() + _WRITERS_S
        before = self._writers(connection)
        while before and (before := before & self._writers(connection)):
            if time.monotonic() > until:
                raise RetryableError("a transaction that wrote the table does not end", code="writer_open")
            pause(_LOOK_S)

    def cast(self, placeholder: str) -> str:
        """Return a placeholder of psycopg's as a value of the key's type; whole numbers one wider than any key."""
        return f"CAST({placeholder} AS {'bigint' if self.kind in _WHOLE else self.kind})"

    @property
    def _qualified(self) -> str:
        return sql.Identifier(self.schema, self.name).as_string()

    def _said(self, text: str, **values: str | int | None) -> sql.Composed:
        """Return a query, with texts for values of the key's type and numbers for numbers."""
        said = {
            name: sql.SQL(self.cast("{}") if isinstance(value, str) else "{}").format(sql.Literal(value))
            for name, value in values.items()
        }
        return sql.SQL(text).format(table=sql.Identifier(self.schema, self.name), key=sql.Identifier(self.key), **said)

    def _writers(self, connection: Session) -> set[str]:
        """Return the transactions of others that may have written the table and are not over."""
        rows = connection.execute(
            "SELECT virtualtransaction FROM pg_locks WHERE locktype = 'relation' AND granted"
            " AND mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')"
            " AND relation = to_regclass(%s) AND pid IS DISTINCT FROM pg_backend_pid()"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
            [self._qualified],
        )
        return {row[0] for row in rows}


def find(connection: Session, *, schema: str, name: str, key: str) -> Table:
    """Return the table with its key; raises PermanentError where there is none, or a key of a type without a least."""
    row = connection.execute(
        "SELECT format_type(atttypid, NULL) FROM pg_attribute"
        " WHERE attrelid = to_regclass(%s) AND attname = %s AND attnum > 0 AND NOT attisdropped",
        [sql.Identifier(schema, name).as_string(), key],
    ).fetchone()
    if row is None:
        raise PermanentError("the batch's table has no such key", code="batch_key")
    kind = str(row[0])
    if kind not in _LEAST and kind not in _WHOLE and kind != "numeric":
        raise PermanentError("a batch's key is a number, a text, a uuid, a date or a time", code="batch_key")
    return Table(schema=schema, name=name, key=key, kind=kind)

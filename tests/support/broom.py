"""Sweeps what tests committed out of the suite's database."""

from __future__ import annotations

import psycopg

LARGE = 16 * 8192  # bytes of a table, dead rows too, from which on it is cheaper to make it anew

# With all that refers to them.
CLOSURE = """
WITH RECURSIVE swept (relation) AS (
    SELECT unnest(%s::regclass[])
    UNION SELECT conrelid::regclass FROM pg_constraint JOIN swept ON confrelid = relation WHERE contype = 'f'
)
SELECT relation::text, pg_get_serial_sequence(relation::text, a.attname) FROM swept
  LEFT JOIN pg_attribute a
    ON attrelid = relation AND CASE WHEN NOT a.attisdropped
                                    THEN pg_get_serial_sequence(relation::text, a.attname) IS NOT NULL END
"""


class Broom:
    """Empties `tables` and all that refers to them, and lets their numbers begin anew.

    TRUNCATE makes new files for every table and index, 50 ms for what a test left in three of them. So rows are
    deleted, past triggers and foreign keys; only what has grown large is truncated. Writers are waited for, as
    TRUNCATE does: what they commit is swept, too.
    """

    def __init__(self, *, session: psycopg.Connection, tables: list[str]) -> None:
        self._session = session
        found = session.execute(CLOSURE, [tables]).fetchall()
        self._tables = sorted({str(table) for table, _ in found})
        every = ", ".join(self._tables)
        sizes = " OR ".join(f"pg_relation_size('{table}') > {LARGE}" for table in self._tables)
        filled = " UNION ALL ".join(f"(SELECT '{table}' WHERE EXISTS (SELECT FROM {table}))" for table in self._tables)
        restarts = " ".join(
            f"IF (SELECT is_called FROM {sequence}) THEN ALTER SEQUENCE {sequence} RESTART; END IF;"
            for _, sequence in found
            if sequence is not None
        )
        self._sweep = f"""
            DO $$ DECLARE filled text; BEGIN
                LOCK TABLE {every} IN EXCLUSIVE MODE;
                IF {sizes} THEN
                    TRUNCATE {every} RESTART IDENTITY CASCADE;
                    RETURN;
                END IF;
                SET LOCAL session_replication_role = replica;
                FOR filled IN {filled} LOOP EXECUTE format('DELETE FROM %s', filled); END LOOP;
                {restarts}
            END $$
        """.encode()

    def sweep(self) -> None:
        """Leave no row."""
        self._session.execute(self._sweep)

"""Schemas to try things in, beside a target's own: made under a lock, dropped whatever happens.

A scratch schema lives as long as the session that made it: its name is locked by that session, and its birth stands in
its comment. Who was killed leaves a schema whose lock is free; whoever plans on that database next drops it.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import psycopg
import structlog
from psycopg import sql

Session = psycopg.Connection[Any]

PREFIX: Final = "ops_rehearsal_"
# Longer than any rehearsal may take. A pooler may part a session from its locks: then its age still protects it.
ABANDONED_S: Final = 1800
_NAME: Final = re.compile(rf"{PREFIX}[0-9a-f]{{8}}")
_BORN: Final = "operations rehearsal, begun at "
_DROP_TIMEOUTS: Final = ("5s", "120s")  # lock, statement

log = structlog.stdlib.get_logger(__name__)


@contextmanager
def schema(connection: Session) -> Iterator[str]:
    """Yield the name of a new, empty schema; it is dropped at the end with all that is in it, if the session lives.

    The session is in autocommit, and its search path and time-outs are not the caller's any more afterwards. Raises
    psycopg.Error: the role may have no right to make schemas (InsufficientPrivilege).
    """
    name = PREFIX + secrets.token_hex(4)
    connection.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", [name])
    try:
        with connection.transaction():
            connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(name)))
            born = connection.execute("SELECT clock_timestamp()::text").fetchone()
            comment = sql.SQL("COMMENT ON SCHEMA {} IS {}")
            connection.execute(comment.format(sql.Identifier(name), _BORN + (born[0] if born is not None else "")))
        yield name
    finally:
        if not connection.closed:
            _drop(connection, name)
            connection.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", [name])


def sweep(connection: Session, *, older_than_s: float = ABANDONED_S) -> list[str]:
    """Drop the scratch schemas of this database that nobody is at any more, and return their names.

    Nobody: their lock is free, and they are older than `older_than_s` seconds. Those of other roles stay theirs.
    """
    dropped = []
    for name, in connection.execute(
        "SELECT nspname FROM pg_namespace WHERE starts_with(nspname, %s) AND pg_has_role(nspowner, 'USAGE')"
        " AND CASE WHEN starts_with(obj_description(oid, 'pg_namespace'), %s)"
        " THEN substr(obj_description(oid, 'pg_namespace'), %s)::timestamptz"
        "      < clock_timestamp() - make_interval(secs => %s) ELSE false END",
        [PREFIX, _BORN, len(_BORN) + 1, older_than_s],
    ).fetchall():  # fmt: skip
        if not _NAME.fullmatch(name):
            continue
        locked = connection.execute("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", [name]).fetchone()
        if locked != (True,):
            continue
        try:
            _drop(connection, name)
            dropped.append(name)
        finally:
            connection.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", [name])
    if dropped:
        log.info("scratch_schemas_swept", count=len(dropped))
    return dropped


def _drop(connection: Session, name: str) -> None:
    if connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
        connection.rollback()
    lock, statement = _DROP_TIMEOUTS
    connection.execute(
        "SELECT set_config('lock_timeout', %s, false), set_config('statement_timeout', %s, false)", [lock, statement]
    )
    connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(name)))

"""A target's own database: where it is, a session in it, and what its errors mean.

Where it is reached, and as whom, is a secret's business: nothing of the connection string goes into an error, a log or
a plan. A session sees one schema only. What a server says may quote a row: its SQLSTATE goes on, its text does not.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Final

import psycopg
from psycopg import sql

from apps.jobs.types import PermanentError, RetryableError
from apps.migrations.definition import Definition
from workers.catalog import surroundings
from workers.migrations.ledger import APPLICATION, Session

CONNECT_S: Final = 10
# A session whose runner is gone is to be gone too, whatever it was at: a killed process's connection is closed by its
# host, and the server looks for that each second; a host that is gone answers no keepalive.
_LOOK_FOR_CLIENT_MS: Final = "1000"
_IDLE_IN_TRANSACTION_MS: Final = "60000"

# Worth another try at once: a lock that was not to be had, a deadlock, a conflict.
CONTENDED: Final = frozenset({"55P03", "40P01", "40001"})
_TOO_SLOW: Final = "57014"
# Classes 08, 40, 53, 55, 57: the connection, a conflict, want of room, a lock, an administrator or a time-out.
_PASSING: Final = frozenset({"08", "40", "53", "55", "57"})


class SchemaAbsentError(PermanentError):
    """The target's schema is not there."""

    default_code = "schema_absent"


class TooSlowError(RetryableError):
    """A statement took longer than its step allows."""

    default_code = "sql_57014"


def schema_of(definition: Definition, *, target: str) -> str:
    """Return the name of the target's schema; raises PermanentError where it would be no plain identifier."""
    try:
        return definition.targets.schema_of(target)
    except ValueError:
        raise PermanentError("the target's key makes no plain name of a schema", code="bad_schema") from None


def dsn_of(definition: Definition, *, account: str, tenant_id: str) -> str:
    """Return the connection string: the secret that the definition names, of the tenant, else of the account.

    Raises PermanentError where there is none, or the definition names none.
    """
    name = definition.targets.database
    if name is None:
        raise PermanentError("the definition names no database", code="database_missing")
    try:
        return surroundings.secret(tenant_id=tenant_id, name=name)
    except surroundings.SecretMissingError:
        return surroundings.secret(tenant_id=account, name=name)


@contextmanager
def connect(definition: Definition, *, account: str, tenant_id: str, target: str) -> Iterator[Session]:
    """Yield a session in the target's schema, in autocommit; it is closed at the end, whatever it was at.

    Raises PermanentError (no such secret, a bad one, no such schema) or RetryableError (nobody answers).
    """
    schema = schema_of(definition, target=target)
    dsn = dsn_of(definition, account=account, tenant_id=tenant_id)
    try:
        connection = psycopg.connect(
            dsn,
            autocommit=True,
            prepare_threshold=None,  # a plan for each batch's own bounds, and nothing that a pooler could lose
            connect_timeout=CONNECT_S,
            application_name=APPLICATION,
            keepalives=1,
            keepalives_idle=10,
            keepalives_interval=5,
            keepalives_count=3,
        )
        connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
    except psycopg.ProgrammingError:  # its message quotes the string: nothing of it may go on
        raise PermanentError("the secret is no connection string", code="bad_secret") from None
    except psycopg.OperationalError:
        raise RetryableError("the target cannot be reached", code="unreachable") from None
    with closing(connection):
        try:
            settle(connection, schema=schema)
        except psycopg.Error as error:
            raise failure(error) from error
        yield connection


def settle(connection: Session, *, schema: str) -> None:
    """Make a new session one of ours: it sees `schema` only. Raises SchemaAbsentError."""
    if connection.execute("SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = %s", [schema]).fetchone() is None:
        raise SchemaAbsentError("the target's schema is not there")
    connection.execute(sql.SQL("SET search_path TO {}").format(sql.Identifier(schema)))
    connection.execute("SELECT set_config('idle_in_transaction_session_timeout', %s, false)", [_IDLE_IN_TRANSACTION_MS])
    # From PostgreSQL 14, and where the server's system can see it: elsewhere a statement runs on to its own end.
    with suppress(psycopg.errors.InvalidParameterValue):
        connection.execute(
            "SELECT set_config(name, %s, false) FROM pg_settings WHERE name = 'client_connection_check_interval'",
            [_LOOK_FOR_CLIENT_MS],
        )


def bound(connection: Session, *, schema: str, lock_s: float, statement_s: float, local: bool) -> None:
    """Bound what follows, in this transaction only if `local`: how long a lock is waited for, a statement may take."""
    connection.execute(
        "SELECT set_config('search_path', %s, %s), set_config('lock_timeout', %s, %s),"
        " set_config('statement_timeout', %s, %s)",
        [schema, local, f"{round(lock_s * 1000)}ms", local, f"{round(statement_s * 1000)}ms", local],
    )


def failure(error: psycopg.Error) -> PermanentError | RetryableError:
    """Return what a target's error means for the attempt, as a code: its words stay behind, they may quote a row."""
    if error.sqlstate is None:
        if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
            return RetryableError("the target broke off", code="connection_lost")
        return PermanentError("the step cannot be put to the target", code="bad_statement")
    if error.sqlstate == _TOO_SLOW:
        return TooSlowError("a statement took longer than its step allows")
    code = f"sql_{error.sqlstate.lower()}"
    if error.sqlstate[:2] in _PASSING:
        return RetryableError("the target broke off", code=code)
    return PermanentError("the target refused the step", code=code)

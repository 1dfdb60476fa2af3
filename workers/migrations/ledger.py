"""The ledger: what was done to a target, in the target's own schema, written by the transaction that did it.

A row a step of a migration. Its token grows with each attempt the plane makes at the step; every transaction of a step
first puts its own token there, where none greater stands: so an attempt that was given up, and does not know it,
changes nothing any more. This module knows no plane: a module's own process may use it on a session of its own.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import psycopg
from psycopg import sql

from apps.jobs.outcome import PermanentError, RetryableError

LEDGER: Final = "ops_migration_ledger"
APPLICATION: Final = "operations migration"
FENCES: Final = 2**32
_SEIZE_S: Final = 30.0
_GRACE_S: Final = 3.0  # for an older attempt to come to its own end, before its session is ended
_LOOK_S: Final = 0.1

Session = psycopg.Connection[Any]


class State(StrEnum):
    """What is true of a step on a target."""

    RUNNING = "running"  # begun, and not in one transaction: batches, statements on their own, calls
    APPLIED = "applied"
    REVERTED = "reverted"


class FencedOffError(PermanentError):
    """A newer attempt is at the step: this one changes nothing any more."""

    default_code = "fenced_off"


class DefinitionChangedError(PermanentError):
    """The step that was done to the target is not the one that stands in the definition now."""

    default_code = "definition_changed"


def token(*, run: int, fence: int) -> int:
    """Return the token of an attempt: the plane counts a step's runs, and a run's dispatches by its job's fence."""
    return run * FENCES + fence


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What the ledger said before; a step that it knew nothing of is as one that was reverted."""

    state: State
    cursor: str | None = None
    done: int = 0
    total: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """A step's row in the ledger of `schema`, as an attempt under `token` writes it."""

    schema: str
    migration: str
    step: str
    checksum: str
    token: int

    def lay(self, connection: Session) -> None:
        """Make the ledger's table where there is none; two may try at once. Raises psycopg.Error."""
        if connection.execute("SELECT to_regclass(%s)", [f"{self.schema}.{LEDGER}"]).fetchone() != (None,):
            return
        # IF NOT EXISTS does not look at what another is about to commit.
        with suppress(psycopg.errors.UniqueViolation, psycopg.errors.DuplicateTable), connection.transaction():
            connection.execute(
                sql.SQL(
                    "CREATE TABLE IF NOT EXISTS {} (migration uuid NOT NULL, step text NOT NULL,"
                    " checksum text NOT NULL, state text NOT NULL CHECK (state IN ('running', 'applied', 'reverted')),"
                    " token bigint NOT NULL, cursor text, done bigint NOT NULL DEFAULT 0, total bigint,"
                    " changed_at timestamptz NOT NULL DEFAULT clock_timestamp(), PRIMARY KEY (migration, step))"
                ).format(self._table)
            )

    def seize(self, connection: Session, *, between: Callable[[], None]) -> None:
        """Be the only attempt of this migration's at this target while the session lives; `between` looks at a stop.

        An older attempt's session is ended when it stays. Raises FencedOffError where a newer attempt is at work,
        RetryableError where the other cannot be ended.
        """
        connection.execute("SELECT set_config('application_name', %s, false)", [f"{APPLICATION} {self.token}"])
        begun = time.monotonic()
        while connection.execute("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", [self._key]).fetchone() != (
            True,
        ):
            between()
            waited_s = time.monotonic() - begun
            for process, theirs in self._holders(connection):
                if theirs > self.token:
                    raise FencedOffError("a newer attempt is at the step")
                if waited_s > _GRACE_S and theirs >= 0:
                    with suppress(psycopg.errors.InsufficientPrivilege):  # another role's: it has to end by itself
                        connection.execute("SELECT pg_terminate_backend(%s)", [process])
            if waited_s > _SEIZE_S:
                raise RetryableError("another attempt is at the target", code="busy")
            time.sleep(_LOOK_S)

    def claim(self, connection: Session) -> Standing:
        """Put this attempt's token on the step's row, for the rest of the transaction; return what stood there.

        Raises FencedOffError where a greater one stands, DefinitionChangedError where another text was applied.
        """
        key = [self.migration, self.step]
        connection.execute(
            sql.SQL(
                "INSERT INTO {} (migration, step, checksum, state, token) VALUES (%s, %s, %s, 'reverted', 0)"
                " ON CONFLICT DO NOTHING"
            ).format(self._table),
            [*key, self.checksum],
        )
        row = connection.execute(
            sql.SQL(
                "SELECT token, state, checksum, cursor, done, total FROM {}"
                " WHERE migration = %s AND step = %s FOR UPDATE"
            ).format(self._table),
            key,
        ).fetchone()
        if row is None or row[0] > self.token:
            raise FencedOffError("a newer attempt has been at the step")
        _, state, checksum, cursor, done, total = row
        if state != State.REVERTED and checksum != self.checksum:
            raise DefinitionChangedError("another text of this step was done to the target")
        connection.execute(
            sql.SQL("UPDATE {} SET token = %s WHERE migration = %s AND step = %s").format(self._table),
            [self.token, *key],
        )
        if state == State.REVERTED:
            return Standing(state=State.REVERTED)
        return Standing(state=State(state), cursor=cursor, done=done, total=total)

    def note(
        self,
        connection: Session,
        state: State,
        *,
        cursor: str | None = None,
        done: int = 0,
        total: int | None = None,
    ) -> None:
        """Write what is true once this transaction commits; raises FencedOffError where a greater token stands."""
        noted = connection.execute(
            sql.SQL(
                "UPDATE {} SET state = %s, checksum = %s, cursor = %s, done = %s, total = %s,"
                " changed_at = clock_timestamp() WHERE migration = %s AND step = %s AND token = %s"
            ).format(self._table),
            [state.value, self.checksum, cursor, done, total, self.migration, self.step, self.token],
        )
        if noted.rowcount != 1:
            raise FencedOffError("a newer attempt has been at the step")

    @property
    def _table(self) -> sql.Identifier:
        return sql.Identifier(self.schema, LEDGER)

    @property
    def _key(self) -> str:
        return f"{LEDGER} {self.schema} {self.migration}"

    def _holders(self, connection: Session) -> list[tuple[int, int]]:
        """Return (process, token) of whoever holds the target; a token of -1: a session that is not known as ours."""
        rows = connection.execute(
            "SELECT pid, coalesce(application_name, '') FROM pg_locks JOIN pg_stat_activity USING (pid)"
            " WHERE locktype = 'advisory' AND granted AND objsubid = 1 AND pid <> pg_backend_pid()"
            " AND pg_locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            " AND (classid::bigint << 32 | objid::bigint) = hashtextextended(%s, 0)",
            [self._key],
        ).fetchall()
        return [(process, _token_in(name)) for process, name in rows]


def _token_in(name: str) -> int:
    found = re.fullmatch(rf"{APPLICATION} (\d+)", name)
    return int(found.group(1)) if found else -1

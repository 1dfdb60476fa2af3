"""What a step does to its tables beside its work: the locks it holds, and until when; the tables it writes anew.

A step commits its own transactions, and its locks are gone with them. So a trigger looks: on the copy's ledger, which
each of those transactions writes, deferred to its end. There it also sees a lock on anything that is not the copy's,
and refuses the commit: a step that names the original by its schema is found out before it has changed it. What a step
does outside a transaction no trigger sees; then a second session looks, many times a second.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg import sql

from workers.migrations.ledger import LEDGER
from workers.migrations.version import TABLE

Session = psycopg.Connection[Any]
# Weakest first.
MODES: Final = (
    "AccessShareLock",
    "RowShareLock",
    "RowExclusiveLock",
    "ShareUpdateExclusiveLock",
    "ShareLock",
    "ShareRowExclusiveLock",
    "ExclusiveLock",
    "AccessExclusiveLock",
)
# From here on somebody who only writes rows has to wait.
BLOCKING: Final = frozenset(MODES[MODES.index("ShareLock") :])
REACHES_OUTSIDE: Final = "OPS01"
_LOOK_S: Final = 0.01

_LAY: Final = """
CREATE TABLE {watch}.seen (relation oid NOT NULL, mode text NOT NULL, held_ms double precision NOT NULL);
CREATE FUNCTION {watch}.look() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $look$
BEGIN
    IF EXISTS (SELECT FROM pg_locks JOIN pg_class ON pg_class.oid = relation
                 JOIN pg_namespace ON pg_namespace.oid = relnamespace
                WHERE pid = pg_backend_pid() AND locktype = 'relation' AND mode <> 'AccessShareLock'
                  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
                  AND nspname <> ALL ({inside}) AND nspname !~ '^pg_') THEN  -- the server's own: catalogs, temporary
        RAISE EXCEPTION 'the step reaches outside the schema it is given' USING ERRCODE = {code};
    END IF;
    INSERT INTO {watch}.seen
        SELECT relation, mode, 1000 * extract(epoch FROM clock_timestamp() - transaction_timestamp())
          FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'relation' AND granted;
    RETURN NULL;
END $look$;
CREATE CONSTRAINT TRIGGER ops_rehearsal AFTER INSERT OR UPDATE OR DELETE ON {ledger}
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION {watch}.look();
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """The strongest lock on a table, and the longest that it was held: at most as long as its transaction took."""

    relation: str
    mode: str
    held_ms: float
    rewrites: bool = False

    @property
    def reads_only(self) -> bool:
        """Whether it stands in the way of nothing but what nobody may pass."""
        return self.mode == MODES[0]

    @property
    def blocking(self) -> bool:
        """Whether writers of the table had to wait for it, or everybody."""
        return self.mode in BLOCKING


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """The tables of the copy at a moment: number → name, and number → the file that holds the rows."""

    names: Mapping[int, str]
    files: Mapping[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Observer:
    """Watches the copy `schema`, from a session of its own; what it sees lies in the scratch schema `watch`."""

    session: Session
    schema: str
    watch: str

    def lay(self) -> None:
        """Begin to look: the copy's ledger must be there. Raises psycopg.Error."""
        self.session.execute(
            sql.SQL(_LAY).format(
                watch=sql.Identifier(self.watch),
                inside=sql.Literal([self.schema, self.watch]),
                code=sql.Literal(REACHES_OUTSIDE),
                ledger=sql.Identifier(self.schema, LEDGER),
            )
        )

    def tables(self) -> Tables:
        """Return the copy's tables as they are now, without the plane's own."""
        rows = self.session.execute(
            "SELECT oid, relname, coalesce(pg_relation_filenode(oid), 0) FROM pg_class"
            " WHERE relnamespace = %s::regnamespace AND relkind IN ('r', 'm') AND relname <> ALL (%s)",
            [self.schema, [LEDGER, TABLE]],
        ).fetchall()
        return Tables(
            names={oid: name for oid, name, _ in rows},
            files={oid: file for oid, _, file in rows},
        )

    def seen(self, before: Tables, *, polled: Iterable[tuple[int, str, float]] = ()) -> list[Lock]:
        """Return the locks since the last question on tables that were there before, by name.

        Tables that a step made are nobody's yet: a lock on them makes nobody wait.
        """
        watch = sql.Identifier(self.watch, "seen")
        rows = self.session.execute(
            sql.SQL("WITH gone AS (DELETE FROM {} RETURNING *) SELECT relation, mode, held_ms FROM gone").format(watch)
        ).fetchall()
        after = self.tables()
        strongest: dict[int, tuple[str, float]] = {}
        for relation, mode, held_ms in [*rows, *polled]:
            if relation not in before.names or mode not in MODES:
                continue
            known, longest = strongest.get(relation, (MODES[0], 0.0))
            stronger = MODES.index(mode) > MODES.index(known)
            strongest[relation] = (mode if stronger else known, max(longest, held_ms))
        return sorted(
            (
                Lock(
                    relation=before.names[relation],
                    mode=mode,
                    held_ms=held_ms,
                    rewrites=after.files.get(relation, before.files[relation]) != before.files[relation],
                )
                for relation, (mode, held_ms) in strongest.items()
            ),
            key=lambda lock: lock.relation,
        )


class Poll:
    """Locks of another session, as a look every hundredth of a second finds them."""

    def __init__(self) -> None:
        self._first: dict[tuple[int, str], float] = {}
        self._last: dict[tuple[int, str], float] = {}

    def add(self, relation: int, mode: str, at_ms: float) -> None:
        """Note that a lock is held now."""
        self._first.setdefault((relation, mode), at_ms)
        self._last[relation, mode] = at_ms

    def locks(self) -> list[tuple[int, str, float]]:
        """Return (relation, mode, milliseconds held), a look more than was seen."""
        return [(*key, self._last[key] - first + 1000 * _LOOK_S) for key, first in self._first.items()]


@contextmanager
def polling(connect: AbstractContextManager[Session], *, pid: int) -> Iterator[Poll]:
    """Yield what a look every hundredth of a second finds of the locks that session `pid` holds, until the end."""
    found, over = Poll(), threading.Event()

    def look(session: Session) -> None:
        with suppress(psycopg.Error):  # a look less: the step goes on, and what was seen stands
            while not over.wait(_LOOK_S):
                for relation, mode, at_ms in session.execute(
                    "SELECT relation, mode, 1000 * extract(epoch FROM clock_timestamp())::double precision"
                    " FROM pg_locks WHERE pid = %s AND locktype = 'relation' AND granted",
                    [pid],
                ):
                    found.add(relation, mode, at_ms)

    with connect as session:
        thread = threading.Thread(target=look, args=(session,), name="rehearsal-locks", daemon=True)
        thread.start()
        try:
            yield found
        finally:
            over.set()
            thread.join()

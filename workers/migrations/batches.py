"""Backfills: a table gone through by its key, batch by batch, each a transaction with the ledger's cursor in it.

So a killed attempt's successor goes on where the last committed batch ended, and no row is done twice. A batch is made
as large as a fifth of a second allows, and a rest follows it, so that those who use the table keep their share of it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, Protocol

from apps.jobs.types import PermanentError
from apps.migrations.definition import Batch
from workers.migrations import keys, session, statements
from workers.migrations.ledger import Session, State
from workers.migrations.target import TooSlowError
from workers.migrations.work import Work

AIM_S: Final = 0.2
_GROWTH: Final = 2.0
_MOST: Final = 64  # times the size that the definition says
_LOOKS: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What a batch came to: where the next begins, how many rows or keys it went through, whether it was the last."""

    cursor: str | None
    done: int
    last: bool
    took_s: float = 0.0


class Batches(Protocol):
    """What a kind of step does in a batch."""

    def total(self, work: Work) -> int | None:
        """Return how many rows or keys there are to go through, as far as it is known."""

    def make(self, work: Work, *, cursor: str | None, size: int) -> Made:
        """Do the batch after `cursor`, in this transaction. Raises psycopg.Error."""

    def ready(self, work: Work, *, cursor: str | None) -> None:
        """Wait, outside a transaction, until the batch after `cursor` can be complete."""


def run(work: Work, batches: Batches) -> None:
    """Go through all batches that are left, then note that the step is done; raises PermanentError, RetryableError."""
    batch = work.step.batch or Batch()
    begun = _begin(work, batches)
    if begun is None:
        return
    cursor, done, total = begun
    work.ctx.progress(done, total, message=cursor)
    size, more = batch.size, True
    while more:
        batches.ready(work, cursor=cursor)
        made, size = _made(work, batches, cursor=cursor, done=done, total=total, size=size)
        cursor, done, more = made.cursor, done + made.done, not made.last
        total = None if total is None else max(total, done)
        work.ctx.progress(done, total, message=cursor)
        if more and made.done:
            size = _next_size(size, took_s=made.took_s, most=batch.size * _MOST)
            session.pause(work.ctx, made.took_s * batch.rest)
    work.ctx.metric("rows", done)


def _begin(work: Work, batches: Batches) -> tuple[str | None, int, int | None] | None:
    """Return (cursor, done, total) as the attempt before left them, or None where all is done."""

    def look(_: Session) -> tuple[str | None, int, int | None] | None:
        with work.unless_done() as standing:
            if standing is None:
                return None
            cursor, done, total = standing.cursor, standing.done, standing.total
            work.ledger.note(work.connection, State.RUNNING, cursor=cursor, done=done, total=total)
            return cursor, done, total

    begun = work.transact(look)
    if begun is None or begun[2] is not None:
        return begun
    try:
        return begun[0], begun[1], work.transact(lambda _: batches.total(work))
    except TooSlowError:  # a table without statistics, and larger than it can be counted in time
        return begun[0], begun[1], None


def _made(
    work: Work, batches: Batches, *, cursor: str | None, done: int, total: int | None, size: int
) -> tuple[Made, int]:
    """Do one batch, smaller where it takes too long; return it and its size."""
    while True:
        one = partial(_one, work, batches, cursor=cursor, done=done, total=total, size=size)
        try:
            return work.tried(one), size
        except TooSlowError:
            if size == 1:
                raise
            size = max(1, size // 4)
            work.ctx.log("a batch took too long: smaller", level="warning", size=size)


def _one(work: Work, batches: Batches, *, cursor: str | None, done: int, total: int | None, size: int) -> Made:
    """Do one batch and its word in the ledger, in one transaction."""
    began = time.monotonic()
    with work.connection.transaction():
        work.bound()
        standing = work.ledger.claim(work.connection)
        if standing.state is not State.RUNNING or standing.cursor != cursor:
            raise PermanentError("somebody else wrote the step's row in the ledger", code="ledger_changed")
        made = batches.make(work, cursor=cursor, size=size)
        behind = done + made.done
        known = None if total is None else max(total, behind)
        if made.last:
            work.finish(done=behind, total=known)
        else:
            work.bound()  # the step's own text may have looked elsewhere
            work.ledger.note(work.connection, State.RUNNING, cursor=made.cursor, done=behind, total=known)
    return replace(made, took_s=time.monotonic() - began)


def _next_size(size: int, *, took_s: float, most: int) -> int:
    """Return the size that would have taken `AIM_S`, by steps that one odd batch cannot throw off."""
    wanted = size * AIM_S / max(took_s, 0.001)
    return max(1, min(round(min(max(wanted, size / _GROWTH), size * _GROWTH)), most))


class SqlBatches:
    """One statement with the bounds %(after)s and %(upto)s of a key.

    A table that is written meanwhile is gone through to a horizon: the greatest key, once no transaction is open that
    may still add one below it. There, a new horizon is looked for, and so a few times: a table that grows for ever must
    not be followed for ever. What is written after the last look is the business of a default, a trigger or the module.
    """

    def __init__(self, text: str) -> None:
        """Take the statement's text."""
        self._text = text
        self._found: tuple[keys.Table, bytes, str] | None = None
        self._horizon: str | None = None
        self._looks = 0
        self._over = False

    def total(self, work: Work) -> int | None:
        """Return the table's rows, counted or estimated."""
        return self._table(work)[0].count(work.connection)

    def ready(self, work: Work, *, cursor: str | None) -> None:
        """Have a horizon beyond `cursor`, or know that there is none any more."""
        if self._looks and cursor != self._horizon:
            return
        if self._looks >= _LOOKS:
            self._over = True
            return
        self._looks += 1
        table, _, _ = work.transact(lambda _: self._table(work))
        for _ in range(2):  # nothing beyond: but for what those who write just now are about to add
            newest = work.transact(partial(table.greatest, after=cursor))
            table.await_writers(work.connection, pause=partial(session.pause, work.ctx))
            if newest is not None:
                self._horizon = newest
                return
        self._over = True

    def make(self, work: Work, *, cursor: str | None, size: int) -> Made:
        """Run the statement for the next `size` keys."""
        if self._over or self._horizon is None:
            return Made(cursor=cursor, done=0, last=True)
        table, statement, least = self._table(work)
        found = table.next(work.connection, after=cursor, upto=self._horizon, size=size)
        if found is None:
            return Made(cursor=self._horizon, done=0, last=False)
        work.connection.execute(statement, {"after": least if cursor is None else cursor, "upto": found.upto})
        return Made(cursor=found.upto, done=found.rows, last=False)

    def _table(self, work: Work) -> tuple[keys.Table, bytes, str]:
        """Return the table, the statement with its values' type said, and what is below every key; looked up once."""
        if self._found is None:
            batch = work.step.batch
            if batch is None or batch.table is None or batch.key is None:
                raise PermanentError("a backfill's table and key are to be said", code="bad_step")
            table = keys.find(work.connection, schema=work.schema, name=batch.table, key=batch.key)
            statement = statements.with_values(self._text)
            for name in (b"%(after)s", b"%(upto)s"):
                statement = statement.replace(name, table.cast(name.decode()).encode())
            self._found = table, statement, table.least(work.connection)
        return self._found

"""`sql`: statements on the target, in one transaction with the step's row in the ledger; or a question; or one by one.

What may not run in a transaction (`transaction: false`) runs statement by statement: the ledger says `running` and how
many are behind it before each, so that a killed attempt's successor goes on at the statement that was under way.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final

import psycopg
from psycopg import sql

from apps.jobs.types import Cancelled, PermanentError
from apps.migrations.definition import Phase
from workers.migrations import batches, statements
from workers.migrations.ledger import Session, State
from workers.migrations.target import failure
from workers.migrations.work import Direction, Work

_GOOD: Final = "good"
_REFUSED: Final = "refused"  # the statement itself, so that what it would have made is not its own where it is found


class VerifyFailedError(PermanentError):
    """The question was answered by false, or by nothing."""

    default_code = "verify_failed"


def run(work: Work) -> None:
    """Do or undo a sql step; raises PermanentError or RetryableError."""
    up = work.direction is Direction.UP
    text = work.step.text if up else work.step.revert_text
    if not up and not work.step.undoes:
        work.transact(lambda _: _mark(work))
    elif text is None:
        raise PermanentError("the step has no text", code="bad_step")
    elif up and work.step.batch is not None:
        batches.run(work, batches.SqlBatches(text))
    elif up and work.step.phase is Phase.VERIFY:
        verify(work, text)
    elif work.step.transaction or (not up and work.step.batch is not None):
        _whole(work, statements.transactional(text))
    else:
        _one_by_one(work, statements.split(text))


def verify(work: Work, text: str) -> None:
    """Ask the target a question, then note that it was answered by true; raises VerifyFailedError."""

    def asked_before(_: Session) -> bool:
        with work.unless_done() as standing:
            return standing is None

    def ask(connection: Session) -> list[tuple[Any, ...]]:
        connection.execute("SET TRANSACTION READ ONLY")
        return rows(connection, text)

    if work.transact(asked_before):
        return
    if not holds(work.transact(ask)):
        raise VerifyFailedError("the target does not answer as it should")
    work.transact(lambda _: _mark(work))


def rows(connection: Session, text: str) -> list[tuple[Any, ...]]:
    """Return the first rows of the one statement `text`; raises psycopg.Error."""
    cursor = connection.execute(statements.one(text))
    return cursor.fetchmany(2) if cursor.description else []


def holds(answer: list[tuple[Any, ...]]) -> bool:
    """Say whether an answer is one row of one true; raises PermanentError where it is of another form."""
    if len(answer) != 1 or len(answer[0]) != 1 or not (answer[0][0] is None or isinstance(answer[0][0], bool)):
        raise PermanentError("one row of one boolean would be right", code="verify_shape")
    return bool(answer[0][0])


def _mark(work: Work) -> None:
    """Note that the step is done, in this transaction."""
    with work.unless_done() as standing:
        if standing is not None:
            work.finish()


def _whole(work: Work, text: bytes) -> None:
    def body(connection: Session) -> None:
        with work.unless_done() as standing:
            if standing is not None:
                connection.execute(text)
                work.finish()

    work.transact(body)


def _one_by_one(work: Work, texts: list[bytes]) -> None:
    """Run statements that are a transaction each of their own; the ledger counts them."""

    def begin(_: Session) -> tuple[int, bool] | None:
        with work.unless_done() as standing:
            if standing is None:
                return None
            way, behind, word = ((standing.cursor or "") + " 0 -").split(" ")[:3]
            resumed = standing.state is State.RUNNING and way == work.direction.value
            return _note(work, int(behind) if resumed else 0, len(texts), _GOOD), resumed and word != _REFUSED

    begun = work.transact(begin)
    if begun is None:
        return
    behind, resumed = begun
    for number in range(behind, len(texts)):
        try:
            _alone(work, texts[number], resumed=resumed and number == behind)
        except PermanentError:
            work.transact(partial(_noted, work, number, len(texts), _REFUSED))
            raise
        work.transact(partial(_noted, work, number + 1, len(texts), _GOOD))
        work.ctx.progress(number + 1, len(texts))
    work.transact(lambda _: _mark(work))


def _note(work: Work, behind: int, total: int, word: str) -> int:
    """Write how many statements are behind, in this transaction, and that the next was refused if it was."""
    cursor = f"{work.direction.value} {behind} {word}"
    work.ledger.note(work.connection, State.RUNNING, cursor=cursor, done=behind, total=total)
    return behind


def _noted(work: Work, behind: int, total: int, word: str, connection: Session) -> None:
    work.ledger.claim(connection)
    _note(work, behind, total, word)


def _alone(work: Work, statement: bytes, *, resumed: bool) -> None:
    """Run one statement outside a transaction. What a killed CREATE INDEX CONCURRENTLY left is cleared away first.

    `resumed`: an attempt before may have run it, and could not say so.
    """
    index = statements.concurrent_index(statement)

    def body() -> None:
        work.bound(local=False)
        if b"concurrently" in statement.lower():  # while it waits for locks it is in nobody's way who reads or writes
            work.connection.execute("SELECT set_config('lock_timeout', '0', false)")
        if index is not None and (valid := _valid(work, index)) is not None:
            if valid and resumed:
                return
            if not valid:
                _drop(work, index)
        work.connection.execute(statement)

    try:
        work.tried(body)
    except (PermanentError, Cancelled):  # nobody may come after it
        if index is not None:
            _clear(work, index)
        raise


def _valid(work: Work, index: str) -> bool | None:
    """Return whether the schema's index of that name can be used; None: there is none."""
    row = work.connection.execute(
        "SELECT indisvalid FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid"
        " WHERE relname = %s AND relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = %s)",
        [index, work.schema],
    ).fetchone()
    return None if row is None else bool(row[0])


def _drop(work: Work, index: str) -> None:
    work.connection.execute(sql.SQL("DROP INDEX CONCURRENTLY {}").format(sql.Identifier(work.schema, index)))


def _clear(work: Work, index: str) -> None:
    """Take away an index that could not be made: it costs every write, and serves no read."""
    try:
        if _valid(work, index) is False:
            _drop(work, index)
    except psycopg.Error as error:
        work.ctx.log("an index that cannot be used is left", level="warning", code=failure(error).code)

"""A definition tried on a copy of a target: every step that can be, up, down and up again, by the code that runs it.

Each step is done as its job would do it, on a session of its own, into the copy's own ledger: what is measured, and
which locks are held, is what a real target will see at another size. Two copies of two sizes make a line of it. A step
that reaches outside its schema is found out and changes nothing.
"""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import psycopg
import structlog

from apps.jobs.types import Cancelled, JobError, JobTimeout
from apps.migrations import drift
from apps.migrations.definition import Definition, Kind, Phase, Step
from workers.migrations import blueprint, clone, observer, python_step, reading, scratch, sql_step
from workers.migrations.clone import Clone
from workers.migrations.ledger import LEDGER, Ledger, token
from workers.migrations.observer import Lock, Observer
from workers.migrations.rehearsal_context import Deadline, context
from workers.migrations.run import hold
from workers.migrations.sql_step import VerifyFailedError
from workers.migrations.work import Direction, Work

Session = psycopg.Connection[Any]
Connect = Callable[[], AbstractContextManager[Session]]

SIZES: Final = (1_000, 4_000)
# For all of it; what is not done by then is said to be not done.
LONGEST_S: Final = 300.0
_RUN: Final = {Kind.SQL: sql_step.run, Kind.PYTHON: python_step.run}

log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """One run of a step on a copy of `size` rows a table.

    `tables`: those it touched, reading or writing, all where that is not known; `over`: the rows they had. `rows`:
    those that a backfill went through. `locks`: those that stand in anybody's way.
    """

    name: str
    direction: str
    size: int
    seconds: float
    tables: Sequence[str]
    over: int
    rows: int | None
    locks: Sequence[Lock]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """What went wrong: in which step, by a stable word; `differs`: the objects that did not come back."""

    code: str
    step: str | None = None
    direction: str | None = None
    differs: Sequence[str] = ()

    @property
    def doubtful(self) -> bool:
        """Whether it may be the copy's fault: a question about all rows may be answered otherwise by some of them."""
        return self.code == VerifyFailedError.default_code


@dataclass(slots=True, kw_only=True)
class Rehearsal:
    """What a rehearsal found. `rows`: of each of the target's tables, as PostgreSQL estimates them.

    `came_back`: whether the copy's schema was what it had been, once all was undone; None: it did not come to that.
    `skipped`: steps that no copy can show, each with its kind.
    """

    on: str
    timed: list[Timed] = field(default_factory=list)
    rows: Mapping[str, int] = field(default_factory=dict)
    came_back: bool | None = None
    trouble: Trouble | None = None
    not_cloned: Sequence[str] = ()
    skipped: Sequence[str] = ()


def rehearse(
    definition: Definition,
    *,
    connect: Connect,
    schema: str,
    sizes: Sequence[int] = SIZES,
    longest_s: float = LONGEST_S,
) -> Rehearsal:
    """Return what came of trying the definition on copies of `schema`, smallest first.

    `connect` opens a session in it, in autocommit, as `target.connect` does. Raises nothing of the database's: what
    kept it from being tried is its `trouble`.
    """
    found = Rehearsal(on=schema, skipped=[f"{step.name}: {step.kind}" for step in definition.steps if not _can(step)])
    deadline = Deadline(longest_s)
    if (named := _naming(definition, schema=schema)) is not None:
        found.trouble = Trouble(code="names_its_schema", step=named)
        return found
    if len(found.skipped) == len(definition.steps):
        return found
    for size in sizes:
        try:
            _on_a_copy(found, definition, connect=connect, schema=schema, rows=size, deadline=deadline)
        except blueprint.TooLargeError:
            found.trouble = Trouble(code="schema_too_large")
        except JobError as error:
            found.trouble = Trouble(code=error.code)
        except psycopg.Error as error:
            found.trouble = Trouble(code=_word(error))
        if found.trouble is not None and not found.trouble.doubtful:
            break
    return found


def _can(step: Step) -> bool:
    return step.kind in _RUN


def _naming(definition: Definition, *, schema: str) -> str | None:
    """Return the first step whose text names the target's schema: on a copy it would still mean the original."""
    word = re.compile(rf'(?<![\w$]){re.escape(schema)}(?![\w$])"?\s*\.')
    for step in definition.steps:
        if any(text is not None and word.search(text) for text in (step.text, step.revert_text)):
            return step.name
    return None


def _word(error: psycopg.Error) -> str:
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return "may_not_make_schemas"
    if isinstance(error, psycopg.errors.LockNotAvailable):
        return "target_busy"
    return f"sql_{error.sqlstate.lower()}" if error.sqlstate else "connection_lost"


def _on_a_copy(
    found: Rehearsal, definition: Definition, *, connect: Connect, schema: str, rows: int, deadline: Deadline
) -> None:
    with connect() as keeper, scratch.schema(keeper) as into, scratch.schema(keeper) as watch:
        made = clone.make(keeper, of=schema, into=into, rows=rows, leave=frozenset({LEDGER}))
        found.not_cloned = made.not_cloned
        found.rows = _rows_of(keeper, made)
        migration = str(uuid4())
        Ledger(schema=into, migration=migration, step="", checksum="", token=0).lay(keeper)
        watcher = Observer(session=keeper, schema=into, watch=watch)
        watcher.lay()
        with tempfile.TemporaryDirectory(prefix="ops-rehearsal-") as folder:
            stage = Stage(
                definition=definition,
                connect=connect,
                schema=into,
                size=rows,
                keeper=keeper,
                watcher=watcher,
                migration=migration,
                folder=Path(folder),
                deadline=deadline,
                fences=count(1),
            )
            _play(found, stage)


def _rows_of(session: Session, made: Clone) -> dict[str, int]:
    """Return the rows of the original's tables: PostgreSQL's estimate, or by its size where it has none yet."""
    sizes = {
        name: int(size)
        for name, size in session.execute(
            "SELECT relname, pg_relation_size(oid) FROM pg_class"
            " WHERE relnamespace = %s::regnamespace AND relkind = 'r'",
            [made.schema],
        )
    }
    known = {table.name: table.rows for table in made.tables if table.rows is not None}
    for table in made.tables:
        if table.name not in known and (copied := made.rows.get(table.name)):
            known[table.name] = max(copied, round(copied * table.bytes / max(1, sizes.get(table.name, 0))))
    return {name: max(rows, made.rows.get(name, 0)) for name, rows in known.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A copy on which steps are tried, and whoever watches it."""

    definition: Definition
    connect: Connect
    schema: str
    size: int
    keeper: Session
    watcher: Observer
    migration: str
    folder: Path
    deadline: Deadline
    fences: Iterator[int]

    def objects(self) -> Mapping[str, str]:
        """Return the copy's objects as they are now."""
        return reading.of(self.keeper, self.definition, schema=self.schema).objects or {}

    def rows(self, tables: Sequence[str]) -> int:
        """Return how many rows these tables of the copy have now, by PostgreSQL's estimate of a moment ago."""
        row = self.keeper.execute(
            "SELECT coalesce(sum(greatest(reltuples, 0)), 0)::bigint FROM pg_class"
            " WHERE relnamespace = %s::regnamespace AND relname = ANY (%s)",
            [self.schema, list(tables)],
        ).fetchone()
        return int(row[0]) if row is not None else 0


def _play(found: Rehearsal, stage: Stage) -> None:
    """Go up to before contract, down again, and up for good; stop at the first trouble."""
    steps = [step for step in stage.definition.steps if _can(step)]
    there_and_back = [step for step in steps if step.phase is not Phase.CONTRACT]
    for_good = [step for step in steps if step.phase is Phase.CONTRACT]
    before = stage.objects()
    if not _way(found, stage, there_and_back, Direction.UP):
        return
    if not _way(found, stage, there_and_back[::-1], Direction.DOWN):
        found.came_back = False
        return
    differs = drift.differing(before, stage.objects())
    found.came_back = not differs
    if differs:
        found.trouble = Trouble(code="did_not_come_back", differs=differs)
        return
    if _way(found, stage, there_and_back, Direction.UP):
        _way(found, stage, for_good, Direction.UP)


def _way(found: Rehearsal, stage: Stage, steps: Sequence[Step], direction: Direction) -> bool:
    """Do or undo the steps one after the other; return whether all went well."""
    contract = bool(steps) and steps[-1].phase is Phase.CONTRACT
    for step in steps:
        last = step is steps[-1] and not contract
        version = stage.definition.version_to if direction is Direction.UP else stage.definition.version_from
        try:
            found.timed.append(_do(stage, step, direction, sets_version=version if last else None))
        except (JobTimeout, Cancelled):
            found.trouble = Trouble(code="took_too_long", step=step.name, direction=direction.value)
        except JobError as error:
            outside = error.code == f"sql_{observer.REACHES_OUTSIDE.lower()}"
            code = "reaches_outside" if outside else error.code
            found.trouble = Trouble(code=code, step=step.name, direction=direction.value)
            if found.trouble.doubtful:
                continue
        except psycopg.Error:
            raise
        except Exception as error:  # noqa: BLE001 - a step's own function may raise anything; its words may quote rows
            log.warning("rehearsed_step_raised", step=step.name, error=type(error).__name__)
            found.trouble = Trouble(code="step_raised", step=step.name, direction=direction.value)
        if found.trouble is not None and not found.trouble.doubtful:
            return False
    return True


def _do(stage: Stage, step: Step, direction: Direction, *, sets_version: str | None) -> Timed:
    """Do one step as its job would, and return what was seen of it."""
    before = stage.watcher.tables()
    with stage.connect() as connection:
        mine = token(run=1, fence=next(stage.fences))
        work = Work(
            ctx=context(folder=stage.folder, deadline=stage.deadline),
            definition=stage.definition,
            step=step,
            direction=direction,
            schema=stage.schema,
            connection=connection,
            ledger=Ledger(
                schema=stage.schema, migration=stage.migration, step=step.name, checksum=step.checksum, token=mine
            ),
            sets_version=sets_version,
        )
        hold(work)
        stage.watcher.seen(before)  # what taking hold of the target locked is not the step's
        alone = not step.transaction and step.kind is Kind.SQL
        looking = observer.polling(stage.connect(), pid=connection.info.backend_pid) if alone else nullcontext(None)
        with looking as poll:
            begun = time.monotonic()
            _RUN[step.kind](work)
            seconds = time.monotonic() - begun
    locks = stage.watcher.seen(before, polled=poll.locks() if poll is not None else ())
    # A question is asked in a transaction that may write nothing, not even what it locks.
    tables = [lock.relation for lock in locks] or sorted(before.names.values())
    return Timed(
        name=step.name,
        direction=direction.value,
        size=stage.size,
        seconds=seconds,
        tables=tables,
        over=stage.rows(tables),
        rows=_gone_through(stage, step) if step.batch is not None and direction is Direction.UP else None,
        locks=[lock for lock in locks if not lock.reads_only],
    )


def _gone_through(stage: Stage, step: Step) -> int | None:
    row = stage.keeper.execute(
        f"SELECT done FROM {stage.schema}.{LEDGER} WHERE migration = %s AND step = %s".encode(),
        [stage.migration, step.name],
    ).fetchone()
    return None if row is None else int(row[0])

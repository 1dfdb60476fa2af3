"""One step on one target, as an attempt does it: what is asked, on which session, under which token."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from apps.jobs.types import Context
from apps.migrations.definition import Definition, Step
from workers.migrations import session, target, version
from workers.migrations.ledger import Ledger, Session, Standing, State

T = TypeVar("T")


class Direction(StrEnum):
    """Whether a step is made or undone."""

    UP = "up"
    DOWN = "down"


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A step on a target. `sets_version`: what the target is to say afterwards, or None: nothing new."""

    ctx: Context
    definition: Definition
    step: Step
    direction: Direction
    schema: str
    connection: Session
    ledger: Ledger
    sets_version: str | None = None

    @property
    def goal(self) -> State:
        """Return what the ledger says when the work is done."""
        return State.APPLIED if self.direction is Direction.UP else State.REVERTED

    def transact(self, body: Callable[[Session], T]) -> T:
        """Return what `body` returns, done in one transaction that waits for no lock and no statement too long.

        Made again where it lost to others' locks. Raises what the target's error means for the attempt.
        """

        def once() -> T:
            with self.connection.transaction():
                self.bound()
                return body(self.connection)

        return self.tried(once)

    def tried(self, body: Callable[[], T]) -> T:
        """Return what `body` returns, watched by the attempt, and made again where it lost to others' locks."""
        return session.contended(self.ctx, lambda: session.watched(self.ctx, self.connection, body))

    def bound(self, *, local: bool = True) -> None:
        """Bound what follows by the step's own times, in this transaction only if `local`."""
        target.bound(
            self.connection,
            schema=self.schema,
            lock_s=self.step.lock_timeout_s,
            statement_s=self.step.statement_timeout_s,
            local=local,
        )

    @contextmanager
    def unless_done(self) -> Iterator[Standing | None]:
        """Claim the step's row in this transaction; yield what stood there, or None where nothing is to be done.

        Done is what the ledger says is done, and the undoing of what leaves nothing to undo.
        """
        standing = self.ledger.claim(self.connection)
        if standing.state is self.goal:
            self.finish(done=standing.done, total=standing.total)
            yield None
        elif self.direction is Direction.DOWN and not self.step.undoes:
            self.finish()
            yield None
        else:
            yield standing

    def finish(self, *, done: int = 0, total: int | None = None) -> None:
        """Write, in this transaction, that the step is done, and the version if this step brings it."""
        self.bound()  # the step's own text may have looked elsewhere
        self.ledger.note(self.connection, self.goal, done=done, total=total)
        if self.sets_version is not None:
            version.write(self.connection, self.definition, schema=self.schema, version=self.sets_version)

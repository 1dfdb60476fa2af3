"""A job's log as a stream: its lines as they come, until the job is over and every line was told."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import NamedTuple
from uuid import UUID

from apps.core import sse
from apps.core.live import Poller
from apps.jobs import queries, representation
from apps.jobs.queries import LogLine, Mark
from apps.tenancy.context import in_tenant, operator_reading

BATCH = 500


def _look(keys: Collection[UUID]) -> Mapping[UUID, Mark]:
    """Return how far the watched jobs are: marks only, no line of anybody's log."""
    with operator_reading():
        return queries.marks_of(keys)


POLLER: Poller[UUID, Mark] = Poller(_look, name="live-logs")


class Position(NamedTuple):
    """A place in a job's log."""

    fence: int
    line: int


class LogSource:
    """A `sse.Source` of the log of `job_id`, which its tenant's context has shown to exist, after `position`."""

    def __init__(self, *, tenant_id: str, job_id: UUID, position: tuple[int, int]) -> None:
        self._tenant_id = tenant_id
        self._job_id = job_id
        self._position = Position(*position)
        self._mark: Mark | None = None
        self._drained = True
        self._watching = ExitStack()
        self._watching.enter_context(POLLER.watching(job_id))

    def frames(self, *, wait_s: float) -> Sequence[bytes]:
        """Return the next lines as frames; raise `SourceOverError` when the job is over and all were told."""
        if self._drained:
            mark = POLLER.wait(self._job_id, until=lambda mark: mark != self._mark, timeout_s=wait_s)
            if mark is None:
                return []
            self._mark, self._drained = mark, False
        lines = POLLER.ask(partial(self._read, self._position))
        # The mark was taken before the lines were read: what was written before the end it tells of is among them.
        self._drained = len(lines) < BATCH
        if not lines and self._mark is not None and self._mark.outcome is not None:
            raise sse.SourceOverError(
                reason="job_over", outcome=self._mark.outcome, next=f"{self._position.fence}.{self._position.line}"
            )
        if lines:
            self._position = Position(lines[-1].fence, lines[-1].line)
            # Lines that came with the job's last word are followed by another look, which finds none and ends it.
            self._drained = self._drained and (self._mark is None or self._mark.outcome is None)
        return [
            sse.frame(data=representation.log_line(line), event="log", at=f"{line.fence}.{line.line}") for line in lines
        ]

    def close(self) -> None:
        """Watch no more."""
        self._watching.close()

    def _read(self, position: Position) -> list[LogLine]:
        with in_tenant(self._tenant_id):
            return queries.log_lines(job_id=self._job_id, after=position, limit=BATCH)

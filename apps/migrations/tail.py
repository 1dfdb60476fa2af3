"""A migration as a stream: how it stands, each time that something moved, until it is over."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Final, NamedTuple
from uuid import UUID

from django.db import connection

from apps.core import sse
from apps.core.live import Poller
from apps.migrations import representation, standing
from apps.migrations.lifecycle import OVER
from apps.migrations.models import Migration, Wave
from apps.migrations.redaction import without
from apps.tenancy.context import operator_reading
from apps.tenancy.principals import Tenants

# Only what is under way is added up: of ten thousand targets a few run at once.
MARKS: Final = """
SELECT m.id, m.version, m.status, m.progress, m.planned_at IS NOT NULL AND m.dry_run,
       (SELECT string_agg(w.state || coalesce(w.verdict, ''), ',' ORDER BY w.number)
          FROM migration_waves w WHERE w.migration_id = m.id),
       (SELECT concat(count(*), ' ', sum(s.done), ' ', sum(s.run)) FROM migration_steps s
         WHERE s.migration_id = m.id AND s.state IN ('running', 'stopping'))
  FROM migrations m WHERE m.id = ANY(%s)
"""


class Mark(NamedTuple):
    """How far a migration is: two marks that are alike tell of nothing new."""

    version: int
    status: str
    progress: float
    planned_only: bool
    waves: str | None
    under_way: str

    @property
    def over(self) -> bool:
        """Return whether nothing more will come: it ended, or its plan was all that was asked for."""
        return self.status in OVER or (self.planned_only and self.status == "draft")


def _look(keys: Collection[UUID]) -> Mapping[UUID, Mark]:
    """Return how far the watched migrations are: marks only, nobody's name."""
    with operator_reading(), connection.cursor() as cursor:
        cursor.execute(MARKS, [list(keys)])
        return {row[0]: Mark(*row[1:]) for row in cursor.fetchall()}


POLLER: Poller[UUID, Mark] = Poller(_look, name="live-migrations")


class MigrationSource:
    """A `sse.Source` of a migration that its account's context has shown to exist, for a caller who sees `seen`."""

    def __init__(self, *, migration_id: UUID, seen: Tenants) -> None:
        self._id = migration_id
        self._seen = seen
        self._mark: Mark | None = None
        self._watching = ExitStack()
        self._watching.enter_context(POLLER.watching(migration_id))

    def frames(self, *, wait_s: float) -> Sequence[bytes]:
        """Return how it stands once that is news; raise `SourceOverError` when it is over and that was told."""
        if self._mark is not None and self._mark.over:
            raise sse.SourceOverError(reason="migration_over", status=self._mark.status)
        mark = POLLER.wait(self._id, until=lambda mark: mark != self._mark, timeout_s=wait_s)
        if mark is None:
            return []
        self._mark = mark
        return [sse.frame(data=POLLER.ask(self._read), event="migration")]

    def close(self) -> None:
        """Watch no more."""
        self._watching.close()

    def _read(self) -> dict[str, Any]:
        with operator_reading():
            row = Migration.objects.get(id=self._id)
            waves = list(Wave.objects.filter(migration_id=self._id))
            told = representation.glance(row, waves=waves, counts=standing.counts(self._id))
            hidden = standing.unseen([self._id], seen=self._seen) if row.reason else {}
        return told | {"reason": without(told["reason"], hidden=hidden.get(self._id, frozenset()))}

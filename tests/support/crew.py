"""A scheduler whose messages nobody reads, over so many worker processes: who is given which, look by look."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import psycopg

from tests.support.queue import end
from workers.scheduler import Scheduler

FLYING = """
SELECT array_agg(DISTINCT tenant_id), array_agg(job_id) FROM jobs WHERE status IN ('dispatched', 'running')
 GROUP BY coalesce(bundle_id, job_id) ORDER BY min(dispatched_at), coalesce(bundle_id, job_id)
"""


class Crew:
    """A scheduler and so many children; `bundles` are those under way, the oldest first."""

    def __init__(self, session: psycopg.Connection[Any], made: Scheduler) -> None:
        self.session = session
        self.scheduler = made

    @property
    def bundles(self) -> list[tuple[list[str], list[UUID]]]:
        return [tuple(row) for row in self.session.execute(FLYING.encode()).fetchall()]

    def fill(self) -> None:
        for _ in range(50):
            if not self.scheduler.fill():
                return
        raise AssertionError("the scheduler would look for ever")

    def end_oldest(self, *, took_s: float) -> None:
        end(self.session, dict.fromkeys(self.bundles[0][1], took_s))
        self.fill()

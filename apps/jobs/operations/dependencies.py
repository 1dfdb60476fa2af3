"""Dependencies as they are submitted: the upstreams are found and watched, the edges written, all in one transaction.

An edge leads to a job that was there before, or earlier in the same call, and none is ever added later: there can be
no cycle.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

import orjson
from django.db import connection

from apps.jobs.dependencies import Rule


@dataclass(frozen=True, kw_only=True)
class DependsOn:
    """Which jobs a submission waits for, and what of them."""

    jobs: Sequence[UUID]
    rule: Rule = Rule.ALL_SUCCESS


class Dependent(Protocol):
    """What is asked of a submission here."""

    @property
    def depends_on(self) -> DependsOn | None:
        """Return which jobs it waits for."""


# Written even where it stands already: the row's lock makes an end that is being told just now wait, and this
# statement wait for a telling, so that no end falls between the look and the edge. In the order of ids, like everybody.
WATCH = """
UPDATE jobs SET watched = true
 WHERE job_id IN (SELECT job_id FROM jobs WHERE job_id = ANY (%s) ORDER BY job_id FOR NO KEY UPDATE)
RETURNING job_id
"""

LINK = """
INSERT INTO job_dependencies (tenant_id, job_id, upstream_id, place)
SELECT %(tenant)s, job_id, upstream_id, place
  FROM jsonb_to_recordset(%(edges)s) AS e(job_id uuid, upstream_id uuid, place smallint)
"""


class Upstreams:
    """The upstreams of one call's submissions: which are there, and the edges to them."""

    def __init__(self, submissions: Iterable[Dependent]) -> None:
        asked = {job_id for each in submissions if each.depends_on is not None for job_id in each.depends_on.jobs}
        self._there = watch(asked) if asked else set()
        self._within: set[UUID] = set()
        self._edges: list[dict[str, Any]] = []

    def missing(self, depends_on: DependsOn | None) -> UUID | None:
        """Return the first of the jobs that is not there for the tenant, or None."""
        if depends_on is None:
            return None
        return next((each for each in depends_on.jobs if each not in self._there and each not in self._within), None)

    def wrote(self, job_id: UUID, *, depends_on: DependsOn | None) -> None:
        """Take note of a job that is about to be written: those after it may depend on it."""
        self._within.add(job_id)
        if depends_on is not None:
            self._edges += [
                {"job_id": str(job_id), "upstream_id": str(upstream), "place": place}
                for place, upstream in enumerate(depends_on.jobs)
            ]

    def link(self, *, tenant_id: str) -> None:
        """Write the edges, once the jobs are written; nothing for jobs that depend on none."""
        if not self._edges:
            return
        within = self._within & {UUID(edge["upstream_id"]) for edge in self._edges}
        if within:
            watch(within)
        with connection.cursor() as cursor:
            cursor.execute(LINK, {"tenant": tenant_id, "edges": orjson.dumps(self._edges).decode()})


def watch(job_ids: Iterable[UUID]) -> set[UUID]:
    """Have the end of each job told to those that wait for it; return those that are there in the current context."""
    with connection.cursor() as cursor:
        cursor.execute(WATCH, [list(job_ids)])
        return {job_id for (job_id,) in cursor.fetchall()}

"""Queues of any size, written as rows, and a scheduler's choice driven over them without a broker or workers.

The choice and the dispatch are the plane's own; only submission and running are left out, so that thousands of jobs of
known length go through in a second.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

import psycopg
from django.db import transaction

from apps.jobs import queries
from apps.jobs.operations import rates
from apps.jobs.operations.dispatch import dispatch
from apps.jobs.scheduling import Gate, Held, Pool, TypeLimits, Waiting, rates_of
from workers.selector import Selector, tenants_shares

COLUMNS = """
INSERT INTO jobs (job_id, tenant_id, type, status, priority, environment_id, region, params, params_digest, trigger,
                  submitted_by, concurrency_key, timeout_s, max_attempts, obligations, attempt, retries, fence,
                  unclaimed, submitted_at, queued_at)
"""
ROWS = (
    COLUMNS
    + """
SELECT uuidv7(), r.tenant_id, r.type, 'queued', r.priority, r.environment, 'local', '{}', 'sha256:0', 'user', 'test',
       r.key, 600, 3, '{}', 0, 0, 0, 0, clock_timestamp() - make_interval(secs => r.waited),
       clock_timestamp() - make_interval(secs => r.waited)
  FROM unnest(%s::text[], %s::text[], %s::int[], %s::text[], %s::text[], %s::float8[])
       WITH ORDINALITY AS r(tenant_id, type, priority, environment, key, waited, place) ORDER BY place
RETURNING job_id
"""
)
END = """
WITH ended AS (
    UPDATE jobs SET status = 'succeeded', outcome = 'succeeded', finished_at = clock_timestamp(),
           evidence_id = uuidv7(), started_at = clock_timestamp()
      FROM unnest(%s::uuid[], %s::float8[]) AS r(id, took)
     WHERE job_id = r.id AND status IN ('dispatched', 'running')
    RETURNING job_id, fence, tenant_id, took
)
INSERT INTO attempts (job_id, fence, tenant_id, number, ending, started_at, finished_at, forced, log_lines)
SELECT job_id, fence, tenant_id, 1, 'succeeded', clock_timestamp() - make_interval(secs => took), clock_timestamp(),
       false, 0 FROM ended
"""


def queue(
    session: psycopg.Connection[Any],
    *,
    tenant: str,
    count: int = 1,
    type: str = "ops.noop",  # noqa: A002
    priority: int = 2,
    environment: str = "default",
    key: str | Callable[[int], str | None] | None = None,
    waited_s: float = 0.0,
) -> list[UUID]:
    """Queue `count` jobs alike; `key` may be made of the job's number. Return their ids in order."""
    keys = [key(n) if callable(key) else key for n in range(count)]
    values: Sequence[Sequence[Any]] = (
        [tenant] * count,
        [type] * count,
        [priority] * count,
        [environment] * count,
        keys,
        [waited_s] * count,
    )
    return [job_id for (job_id,) in session.execute(ROWS.encode(), values).fetchall()]


def tenants(session: psycopg.Connection[Any], wanted: Mapping[str, tuple[int, int]]) -> None:
    """Subscribe tenants, each on a plan of its own: weight and slots."""
    names, weights, most = list(wanted), [each[0] for each in wanted.values()], [each[1] for each in wanted.values()]
    for statement in (
        "INSERT INTO tenants (tenant_id, name, region, storage_url, state)"
        " SELECT n, n, 'local', 'file:///nowhere', 'active'"
        " FROM unnest(%s::text[], %s::int[], %s::int[]) AS t(n, w, m)",
        "INSERT INTO plans (plan_id, job_types, weight, max_running, backlog_cap)"
        " SELECT n, '{*}', w, m, 1000000 FROM unnest(%s::text[], %s::int[], %s::int[]) AS t(n, w, m)",
        "INSERT INTO subscriptions (tenant_id, plan_id, state)"
        " SELECT n, n, 'active' FROM unnest(%s::text[], %s::int[], %s::int[]) AS t(n, w, m)",
    ):
        session.execute(statement.encode(), [names, weights, most])


class Driver:
    """The scheduler's choice and dispatch, look by look, in one environment; for the control role."""

    def __init__(
        self, *, slots: int, reserved: int = 0, limits: Mapping[str, TypeLimits] | None = None, name: str = "default"
    ) -> None:
        self.selector = Selector(limits=limits or {})
        self.slots, self.reserved, self.name = slots, reserved, name
        self.gates: Sequence[Gate] = ()
        self.again = False
        self.newcomers: frozenset[str] = frozenset()

    def look(self, *, free: int | None = None) -> list[Waiting]:
        """Look once, dispatch what was chosen, and return it."""
        holding = queries.holding()
        by_tenant = tenants_shares()
        self.selector.observe(holding=holding, known=by_tenant, gates=self.gates)
        held = Held(holding)
        pool = Pool(name=self.name, capacity=self.slots, reserved_slots=self.reserved)
        self.selector.discover([self.name], held=held)
        room = self.slots - held.pool[self.name]
        made = self.selector.choose(pool=pool, free=room if free is None else min(free, room), held=held)
        self.again, self.newcomers = made.again, made.newcomers
        facts = {job.job_id: job for job in made.jobs}
        with transaction.atomic():
            sent = [each for bundle in dispatch([[job.job_id] for job in made.jobs]) for each in bundle]
            jobs = [facts[each.job_id] for each in sent]
            rates.take(jobs, rates=rates_of({job.tenant_id for job in jobs}, shares=by_tenant))
        self.selector.handed_out([((e.job_id, e.fence), facts[e.job_id]) for e in sent], environment=self.name)
        return [facts[each.job_id] for each in sent]

    def fill(self) -> list[Waiting]:
        """Look until nothing more can be found at once, as the scheduler does."""
        found = self.look()
        for _ in range(200):
            if not self.again:
                return found
            found += self.look()
        raise AssertionError("the scheduler would look for ever")


def end(session: psycopg.Connection[Any], took: Mapping[UUID, float]) -> None:
    """End dispatched jobs as succeeded after so many worker-seconds each."""
    session.execute(END.encode(), [list(took), list(took.values())])

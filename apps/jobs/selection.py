"""What the scheduler reads to choose: who waits, in which lanes, with which jobs at their heads.

A lane is a tenant's queued jobs of one type and band in one environment, with a concurrency key or without. Every read
here steps along an index from lane to lane and from head to head: its cost is what it returns, however many jobs stand
behind, and a lane that may not move (its type paused or at its limit) is never entered.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from uuid import UUID

from apps.core.database import preparing
from apps.jobs.scheduling import Lane, Waiting

# So many jobs of a lane with keys are looked at in their own order; if all of those keys are taken, the lane is walked
# from key to key instead. A walk of more keys than can be held at once always finds a free one, if there is one.
KEYED_LOOK = 64
KEYS_WALK = 256
# Who began to wait since the last look is among so many jobs; if more came in between, the walk finds them.
NEWEST_JOBS = 256

TENANTS = """
SELECT w.env, s.tenant_id
  FROM unnest(%(envs)s::text[], %(after)s::text[]) AS w(env, after) CROSS JOIN LATERAL (
    WITH RECURSIVE step AS (
        (SELECT tenant_id FROM jobs WHERE status = 'queued' AND environment_id = w.env AND tenant_id > w.after
          ORDER BY tenant_id LIMIT 1)
        UNION ALL
        SELECT (SELECT tenant_id FROM jobs WHERE status = 'queued' AND environment_id = w.env
                   AND tenant_id > step.tenant_id ORDER BY tenant_id LIMIT 1)
          FROM step WHERE step.tenant_id IS NOT NULL
    ) SELECT tenant_id FROM step WHERE tenant_id IS NOT NULL LIMIT %(most)s) s
"""

# Ids grow with submission: whoever has just begun to wait is among the newest rows, whatever their tenant's name.
NEWEST = """
SELECT DISTINCT environment_id, tenant_id
  FROM (SELECT tenant_id, environment_id, status FROM jobs ORDER BY job_id DESC LIMIT %(most)s) AS newest
 WHERE status = 'queued'
"""

LANES = """
SELECT w.tenant_id, l.type, l.priority, l.keyed
  FROM unnest(%(tenants)s::text[]) AS w(tenant_id) CROSS JOIN LATERAL (
    WITH RECURSIVE lane AS (
        (SELECT j.type, j.priority, j.concurrency_key IS NOT NULL AS keyed FROM jobs j
          WHERE j.status = 'queued' AND j.environment_id = %(env)s AND j.tenant_id = w.tenant_id
          ORDER BY j.type, j.priority, j.concurrency_key IS NOT NULL LIMIT 1)
        UNION ALL
        SELECT n.type, n.priority, n.keyed FROM lane CROSS JOIN LATERAL (
            SELECT j.type, j.priority, j.concurrency_key IS NOT NULL AS keyed FROM jobs j
             WHERE j.status = 'queued' AND j.environment_id = %(env)s AND j.tenant_id = w.tenant_id
               AND (j.type, j.priority, j.concurrency_key IS NOT NULL) > (lane.type, lane.priority, lane.keyed)
             ORDER BY j.type, j.priority, j.concurrency_key IS NOT NULL LIMIT 1) n
    ) SELECT type, priority, keyed FROM lane) l
"""

HEADS = """
SELECT q.job_id, w.tenant_id, w.type, q.concurrency_key, w.priority, extract(epoch FROM q.queued_at)::float8, q.alone
  FROM unnest(%(tenants)s::text[], %(types)s::text[], %(priorities)s::smallint[], %(keyed)s::bool[])
       AS w(tenant_id, type, priority, keyed)
 CROSS JOIN LATERAL (
    SELECT j.job_id, j.concurrency_key, j.queued_at, j.alone FROM jobs j
     WHERE j.status = 'queued' AND j.environment_id = %(env)s AND j.tenant_id = w.tenant_id AND j.type = w.type
       AND j.priority = w.priority AND (j.concurrency_key IS NOT NULL) = w.keyed
     ORDER BY j.queued_at, j.job_id LIMIT CASE WHEN w.keyed THEN %(keyed_most)s ELSE %(most)s END) q
"""

KEYS = """
SELECT q.job_id, w.tenant_id, w.type, s.concurrency_key, q.priority, extract(epoch FROM q.queued_at)::float8, q.alone
  FROM unnest(%(tenants)s::text[], %(types)s::text[]) AS w(tenant_id, type) CROSS JOIN LATERAL (
    WITH RECURSIVE step AS (
        (SELECT j.concurrency_key, 1 AS place FROM jobs j
          WHERE j.status = 'queued' AND j.concurrency_key IS NOT NULL AND j.environment_id = %(env)s
            AND j.tenant_id = w.tenant_id AND j.type = w.type ORDER BY j.concurrency_key LIMIT 1)
        UNION ALL
        SELECT n.concurrency_key, step.place + 1 FROM step CROSS JOIN LATERAL (
            SELECT j.concurrency_key FROM jobs j
             WHERE j.status = 'queued' AND j.concurrency_key IS NOT NULL AND j.environment_id = %(env)s
               AND j.tenant_id = w.tenant_id AND j.type = w.type AND j.concurrency_key > step.concurrency_key
             ORDER BY j.concurrency_key LIMIT 1) n
         WHERE step.place < %(walk)s
    ) SELECT concurrency_key FROM step) s
 CROSS JOIN LATERAL (
    SELECT j.job_id, j.priority, j.queued_at, j.alone FROM jobs j
     WHERE j.status = 'queued' AND j.concurrency_key IS NOT NULL AND j.environment_id = %(env)s
       AND j.tenant_id = w.tenant_id AND j.type = w.type AND j.concurrency_key = s.concurrency_key
     ORDER BY j.priority, j.queued_at, j.job_id LIMIT 1) q
 WHERE (w.tenant_id, s.concurrency_key) NOT IN (SELECT * FROM unnest(%(key_tenants)s::text[], %(keys)s::text[]))
"""

TOOK = """
SELECT a.job_id, a.fence, coalesce(extract(epoch FROM a.finished_at - a.started_at), 0)::float8
  FROM unnest(%(jobs)s::uuid[], %(fences)s::bigint[]) AS w(job_id, fence)
  JOIN attempts a ON a.job_id = w.job_id AND a.fence = w.fence
"""

USED = """
SELECT j.environment_id, a.tenant_id, j.type, count(*), sum(extract(epoch FROM a.finished_at - a.started_at))::float8
  FROM (SELECT * FROM attempts WHERE finished_at > clock_timestamp() - make_interval(secs => %(seconds)s)
           AND started_at IS NOT NULL ORDER BY finished_at DESC LIMIT %(most)s) a
  JOIN jobs j USING (job_id) GROUP BY 1, 2, 3
"""


def waiting_tenants(*, after: Mapping[str, str], limit: int) -> dict[str, list[str]]:
    """Return, for each environment, the first `limit` tenants with queued jobs whose id is beyond `after`, in order."""
    found: dict[str, list[str]] = {environment: [] for environment in after}
    with preparing() as cursor:
        cursor.execute(TENANTS, {"envs": list(after), "after": list(after.values()), "most": limit})
        for environment, tenant_id in cursor.fetchall():
            found[environment].append(tenant_id)
    return found


def newest_tenants() -> list[tuple[str, str]]:
    """Return the (environment, tenant) of those who wait among the `NEWEST_JOBS` that were submitted last."""
    with preparing() as cursor:
        cursor.execute(NEWEST, {"most": NEWEST_JOBS})
        return cursor.fetchall()


def lanes(*, environment: str, tenants: Sequence[str]) -> list[Lane]:
    """Return the lanes of these tenants in which anything waits."""
    if not tenants:
        return []
    with preparing() as cursor:
        cursor.execute(LANES, {"env": environment, "tenants": list(tenants)})
        return [Lane(environment, *row) for row in cursor.fetchall()]


def heads(*, environment: str, lanes: Sequence[Lane], limit: int) -> list[Waiting]:
    """Return the first jobs of each lane in its order: up to `limit` without a key, up to `KEYED_LOOK` with one."""
    if not lanes:
        return []
    values = {
        "env": environment,
        "tenants": [lane.tenant_id for lane in lanes],
        "types": [lane.type for lane in lanes],
        "priorities": [lane.priority for lane in lanes],
        "keyed": [lane.keyed for lane in lanes],
        "most": limit,
        "keyed_most": KEYED_LOOK,
    }
    with preparing() as cursor:
        cursor.execute(HEADS, values)
        return [Waiting(*row) for row in cursor.fetchall()]


def heads_of_free_keys(
    *, environment: str, of: Collection[tuple[str, str]], taken: Collection[tuple[str, str]]
) -> list[Waiting]:
    """Return the first job of each key that is free, of (tenant, type) `of`; `taken`: (tenant, key) in use."""
    if not of:
        return []
    values = {
        "env": environment,
        "tenants": [tenant_id for tenant_id, _ in of],
        "types": [job_type for _, job_type in of],
        "key_tenants": [tenant_id for tenant_id, _ in taken],
        "keys": [key for _, key in taken],
        "walk": KEYS_WALK + len(taken),
    }
    with preparing() as cursor:
        cursor.execute(KEYS, values)
        return [Waiting(*row) for row in cursor.fetchall()]


def took(dispatches: Sequence[tuple[UUID, int]]) -> dict[tuple[UUID, int], float]:
    """Return the worker-seconds of ended dispatches (job_id, fence); 0 for one that was never claimed."""
    if not dispatches:
        return {}
    values = {"jobs": [job_id for job_id, _ in dispatches], "fences": [fence for _, fence in dispatches]}
    with preparing() as cursor:
        cursor.execute(TOOK, values)
        return {(job_id, fence): seconds for job_id, fence, seconds in cursor.fetchall()}


def used(*, seconds: float, limit: int) -> list[tuple[str, str, str, int, float]]:
    """Return the attempts and worker-seconds by (environment, tenant, type) of the last `seconds`."""
    with preparing() as cursor:
        cursor.execute(USED, {"seconds": seconds, "most": limit})
        return [tuple(row) for row in cursor.fetchall()]

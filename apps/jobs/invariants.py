"""The promises about jobs as questions to PostgreSQL: each finds the rows that break it, for `manage.py doctor`.

On a live plane work is under way, so a question about something that heals by itself allows it the time that healing
may take; what must hold at every instant is asked without mercy. Asked in the control role, across tenants.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from django.db import connection

from apps.evidence.queries import UNPROVEN
from apps.jobs.pausing import not_paused
from apps.jobs.types import REGISTRY

MOST_FINDINGS = 20


class Promise(NamedTuple):
    """An invariant: its number in the design, what it says, and the question whose answers break it.

    The question's first column is who breaks it, the second what is wrong, in words.
    """

    number: int
    says: str
    question: str


class Finding(NamedTuple):
    """One answer: who breaks which promise, and how."""

    promise: int
    who: str
    wrong: str


# The scheduler looks each second and sweeps every two; a lease lives 15 s; an unclaimed dispatch is recalled after
# 10 s, doubling to 640. What is older than that and still stands is stuck.
STUCK = """
SELECT j.job_id::text, CASE
    WHEN j.status = 'running' AND (p.process_id IS NULL OR p.lease_until < clock_timestamp() - interval '10 s')
        THEN 'runs on a worker whose lease is over, and nobody brought it back'
    WHEN j.status = 'running' AND j.started_at + make_interval(secs => j.timeout_s + 30) < clock_timestamp()
        THEN 'runs past its time-out, and nobody ended it'
    WHEN j.status = 'dispatched' AND j.dispatched_at < clock_timestamp() - interval '700 s'
        THEN 'was handed out long ago, and neither claimed nor recalled'
    WHEN j.outcome IS NOT NULL THEN 'ended long ago, and those that it decides were not told'
    ELSE 'was due long ago, and not queued again' END
  FROM jobs j LEFT JOIN processes p ON p.process_id = j.worker_id
 WHERE (j.status = 'running' AND (p.process_id IS NULL OR p.lease_until < clock_timestamp() - interval '10 s'
        OR j.started_at + make_interval(secs => j.timeout_s + 30) < clock_timestamp()))
    OR (j.status = 'dispatched' AND j.dispatched_at < clock_timestamp() - interval '700 s')
    OR (j.status IN ('scheduled', 'retrying')
        AND coalesce(j.due_at, j.submitted_at) < clock_timestamp() - interval '10 s')
    OR (j.watched AND j.outcome IS NOT NULL AND j.finished_at < clock_timestamp() - interval '10 s')
"""

# Gates that no slot opens: the clock does, or the return of what is away. Believed of a scheduler that still looks.
EXPLAINED_BY_NO_GATE = """NOT (
    j.priority = 4 AND EXISTS (SELECT 1 FROM breakers b WHERE b.name = 'bulk' AND b.opened_at IS NOT NULL)
) AND NOT EXISTS (
    SELECT 1 FROM gate_intervals g JOIN pool_loads l ON l.environment = j.environment_id
     WHERE g.ended_at IS NULL AND l.seen_at > clock_timestamp() - interval '10 s'
       AND g.gate IN ('rate', 'tenant_rate', 'governance_away', 'subscription_away', 'decision_awaited', 'broker_down')
       AND (g.environment IS NULL OR g.environment = j.environment_id)
       AND (g.tenant_id IS NULL OR g.tenant_id = j.tenant_id) AND (g.type IS NULL OR g.type = j.type))"""

PROMISES: tuple[Promise, ...] = (
    Promise(1, "every accepted job is over or will be: none is stuck", STUCK),
    Promise(
        2,
        "a job has at most one live lease",
        """
        SELECT j.job_id::text, 'holds a slot under fence ' || j.fence || ', which has already ended'
          FROM jobs j JOIN attempts a ON a.job_id = j.job_id AND a.fence = j.fence
         WHERE j.status IN ('dispatched', 'running')
        """,
    ),
    Promise(
        3,
        "what succeeded did so once: one attempt, one event, one outcome record",
        """
        SELECT job_id::text, 'has ' || attempts || ' successful attempts, ' || events || ' completion events, '
               || records || ' records of its success'
          FROM (SELECT j.job_id, j.plan IS NOT NULL AS is_plan, coalesce(a.n, 0) AS attempts,
                       coalesce(e.n, 0) AS events, coalesce(r.n, 0) AS records
                  FROM jobs j
                  LEFT JOIN (SELECT job_id, count(*) AS n FROM attempts WHERE ending = 'succeeded' GROUP BY 1) a
                    ON a.job_id = j.job_id
                  LEFT JOIN (SELECT subject, count(*) AS n FROM events
                              WHERE type = 'operations.job.completed' GROUP BY 1) e ON e.subject = j.job_id::text
                  LEFT JOIN (SELECT subject_id, fence, count(*) AS n FROM evidence_records
                              WHERE kind = 'job' AND predicate = 'outcome' GROUP BY 1, 2) r
                    ON r.subject_id = j.job_id::text AND r.fence = j.fence
                 WHERE j.outcome = 'succeeded' AND j.finished_at > %(since)s) AS counted
         -- A plan's parent makes no attempt of its own.
         WHERE (attempts + is_plan::int, events, records) <> (1, 1, 1)
        """,
    ),
    Promise(
        4,
        "leases keep within every limit: environment, tenant, type, concurrency key",
        """
        SELECT e.name, 'holds ' || count(*) || ' of ' || e.slots || ' slots'
          FROM jobs j JOIN environments e ON e.name = j.environment_id
         WHERE j.status IN ('dispatched', 'running') GROUP BY e.name, e.slots HAVING count(*) > e.slots
        UNION ALL
        SELECT j.tenant_id, 'holds ' || count(*) || ' slots, and its plan allows ' || p.max_running
          FROM jobs j JOIN subscriptions s USING (tenant_id) JOIN plans p USING (plan_id)
         WHERE j.status IN ('dispatched', 'running') GROUP BY j.tenant_id, p.max_running HAVING count(*) > p.max_running
        UNION ALL
        SELECT j.tenant_id, count(*) || ' jobs with concurrency key ''' || j.concurrency_key || ''' hold slots at once'
          FROM jobs j WHERE j.status IN ('dispatched', 'running') AND j.concurrency_key IS NOT NULL
         GROUP BY j.tenant_id, j.concurrency_key HAVING count(*) > 1
        UNION ALL
        SELECT j.type, count(*) || ' hold slots at once, and the type allows ' || l.running
          FROM jobs j JOIN jsonb_to_recordset(%(limits)s) AS l(type text, running int) USING (type)
         WHERE j.status IN ('dispatched', 'running') GROUP BY j.type, l.running HAVING count(*) > l.running
        """,
    ),
    Promise(
        5,
        "no environment idles while an eligible job waits",
        """
        SELECT q.environment_id, 'has ' || (q.capacity - q.held) || ' free slots while job ' || q.job_id
               || ' has waited since ' || q.queued_at
          FROM (SELECT DISTINCT ON (j.environment_id) j.environment_id, j.job_id, j.queued_at,
                       least(e.slots, w.capacity) - e.reserved_slots AS capacity,
                       (SELECT count(*) FROM jobs h WHERE h.environment_id = j.environment_id
                           AND h.status IN ('dispatched', 'running')) AS held
                  FROM jobs j JOIN environments e ON e.name = j.environment_id
                  JOIN subscriptions s ON s.tenant_id = j.tenant_id AND s.state = 'active'
                  JOIN plans p USING (plan_id)
                  JOIN (SELECT environment, sum(capacity)::int AS capacity FROM processes WHERE role = 'worker'
                           AND state = 'live' AND lease_until > clock_timestamp() GROUP BY environment) w
                    ON w.environment = j.environment_id
                 WHERE j.status = 'queued' AND j.queued_at < clock_timestamp() - interval '5 s'
                   AND j.concurrency_key IS NULL
                   AND NOT EXISTS (SELECT 1 FROM jsonb_to_recordset(%(limits)s) AS l(type text, running int)
                                    WHERE l.type = j.type)
                   AND (e.paused_until IS NULL OR e.paused_until < clock_timestamp())
                   AND """
        + EXPLAINED_BY_NO_GATE
        + """
                   AND """
        + not_paused("j")
        + """
                   AND (SELECT count(*) FROM jobs h WHERE h.tenant_id = j.tenant_id
                           AND h.status IN ('dispatched', 'running')) < p.max_running
                 ORDER BY j.environment_id, j.queued_at) AS q
         WHERE q.held < q.capacity
        """,
    ),
    Promise(
        6,
        "every job that is over, and every refusal, has evidence; so has every admission",
        """
        SELECT j.job_id::text, 'is ' || j.status || ', and no record proves it' FROM jobs j
         WHERE j.outcome IS NOT NULL AND j.finished_at > %(since)s AND """
        + UNPROVEN.format(job="j")
        + """
        UNION ALL
        SELECT j.job_id::text, 'has neither an admission record nor a refusal' FROM jobs j
         WHERE j.submitted_at > %(since)s AND NOT EXISTS (SELECT 1 FROM evidence_records r WHERE r.kind = 'job'
               AND r.subject_id = j.job_id::text AND r.predicate IN ('admission', 'refusal'))
           AND NOT EXISTS (SELECT 1 FROM evidence_series_members m WHERE m.subject_id = j.job_id::text)
        UNION ALL
        SELECT m.subject_id, CASE WHEN j.job_id IS NULL
               THEN 'was counted into a series of refusals, and its evidence is another, or it is not there'
               ELSE 'was counted into a series of refusals that are unlike it: the first is job ' || s.subject_id END
          FROM evidence_series_members m JOIN evidence_series s USING (record_id)
          LEFT JOIN jobs j ON j.job_id = m.subject_id::uuid AND j.evidence_id = m.record_id
          LEFT JOIN jobs f ON f.job_id = s.subject_id::uuid AND f.evidence_id = s.record_id
         WHERE m.joined_at > %(since)s
           AND (j.job_id IS NULL OR (j.tenant_id, j.type, j.reason_code, j.submitted_by, j.environment_id, j.region,
                                     j.contract, j.contract_digest)
               IS DISTINCT FROM (f.tenant_id, f.type, f.reason_code, f.submitted_by, f.environment_id, f.region,
                                 f.contract, f.contract_digest))
        UNION ALL
        SELECT s.subject_id, 'is the first of refusals that should have been counted at ' || s.closes_at
          FROM evidence_series s WHERE s.closed_at IS NULL AND s.closes_at < clock_timestamp() - interval '60 s'
        """,
    ),
    Promise(
        8,
        "every event finds its place in the log, and the stream follows",
        """
        SELECT e.event_id::text, 'was written at ' || e.occurred_at || ' and has no place in the log yet' FROM events e
         WHERE e.sequence IS NULL AND e.occurred_at < clock_timestamp() - interval '10 s'
        UNION ALL
        SELECT c.name, 'stands at ' || c.position || ' and has not moved since ' || c.moved_at
               || ', while the log is at ' || (SELECT max(sequence) FROM events)
          FROM event_consumers c
         WHERE c.position < (SELECT coalesce(max(sequence), 0) FROM events WHERE occurred_at < clock_timestamp()
                 - interval '30 s')
           AND c.moved_at < clock_timestamp() - interval '30 s'
        """,
    ),
)

SILENT = """
SELECT name, 'a ' || role || ' with pid ' || pid || ' on ' || host || ' was last heard of at ' || beat_at
  FROM processes WHERE state <> 'gone' AND beat_at < clock_timestamp() - interval '20 s'
"""


def examine(promise: Promise, *, since: str) -> list[Finding]:
    """Return what breaks `promise`, at most 20 of it; jobs that ended before `since` (RFC 3339) are passed over."""
    limits = [
        {"type": each.name, "running": each.limits.running} for each in REGISTRY if each.limits.running is not None
    ]
    return _ask(promise.number, promise.question, {"since": since, "limits": json.dumps(limits)})


def silent_processes() -> list[Finding]:
    """Return the processes that should beat and do not."""
    return _ask(0, SILENT, {})


def _ask(number: int, question: str, values: Mapping[str, Any]) -> list[Finding]:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM ({question}) AS found LIMIT {MOST_FINDINGS}", values)
        return [Finding(number, str(who), str(wrong)) for who, wrong in cursor.fetchall()]

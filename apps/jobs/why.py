"""Why a job does not run: reads what `gates.py` decides from, in the context the job was found in.

Everything of other tenants comes as counts that the scheduler notes each second (`pool_loads`, `gate_intervals`); their
rows are not read. So what is said of others is up to a second old, and says nothing of who they are.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db import connection

from apps.core.database import loaded, rows
from apps.core.rate import Rate, left, parse_rate, wait_s
from apps.jobs.environments import pauses_holding
from apps.jobs.gates import Known, Lease, Shut, shut
from apps.jobs.lifecycle import Priority
from apps.jobs.models import Job
from apps.jobs.past_waits import waits
from apps.jobs.representation import instant
from apps.jobs.scheduling import AGEING_S, tenant_bucket, type_bucket
from apps.jobs.types import REGISTRY
from apps.tenancy.context import EVERYONE, current_tenant

MOST_COUNTED = 10_000
CALIBRATED_BY = 50
OF_WORKERS = frozenset({"workers_busy", "reserved_worker"})

SURROUNDINGS = """
SELECT clock_timestamp(), e.slots, e.reserved_slots, e.paused_until, e.pause_reason, b.opened_at,
       l.short_types, l.worker_in_s, l.waiting_weight, p.weight, p.max_running, p.rate,
       (SELECT coalesce(sum(w.capacity), 0) FROM processes w WHERE w.environment = e.name AND w.role = 'worker'
           AND w.state = 'live' AND w.lease_until > clock_timestamp()),
       EXISTS (SELECT 1 FROM processes s WHERE s.role = 'scheduler' AND s.state = 'live'
                  AND s.lease_until > clock_timestamp()),
       EXISTS (SELECT 1 FROM processes s WHERE s.state = 'live')
  FROM environments e
  LEFT JOIN breakers b ON b.name = 'broker'
  LEFT JOIN pool_loads l ON l.environment = e.name AND l.seen_at > clock_timestamp() - interval '10 s'
  LEFT JOIN subscriptions s ON s.tenant_id = %(tenant)s AND s.state = 'active'
  LEFT JOIN plans p USING (plan_id)
 WHERE e.name = %(env)s
"""
OWN_LEASES = """
SELECT environment_id, type, job_id::text, concurrency_key FROM jobs
 WHERE tenant_id = %(tenant)s AND status IN ('dispatched', 'running') ORDER BY dispatched_at
"""
OTHER_LOADS = """
SELECT environment, t.key, t.value::int FROM pool_loads, jsonb_each_text(by_type) t
 WHERE seen_at > clock_timestamp() - interval '10 s'
"""
BUCKET = (
    "SELECT tokens, extract(epoch FROM clock_timestamp() - refilled_at)::float8 FROM rate_buckets WHERE bucket = %s"
)
REFUSAL = """
SELECT point, reason FROM decisions WHERE job_id = %s AND NOT allowed ORDER BY decided_at DESC LIMIT 1
"""
# A decision point is away for all alike; one that was asked and is slow holds those for whom it was asked.
POINTS = """
SELECT name, opened_at FROM breakers WHERE name IN ('governance', 'subscription', 'bulk') AND opened_at IS NOT NULL
UNION ALL
SELECT gate, started_at FROM gate_intervals
 WHERE gate = 'decision_awaited' AND ended_at IS NULL AND tenant_id = %(tenant)s AND type = %(type)s
"""
UPSTREAMS = """
SELECT u.job_id::text, u.type, u.status FROM job_dependencies d JOIN jobs u ON u.job_id = d.upstream_id
 WHERE d.job_id = %(job)s AND d.settled IS NULL AND u.tenant_id = %(tenant)s ORDER BY d.place
"""
CHILDREN = """
SELECT job_id::text, type, status FROM jobs WHERE parent_id = %s AND outcome IS NULL ORDER BY job_id LIMIT 1000
"""
# Band by band, since within one the order is the index's; the other bands are shifted by what a band is worth.
AHEAD = """
SELECT sum(n) FROM generate_series(0, 4) AS band CROSS JOIN LATERAL (
    SELECT count(*) AS n FROM (
        SELECT 1 FROM jobs WHERE status = 'queued' AND environment_id = %(env)s AND tenant_id = %(tenant)s
           AND priority = band AND (queued_at, job_id) < (%(queued_at)s::timestamptz
               + make_interval(secs => (%(priority)s - band) * %(ageing)s::float8), %(job)s::uuid)
         LIMIT %(most)s) q) counted
"""
MEAN = """
SELECT avg(took) FROM (SELECT extract(epoch FROM a.finished_at - a.started_at)::float8 AS took
  FROM attempts a WHERE a.tenant_id = %s AND a.started_at IS NOT NULL
   AND a.finished_at > clock_timestamp() - interval '1 hour' ORDER BY a.finished_at DESC LIMIT 200) lately
"""
FORETELL = """
INSERT INTO start_predictions (job_id, tenant_id, environment, predicted_at, starts_at)
VALUES (%s, %s, %s, clock_timestamp(), %s) ON CONFLICT DO NOTHING
"""
CALIBRATION = """
SELECT count(*), percentile_cont(0.5) WITHIN GROUP (ORDER BY abs(extract(epoch FROM s.started_at - f.starts_at)))
  FROM (SELECT * FROM start_predictions WHERE tenant_id = %(tenant)s ORDER BY predicted_at DESC LIMIT %(most)s) f
 CROSS JOIN LATERAL (
    SELECT coalesce((SELECT min(a.started_at) FROM attempts a WHERE a.job_id = f.job_id), j.started_at) AS started_at
      FROM jobs j WHERE j.job_id = f.job_id) s
 WHERE s.started_at > f.predicted_at
"""


class Around(NamedTuple):
    """The row of `SURROUNDINGS`."""

    now: datetime
    slots: int
    reserved: int
    paused_until: datetime | None
    pause_reason: str | None
    broker_away: datetime | None
    short_types: Any
    worker_in_s: float | None
    waiting_weight: float | None
    weight: int | None
    max_running: int | None
    rate: str | None
    children: int
    scheduler_alive: bool
    anything_alive: bool


def explain(job: Job, *, keep_forecast: bool = True) -> dict[str, Any]:
    """Return why a job does not run (or how it ended), its place, when it may start, and what it waited for so far.

    `keep_forecast`: note the forecast, to be measured by what becomes of it; who may only read does not.
    """
    around = _around(job)
    buckets = _buckets(job, around=around)
    known = _known(job, around=around, buckets=buckets)
    found = shut(known)
    answer: dict[str, Any] = {
        "job_id": str(job.job_id),
        "status": job.status,
        "as_of": instant(around.now),
        "gates": [_gate(name, how) for name, how in found],
        "position": None,
        "expected_start": None,
        "calibration": None,
        "waits": waits(job, now=around.now),
    }
    if job.status == "queued":
        answer |= _forecast(job, around=around, found=found, buckets=buckets, keep=keep_forecast)
    return answer


def _gate(name: str, how: Shut) -> dict[str, Any]:
    return {
        "gate": name,
        "says": how.says,
        "held_by": how.held_by,
        "others": how.others,
        "clears": how.clears,
        "until": how.until,
    }


def _around(job: Job) -> Around:
    (row,) = rows(SURROUNDINGS, {"tenant": job.tenant_id, "env": job.environment_id})
    return Around(*row)


def _paused(job: Job, *, around: Around) -> list[dict[str, Any]]:
    """Return the pauses in force that hold the job, the one that lasts longest first."""
    held = pauses_holding(environment=job.environment_id, tenant_id=job.tenant_id, job_type=job.type)
    if not held and around.paused_until is not None and around.paused_until > around.now:
        return [{"reason": around.pause_reason, "until": instant(around.paused_until)}]
    return [{"reason": pause.reason, "until": instant(pause.until)} for pause in held]


def _known(job: Job, *, around: Around, buckets: Buckets) -> Known:
    limits = REGISTRY.get(job.type).limits if job.type in REGISTRY else None
    own = [Lease(environment=env, type=kind, job_id=i, concurrency_key=key) for env, kind, i, key in _own(job)]
    refused_by, reason = _refusal(job)
    of_type, of_tenant = buckets
    needs = _needs(job)
    points = _points(job)
    return Known(
        status=job.status,
        type=job.type,
        environment=job.environment_id,
        concurrency_key=job.concurrency_key,
        outcome=job.outcome,
        reason_code=job.reason_code,
        reason=reason or (job.error or {}).get("message"),
        refused_by=refused_by,
        run_at=instant(job.run_at),
        due_at=instant(job.due_at),
        cancel_requested=job.cancel_requested_at is not None,
        leases=own + _others(own),
        slots=around.slots,
        reserved=around.reserved,
        children=int(around.children),
        short_types=None if around.short_types is None else frozenset(loaded(around.short_types)),
        paused=_paused(job, around=around),
        broker_away_since=instant(around.broker_away),
        max_running=around.max_running if around.max_running is not None else 0,
        type_running=limits.running if limits else None,
        type_running_per_tenant=limits.running_per_tenant if limits else None,
        type_installed=limits is not None,
        rate=of_type and of_type.words,
        tokens=of_type and int(of_type.held),
        token_in_s=of_type and of_type.wait_s(),
        tenant_rate=of_tenant and of_tenant.words,
        tenant_tokens=of_tenant and int(of_tenant.held),
        tenant_token_in_s=of_tenant and of_tenant.wait_s(),
        needs=needs,
        children_open=len(needs) if job.status == "waiting_children" else 0,
        points_away_since=points,
        decision_awaited_since=points.get("decision_awaited"),
        shed_since=points.get("bulk") if job.priority == Priority.BULK else None,
        scheduler_alive=around.scheduler_alive,
    )


def _own(job: Job) -> list[tuple[Any, ...]]:
    return rows(OWN_LEASES, {"tenant": job.tenant_id})


def _others(own: list[Lease]) -> list[Lease]:
    """Return the leases that are not the tenant's own, as the scheduler counted them: without a name."""
    others = []
    for environment, job_type, count in rows(OTHER_LOADS, []):
        ours = sum(lease.environment == environment and lease.type == job_type for lease in own)
        others += [Lease(environment=environment, type=job_type)] * max(0, count - ours)
    return others


def _refusal(job: Job) -> tuple[str | None, str | None]:
    if job.outcome != "rejected":
        return None, None
    found = rows(REFUSAL, [job.job_id])
    return (found[0][0], found[0][1]) if found else (None, None)


def _needs(job: Job) -> list[dict[str, str]]:
    """Return the jobs of its own tenant whose end the job waits for."""
    if job.status == "waiting_children":
        needed = rows(CHILDREN, [job.job_id])
    elif job.status == "blocked":
        needed = rows(UPSTREAMS, {"job": job.job_id, "tenant": job.tenant_id})
    else:
        needed = []
    return [{"job_id": job_id, "type": kind, "status": status} for job_id, kind, status in needed]


def _points(job: Job) -> dict[str, str]:
    """Return since when a decision point is away, by its name; since when an answer is due, the bulk band is shed."""
    return {name: str(instant(since)) for name, since in rows(POINTS, {"tenant": job.tenant_id, "type": job.type})}


class Bucket(NamedTuple):
    """What a token bucket holds now, and under which rate."""

    words: str
    rate: Rate
    held: float

    def wait_s(self, *, wanted: float = 1.0) -> float:
        """Return the seconds until it has so many tokens, if nobody takes one."""
        return wait_s(self.rate, held=self.held, wanted=wanted)


# Of the job's type, of its tenant; None: it has no rate.
Buckets = tuple[Bucket | None, Bucket | None]


def _buckets(job: Job, *, around: Around) -> Buckets:
    limits = REGISTRY.get(job.type).limits if job.type in REGISTRY else None
    of_type = _bucket(type_bucket(job.type), words=limits.rate) if limits and limits.rate else None
    return of_type, _bucket(tenant_bucket(job.tenant_id), words=around.rate) if around.rate else None


def _bucket(name: str, *, words: str) -> Bucket:
    rate = parse_rate(words)
    found = rows(BUCKET, [name])
    return Bucket(words, rate, left(rate, tokens=found[0][0], age_s=found[0][1]) if found else float(rate.burst))


def _forecast(
    job: Job, *, around: Around, found: list[tuple[str, Shut]], buckets: Buckets, keep: bool
) -> dict[str, Any]:
    """Return the job's place and when it may start: the tenant's work ahead of it, at its fair share of the workers.

    That work begins when the longest pause is over and, where long jobs keep the workers, when the first of them may
    end. Not before its tokens have come, though, which they do meanwhile: of its tenant's bucket one for each job ahead
    too. Without a workers' or a tenant's share, or behind a gate whose opening nobody can date, nothing is foretold.
    """
    ahead = _ahead(job)
    weight = float(around.weight or 0)
    everybody = max(around.waiting_weight or 0.0, weight)
    answer: dict[str, Any] = {
        "position": {
            "in_tenant": ahead + 1,
            "overall": None if not weight else round(ahead * everybody / weight) + 1,
        }
    }
    if not weight or not all(how.dated for _, how in found):
        return answer
    (mean,) = rows(MEAN, [job.tenant_id])[0]
    share = min(float(around.max_running or 0), float(around.children) * weight / everybody)
    names = {name for name, _ in found}
    busy = bool(names - {"turn", "paused", "rate", "tenant_rate", *OF_WORKERS})
    work_s = (ahead + int(busy)) * float(mean if mean is not None else 1.0) / max(share, 0.01)
    of_type, of_tenant = buckets
    paced_s = max(of_type.wait_s() if of_type else 0.0, of_tenant.wait_s(wanted=ahead + 1) if of_tenant else 0.0)
    paused_until = max([around.now, *(datetime.fromisoformat(how.until) for _, how in found if how.until)])
    worker_in_s = (around.worker_in_s or 0.0) if names & OF_WORKERS else 0.0
    begins_at = max(paused_until, around.now + _at_most(worker_in_s))
    starts_at = max(begins_at + _at_most(work_s), around.now + _at_most(paced_s))
    if keep and current_tenant() is not EVERYONE:
        with connection.cursor() as cursor:
            cursor.execute(FORETELL, [job.job_id, job.tenant_id, job.environment_id, starts_at])
    return answer | {"expected_start": instant(starts_at), "calibration": _calibration(job)}


def _at_most(seconds: float, *, days: int = 30) -> timedelta:
    return timedelta(seconds=min(seconds, days * 86_400.0))


def _ahead(job: Job) -> int:
    values = {
        "env": job.environment_id,
        "tenant": job.tenant_id,
        "queued_at": job.queued_at,
        "priority": job.priority,
        "ageing": AGEING_S,
        "job": job.job_id,
        "most": MOST_COUNTED,
    }
    return int(rows(AHEAD, values)[0][0] or 0)


def _calibration(job: Job) -> dict[str, Any] | None:
    count, median = rows(CALIBRATION, {"tenant": job.tenant_id, "most": CALIBRATED_BY})[0]
    return {"predictions": count, "median_error_s": round(float(median), 3)} if count else None

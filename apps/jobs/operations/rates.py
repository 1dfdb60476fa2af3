"""Token buckets in PostgreSQL: read before choosing, taken from in the transaction that dispatches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from apps.core.database import preparing
from apps.core.rate import Rate
from apps.core.rate import left as rate_left
from apps.jobs.scheduling import TenantShare, Waiting, buckets, rates_of

LEFT = """
SELECT r.bucket, floor(coalesce(least(r.burst, b.tokens + r.per_s * greatest(0, extract(epoch FROM
       clock_timestamp() - b.refilled_at)::float8)), r.burst))::int
  FROM unnest(%(buckets)s::text[], %(per_s)s::float8[], %(bursts)s::float8[]) AS r(bucket, per_s, burst)
  LEFT JOIN rate_buckets b USING (bucket)
"""

# The refill and the taking are one statement under the row's lock; without enough tokens it changes nothing.
TAKE = """
INSERT INTO rate_buckets AS b (bucket, tokens, refilled_at)
VALUES (%(bucket)s, %(burst)s::float8 - %(wanted)s, clock_timestamp())
ON CONFLICT (bucket) DO UPDATE
   SET tokens = least(%(burst)s::float8, b.tokens + %(per_s)s::float8
                * greatest(0, extract(epoch FROM clock_timestamp() - b.refilled_at)::float8)) - %(wanted)s,
       refilled_at = greatest(b.refilled_at, clock_timestamp())
 WHERE least(%(burst)s::float8, b.tokens + %(per_s)s::float8
             * greatest(0, extract(epoch FROM clock_timestamp() - b.refilled_at)::float8)) >= %(wanted)s
"""


# A bucket gains a token an hour at the slowest: what was spent before that is not spent any more, whatever its rate.
SPENT = """
SELECT substr(bucket, 8), tokens, extract(epoch FROM clock_timestamp() - refilled_at)::float8 FROM rate_buckets
 WHERE starts_with(bucket, 'tenant:') AND tokens < 1 AND refilled_at > clock_timestamp() - interval '1 hour'
"""


IDLE = """
SELECT bucket, tokens, extract(epoch FROM clock_timestamp() - refilled_at)::float8 FROM rate_buckets
 WHERE refilled_at < clock_timestamp() - interval '1 hour'
"""
FORGET = """
DELETE FROM rate_buckets WHERE bucket = ANY (%s) AND refilled_at < clock_timestamp() - interval '1 hour'
"""


class OverRateError(Exception):
    """More was to be dispatched than the rate of `bucket` allows: the transaction must not commit."""

    def __init__(self, bucket: str, *, wanted: int) -> None:
        super().__init__(f"{bucket}: {wanted} wanted")
        self.bucket = bucket
        self.wanted = wanted


def left(rates: Mapping[str, Rate]) -> dict[str, int]:
    """Return how many dispatches each bucket still allows now."""
    if not rates:
        return {}
    values = {
        "buckets": list(rates),
        "per_s": [rate.per_s for rate in rates.values()],
        "bursts": [float(rate.burst) for rate in rates.values()],
    }
    with preparing() as cursor:
        cursor.execute(LEFT, values)
        return dict(cursor.fetchall())


def spent(shares: Mapping[str, TenantShare]) -> list[str]:
    """Return the tenants whose bucket has no token now; reads those alone that lately had none."""
    with preparing() as cursor:
        cursor.execute(SPENT)
        rows = cursor.fetchall()
    known = {tenant_id: shares[tenant_id].rate for tenant_id, _, _ in rows if tenant_id in shares}
    return [
        tenant_id
        for tenant_id, tokens, age_s in rows
        if (rate := known.get(tenant_id)) is not None and rate_left(rate, tokens=tokens, age_s=age_s) < 1
    ]


def forget_full(rates_of_types: Mapping[str, Rate], *, shares: Mapping[str, TenantShare]) -> int:
    """Forget buckets that nothing was taken from for an hour and that are full again; return how many.

    No row says the same. One that has no rate now is kept: nobody can say whether it is full.
    """
    with preparing() as cursor:
        cursor.execute(IDLE)
        idle = cursor.fetchall()
        known = {**rates_of_types, **rates_of([bucket.partition(":")[2] for bucket, *_ in idle], shares=shares)}
        full = [
            bucket
            for bucket, tokens, age_s in idle
            if (rate := known.get(bucket)) is not None and rate_left(rate, tokens=tokens, age_s=age_s) >= rate.burst
        ]
        if full:
            cursor.execute(FORGET, [full])
    return len(full)


def take(dispatched: Iterable[Waiting], *, rates: Mapping[str, Rate]) -> None:
    """Take a token for each job from each bucket it draws from; raise `OverRateError` where there are not enough."""
    wanted = Counter(
        bucket
        for job in dispatched
        for bucket in buckets(tenant_id=job.tenant_id, job_type=job.type)
        if bucket in rates
    )
    for bucket, count in sorted(wanted.items()):
        rate = rates[bucket]
        values = {"bucket": bucket, "wanted": count, "per_s": rate.per_s, "burst": float(rate.burst)}
        with preparing() as cursor:
            cursor.execute(TAKE, values)
            if not cursor.rowcount or count > rate.burst:
                raise OverRateError(bucket, wanted=count)

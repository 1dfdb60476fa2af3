"""The promises that must hold after every fault, asked of PostgreSQL in its own words. Each returns what breaks it."""

from __future__ import annotations

from tests.support.client import Truth

UNFINISHED = """
SELECT job_id::text, status FROM jobs WHERE outcome IS NULL AND status NOT IN ('scheduled', 'blocked')
"""
DOUBLE_SUCCESS = """
SELECT job_id::text, count(*) FROM attempts WHERE ending = 'succeeded' GROUP BY job_id HAVING count(*) <> 1
"""
OVERLAPPING = """
SELECT a.job_id::text, a.fence AS one, b.fence AS other FROM attempts a JOIN attempts b ON b.job_id = a.job_id
 WHERE b.fence > a.fence AND a.started_at IS NOT NULL AND b.started_at < a.finished_at
"""
UNPROVEN_SUCCESS = """
SELECT j.job_id::text, j.status, count(DISTINCT a.id) + (j.plan IS NOT NULL)::int AS successes,
       count(DISTINCT e.event_id) AS events, count(DISTINCT r.record_id) AS records
  FROM jobs j
  LEFT JOIN attempts a ON a.job_id = j.job_id AND a.ending = 'succeeded'
  LEFT JOIN events e ON e.subject = j.job_id::text AND e.type = 'operations.job.completed'
  LEFT JOIN evidence_records r ON r.subject_id = j.job_id::text AND r.predicate = 'outcome' AND r.fence = j.fence
 WHERE j.outcome = 'succeeded' GROUP BY j.job_id
"""
# Its own record, or that of the refusal which began the series that counts it.
TERMINAL_WITHOUT_EVIDENCE = """
SELECT j.job_id::text FROM jobs j
  LEFT JOIN evidence_records r ON r.record_id = j.evidence_id
  LEFT JOIN evidence_series_members m ON m.subject_id = j.job_id::text
 WHERE j.outcome IS NOT NULL AND (r.record_id IS NULL OR r.tenant_id <> j.tenant_id
    OR (r.subject_id <> j.job_id::text) <> (m.subject_id IS NOT NULL)
    OR (m.subject_id IS NOT NULL AND (m.record_id <> j.evidence_id OR j.outcome <> 'rejected')))
"""
UNLIKE = """
SELECT j.job_id::text FROM evidence_series_members m JOIN evidence_series s USING (record_id)
  JOIN jobs j ON j.job_id::text = m.subject_id JOIN jobs f ON f.job_id::text = s.subject_id
 WHERE ROW(j.tenant_id, j.type, j.reason_code, j.submitted_by, j.contract, j.contract_digest, j.environment_id,
           j.region)
    IS DISTINCT FROM ROW(f.tenant_id, f.type, f.reason_code, f.submitted_by, f.contract, f.contract_digest,
                         f.environment_id, f.region)
"""
# What every counting record says, against what it should have counted.
MISCOUNTED = """
SELECT s.subject_id, s.count FROM evidence_series s
 WHERE s.closed_at IS NOT NULL
   AND s.count <> 1 + (SELECT count(*) FROM evidence_series_members m WHERE m.record_id = s.record_id)
"""
LEASES = """
SELECT environment_id, count(*) AS held, (SELECT slots FROM environments e WHERE e.name = environment_id) AS slots
  FROM jobs WHERE status IN ('dispatched', 'running') GROUP BY environment_id
"""
UNEVIDENCED_ADMISSION = """
SELECT j.job_id::text FROM jobs j WHERE NOT EXISTS (
    SELECT 1 FROM evidence_records r WHERE r.subject_id = j.job_id::text AND r.predicate IN ('admission', 'refusal'))
   AND NOT EXISTS (SELECT 1 FROM evidence_series_members m WHERE m.subject_id = j.job_id::text)
"""


def broken(truth: Truth) -> list[str]:
    """Return what breaks invariants 1 to 4 and 6, in words; an empty list when all hold and all work is over."""
    found = [f"1: job {row['job_id']} is still {row['status']}" for row in truth.rows(UNFINISHED)]
    found += [
        f"2: job {row['job_id']} was leased under fences {row['one']} and {row['other']} at once"
        for row in truth.rows(OVERLAPPING)
    ]
    found += [f"3: job {row['job_id']} succeeded {row['count']} times" for row in truth.rows(DOUBLE_SUCCESS)]
    found += [
        f"3: job {row['job_id']} succeeded with {row['successes']} attempts, {row['events']} events,"
        f" {row['records']} records"
        for row in truth.rows(UNPROVEN_SUCCESS)
        if (row["successes"], row["events"], row["records"]) != (1, 1, 1)
    ]
    found += [f"6: job {row['job_id']} ended without evidence" for row in truth.rows(TERMINAL_WITHOUT_EVIDENCE)]
    found += [f"6: job {row['job_id']} was admitted without evidence" for row in truth.rows(UNEVIDENCED_ADMISSION)]
    found += [f"6: job {row['job_id']} stands among refusals unlike it" for row in truth.rows(UNLIKE)]
    found += [
        f"6: {row['count']} refusals like job {row['subject_id']}'s were counted" for row in truth.rows(MISCOUNTED)
    ]
    found += [
        f"4: {row['environment_id']} holds {row['held']} of {row['slots']} slots"
        for row in truth.rows(LEASES)
        if row["held"] > row["slots"]
    ]
    return found

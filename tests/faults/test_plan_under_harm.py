"""A plan whose scheduler and worker are killed in its middle: each step runs to its end once, and so does the whole."""

from __future__ import annotations

import json

from opsplatform.plane import Plane
from tests.support.client import Caller, Truth, wait_for

STEPS = [
    {"name": "first", "type": "ops.sleep", "params": {"seconds": 1}},
    {"name": "left", "type": "ops.sleep", "params": {"seconds": 3}, "needs": ["first"]},
    {"name": "right", "type": "ops.sleep", "params": {"seconds": 1}, "needs": ["first"]},
    {"name": "last", "type": "ops.sleep", "params": {"seconds": 0}, "needs": ["left", "right"]},
    {"name": "never", "type": "ops.noop", "needs": ["last"], "rule": "one_failed"},
]


def test_it_is_completed_once(plane: Plane, caller: Caller, truth: Truth) -> None:
    truth.execute(
        "INSERT INTO contracts (name, version, state, job_types, document, obligations, digest, created_at)"
        " VALUES ('harm', 1, 'active', '{contract.run,ops.*}', %s, '{}', 'sha256:0', clock_timestamp())"
        " ON CONFLICT DO NOTHING",
        json.dumps({"plan": {"steps": STEPS}}),
    )
    plan = caller.submit("contract.run", contract="harm@1")["job_id"]

    def steps() -> dict[str, str]:
        rows = truth.rows("SELECT step, status FROM jobs WHERE parent_id = %s", plan)
        return {row["step"]: row["status"] for row in rows}

    wait_for(lambda: steps()["first"] == "running", what="the first step runs")
    plane.kill("scheduler")
    wait_for(lambda: steps()["left"] == "running", what="a step that waited runs")
    plane.kill("worker-default")
    plane.kill("scheduler")
    assert caller.wait(plan, within_s=90)["outcome"] == "succeeded"
    assert steps() == {
        "first": "succeeded", "left": "succeeded", "right": "succeeded", "last": "succeeded", "never": "cancelled",
    }  # fmt: skip
    twice = truth.rows(
        "SELECT e.subject, e.type, count(*) FROM events e JOIN jobs ON job_id::text = e.subject"
        " WHERE (job_id = %s OR parent_id = %s) AND outcome IS NOT NULL"
        " AND e.type IN ('operations.job.completed', 'operations.job.cancelled', 'operations.job.failed')"
        " GROUP BY 1, 2 HAVING count(*) <> 1",
        plan,
        plan,
    )
    assert twice == []
    assert truth.rows("SELECT 1 FROM jobs WHERE watched AND outcome IS NOT NULL") == []

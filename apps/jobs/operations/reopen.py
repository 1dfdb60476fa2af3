"""A plan tried again by hand: the steps that did not succeed begin once more, those that did stay as they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import orjson
from django.db import connection

from apps.core.digests import digest_of
from apps.jobs.lifecycle import TERMINAL, TRANSITIONS, Move, State, ended_as
from apps.jobs.models import Job
from apps.jobs.operations.control import RESUBMIT, ControlRefusedError, question_again, row_again
from apps.jobs.operations.decisions import DECIDE, decision_rows
from apps.jobs.operations.ruling import DecisionPoints, Refusal, Rulings
from apps.jobs.operations.submit import UnknownEnvironmentError
from apps.jobs.operations.surroundings import surroundings_of
from apps.jobs.operations.wake import wake_scheduler
from apps.jobs.types import REGISTRY, JobType

# All of them are news once more: the ends of those that succeeded decide those that wait again.
PREPARE = """
UPDATE jobs SET params = p.params, params_digest = p.params_digest, watched = true
  FROM jsonb_to_recordset(%(steps)s) AS p(job_id uuid, params jsonb, params_digest text)
 WHERE jobs.job_id = p.job_id
"""
UNSETTLE = "UPDATE job_dependencies SET settled = NULL WHERE job_id = ANY (%(again)s) AND upstream_id = ANY (%(again)s)"
NEWS_AGAIN = "UPDATE jobs SET watched = true WHERE job_id = %(plan)s OR parent_id = %(plan)s"


class StepsEndingError(ControlRefusedError):
    """Steps of the plan are still being stopped: it can be tried again when they are over."""

    def __init__(self, *, state: State) -> None:
        Exception.__init__(self, "its steps are still being stopped: try again when they are over")
        self.state = state


def reopen(*, job_id: UUID, by: str, job_type: JobType, points: DecisionPoints) -> Refusal | None:
    """Let a plan that failed, timed out or was cancelled go on with the steps that did not succeed.

    A step without needs is queued at once; the others wait for their upstreams again. References are resolved anew.
    The plan and each such step are decided anew: return the first refusal, and all stay as they were. Raises as
    `resubmit`, and `StepsEndingError`.
    """
    plan = Job.objects.select_for_update().get(job_id=job_id)
    standing = ended_as(status=State(plan.status), outcome=State(plan.outcome) if plan.outcome else None)
    if standing not in TRANSITIONS[Move.REOPEN].sources:
        raise ControlRefusedError(state=standing, asked="tried again")
    steps = list(Job.objects.select_for_update().filter(parent_id=job_id).order_by("job_id"))
    if not all(State(step.status) in TERMINAL for step in steps):
        raise StepsEndingError(state=State(plan.status))
    around = surroundings_of(environments=[plan.environment_id], tenant_id=plan.tenant_id)
    if plan.environment_id not in around.regions:
        raise UnknownEnvironmentError(plan.environment_id)
    made = {step["name"]: step for step in (plan.plan or {})["steps"]}
    again = [step for step in steps if step.outcome != State.SUCCEEDED]
    rulings = Rulings(points=points)
    rows: list[Mapping[str, Any]] = []
    decisions: list[Mapping[str, Any]] = []
    for job in [plan, *again]:
        own_type = job_type if job is plan else REGISTRY.get(job.type)
        question = question_again(job, by=by, job_type=own_type, region=around.regions[job.environment_id])
        ruling = rulings.rule(question, job_type=own_type)
        if ruling.refusal is not None:
            return ruling.refusal
        target = State.WAITING_CHILDREN if job is plan else State.QUEUED
        if job is not plan and made[job.step or ""]["needs"]:
            target = State.BLOCKED
        rulings.count(target)
        rows.append(row_again(job, target=target, by=by, job_type=own_type, ruling=ruling, now=around.now))
        decisions += decision_rows(ruling.answers, job_id=job.job_id, tenant_id=job.tenant_id, decided_at=around.now)
    templates = [(step, made[step.step or ""]["params"]) for step in again]
    prepared = [
        {"job_id": str(step.job_id), "params": params, "params_digest": digest_of(params)} for step, params in templates
    ]
    with connection.cursor() as cursor:
        cursor.execute(RESUBMIT, {"jobs": orjson.dumps(rows).decode()})
        cursor.execute(PREPARE, {"steps": orjson.dumps(prepared).decode()})
        cursor.execute(UNSETTLE, {"again": [step.job_id for step in again]})
        cursor.execute(NEWS_AGAIN, {"plan": job_id})
        cursor.execute(DECIDE, [orjson.dumps(decisions).decode()])
    wake_scheduler()
    return None

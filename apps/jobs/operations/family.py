"""A plan's parent and its children: made together, moved on by each other's ends, stopped together."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

import orjson
from django.db import connection

from apps.core.authzen import Question
from apps.core.database import loaded
from apps.core.digests import digest_of
from apps.core.ids import uuid7
from apps.governance.queries import contract_document
from apps.jobs import plans
from apps.jobs.lifecycle import Ending
from apps.jobs.operations import end
from apps.jobs.operations.dependencies import DependsOn
from apps.jobs.operations.end import Report
from apps.jobs.operations.held import HELD, held
from apps.jobs.operations.ruling import Ruling, Rulings
from apps.jobs.plans import BadPlanError, PlanEnd, Step, StepEnd, UnresolvedError
from apps.jobs.retry import Retry
from apps.jobs.types import REGISTRY, JobType, UnknownJobTypeError

if TYPE_CHECKING:
    from apps.jobs.operations.submit import Submission


def expand(submission: Submission) -> tuple[Submission, list[Submission]]:
    """Return a submission and the steps it is made of: none, unless its type is a plan's.

    The steps that need no other take over what the whole waits for: `run_at`, dependencies, `start_by_s`. Raises
    `BadPlanError`.
    """
    if not submission.job_type.plan:
        return submission, []
    document = contract_document(reference=submission.contract, tenant_id=submission.tenant_id)
    if document is None:  # Governance is going to refuse it by its own reason
        return submission, []
    steps = plans.compile_plan(document)
    parent_id = submission.job_id or uuid7()
    ids = {step.name: uuid7() for step in steps}
    types = {step.name: _type_of(step) for step in steps}
    parent = replace(
        submission,
        job_id=parent_id,
        plan={"steps": [step.kept() for step in steps]},
        depends_on=None,
        run_at=None,
        start_by_s=None,
    )
    return parent, [
        replace(
            submission,
            job_id=ids[step.name],
            job_type=types[step.name],
            params=step.params,
            contract=None if types[step.name].contract == "none" else submission.contract,
            depends_on=_needs(step, ids=ids) if step.needs else submission.depends_on,
            run_at=None if step.needs else submission.run_at,
            start_by_s=None if step.needs else submission.start_by_s,
            timeout_s=step.timeout_s,
            deadline_s=None,
            parent_id=parent_id,
            step=step.name,
        )
        for step in steps
    ]


def _needs(step: Step, *, ids: Mapping[str, UUID]) -> DependsOn:
    return DependsOn(jobs=[ids[name] for name in step.needs], rule=step.rule)


def _type_of(step: Step) -> JobType:
    """Return the type of a step whose params fit it, as far as they are known; raise `BadPlanError`."""
    try:
        job_type = REGISTRY.offered(step.type)
    except UnknownJobTypeError as error:
        raise BadPlanError(f"step '{step.name}': {error}") from error
    if job_type.plan:
        raise BadPlanError(f"step '{step.name}': a plan has no plans for steps")
    pending = {reference.path for reference in plans.references(step.params)}
    for problem in job_type.problems(dict(step.params)):
        if problem.path not in pending:
            raise BadPlanError(f"step '{step.name}': params{problem.path.replace('/', '.')} {problem.message}")
    return job_type


def rule_together(jobs: Sequence[tuple[Submission, Question]], *, rulings: Rulings) -> list[Ruling]:
    """Return the ruling on each job of a plan, or on the one job there is; of a plan, one refused step refuses all."""
    made: list[Ruling] = []
    for job, question in jobs:
        ruling = rulings.rule(question, job_type=job.job_type)
        if ruling.refusal is not None and job.step is not None:
            refusal = replace(ruling.refusal, reason=f"step '{job.step}': {ruling.refusal.reason}"[:500])
            return [replace(made[0], refusal=refusal)]
        made.append(ruling)
        if ruling.refusal is not None:
            break
    return made


class Child(NamedTuple):
    """A step of a plan as its job stands."""

    parent_id: UUID
    step: str
    outcome: str | None
    reason_code: str | None
    error: Mapping[str, Any] | None
    started_at: datetime | None
    finished_at: datetime | None


CHILDREN = """
SELECT parent_id, step, outcome, reason_code, error, started_at, finished_at FROM jobs WHERE parent_id = ANY (%s)
"""
PARENTS = HELD.replace("  FROM jobs j", ", j.plan\n  FROM jobs j") + (
    " WHERE j.job_id = ANY (%s) AND j.status = 'waiting_children'"
)
PROGRESS = """
UPDATE jobs SET progress = p.progress, started_at = coalesce(jobs.started_at, p.started_at)
  FROM jsonb_to_recordset(%s) AS p(job_id uuid, progress jsonb, started_at timestamptz)
 WHERE jobs.job_id = p.job_id AND jobs.status = 'waiting_children'
"""


def move_on(parent_ids: Collection[UUID]) -> None:
    """Note how far the parents are whose steps ended, and end those whose steps all have."""
    if not parent_ids:
        return
    with connection.cursor() as cursor:
        cursor.execute(PARENTS, [list(parent_ids)])
        parents = cursor.fetchall()
        cursor.execute(CHILDREN, [[row[0] for row in parents]])
        children = [Child(*row) for row in cursor.fetchall()]
    far, ends = [], []
    for *row, plan in parents:
        found, now = held(row)
        steps = [child for child in children if child.parent_id == found.job_id]
        far.append(_progress(found.job_id, steps))
        over = plans.ended(_ends(steps, plan=loaded(plan)))
        if over is None:
            continue
        report = Report() if over.failed is None else _failed(over, steps)
        ending = Ending.SUCCEEDED if over.failed is None else Ending.FAILED
        ends.append(end.decide(found, ending=ending, at=now, retry=Retry(), report=report, noticed_by="scheduler"))
    with connection.cursor() as cursor:
        cursor.execute(PROGRESS, [orjson.dumps(far).decode()])
    end.write(ends)


def _progress(parent_id: UUID, steps: Sequence[Child]) -> dict[str, Any]:
    done = sum(child.outcome is not None for child in steps)
    return {
        "job_id": str(parent_id),
        "progress": {"done": done, "total": len(steps), "message": "steps"},
        "started_at": min((child.started_at for child in steps if child.started_at is not None), default=None),
    }


def _ends(steps: Iterable[Child], *, plan: Mapping[str, Any]) -> list[StepEnd]:
    required = {step["name"]: step["required"] for step in plan["steps"]}
    return [
        StepEnd(child.step, required[child.step], child.outcome, child.reason_code, child.finished_at)
        for child in steps
    ]


def _failed(over: PlanEnd, steps: Iterable[Child]) -> Report:
    """Return the report of a plan that failed: it names its first failing step and that step's own code."""
    assert over.failed is not None  # noqa: S101 - for the type checker: the caller asked
    first = over.failed
    error = next(loaded(child.error) for child in steps if child.step == first.name) or {}
    code = error.get("code") or first.reason_code or first.outcome
    return Report(
        permanent=True,
        reason_code="step_failed",
        error={
            "class": "StepFailed",
            "code": "step_failed",
            "message": f"step '{first.name}' ended {first.outcome}: {code}",
            "step": first.name,
        },
    )


def stop(parent_ids: Collection[UUID]) -> None:
    """Cancel what is left of the plans that are over: what waits at once, what runs as any running job."""
    from apps.jobs.operations.control import cancel  # noqa: PLC0415 - control submits again, and so knows this module

    if not parent_ids:
        return
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT job_id FROM jobs WHERE parent_id = ANY (%s) AND outcome IS NULL ORDER BY job_id FOR UPDATE",
            [list(parent_ids)],
        )
        left = [job_id for (job_id,) in cursor.fetchall()]
    for job_id in left:
        cancel(job_id=job_id, by="operations", why="its plan is over")


TEMPLATES = """
SELECT j.job_id, j.params, j.type,
       (SELECT jsonb_object_agg(u.step, u.result) FROM jobs u WHERE u.parent_id = j.parent_id AND u.step IN (
         SELECT s.step FROM job_dependencies d JOIN jobs s ON s.job_id = d.upstream_id WHERE d.job_id = j.job_id))
  FROM jobs j WHERE j.job_id = ANY (%s) AND j.status = 'blocked' AND strpos(j.params::text, '${steps.') > 0
"""
FILL = """
UPDATE jobs SET params = f.params, params_digest = f.params_digest
  FROM jsonb_to_recordset(%s) AS f(job_id uuid, params jsonb, params_digest text)
 WHERE jobs.job_id = f.job_id AND jobs.status = 'blocked'
"""


def resolve_references(job_ids: Sequence[UUID]) -> dict[UUID, Report]:
    """Put what their upstreams made in the place of the steps' references; return why some cannot run.

    The params are then judged whole: what a schema says of a value is only known now.
    """
    if not job_ids:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(TEMPLATES, [list(job_ids)])
        rows = cursor.fetchall()
    filled, wrong = [], {}
    for job_id, params, type_name, results in rows:
        try:
            made = plans.resolved(loaded(params), loaded(results) or {})
            problems = REGISTRY.get(type_name).problems(made)
            if problems:
                raise UnresolvedError(f"params{problems[0].path.replace('/', '.')} {problems[0].message}")
        except LookupError as error:
            said = {"class": "UnresolvedReference", "code": "reference_unresolved", "message": str(error)}
            wrong[job_id] = Report(reason_code="reference_unresolved", how="before_start", error=said)
            continue
        filled.append({"job_id": str(job_id), "params": made, "params_digest": digest_of(made)})
    if filled:
        with connection.cursor() as cursor:
            cursor.execute(FILL, [orjson.dumps(filled).decode()])
    return wrong

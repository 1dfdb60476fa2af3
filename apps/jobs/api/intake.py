"""What comes in: a body becomes a submission, and what came of it an answer, for one job and for a thousand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http import HTTPStatus
from typing import Any
from uuid import UUID

from rest_framework import serializers

from apps.core import problems
from apps.core.authzen import DecisionPointAwayError
from apps.core.ids import BadIdError, parse_id, uuid7
from apps.jobs import dependencies, parsing
from apps.jobs.dependencies import Rule
from apps.jobs.fields import MAX_BATCH, SubmissionFields
from apps.jobs.lifecycle import Priority
from apps.jobs.operations.submit import (
    DependsOn,
    NotTakenError,
    Refusal,
    Submission,
    Submitted,
    UnknownDependencyError,
    UnknownTenantError,
    UnusablePlanError,
)
from apps.jobs.types import REGISTRY, UnknownJobTypeError
from apps.tenancy.permissions import tenant_or_404
from apps.tenancy.principals import ServicePrincipal

# One for all requests: it keeps nothing of what it is asked, and making one costs more than asking it.
FIELDS = SubmissionFields()

Within = Callable[[int], UUID]


def submission_of(values: dict[str, Any], *, principal: ServicePrincipal, within: Within | None = None) -> Submission:
    """Return the submission that a valid body asks for; raise the problem that names what is wrong with it.

    `within` finds the job at a place of the same batch, or raises the problem of a place that none was taken from.
    """
    tenant_id = tenant_or_404(principal, values.get("tenant_id"))
    try:
        job_type = REGISTRY.offered(values["type"])
    except UnknownJobTypeError as error:
        raise parsing.bad_field(
            "type", f"there is no job type '{values['type']}': /operations/job-types lists them"
        ) from error
    errors = [
        problems.FieldError(field=f"params{parsing.dotted(wrong.path)}", message=wrong.message)
        for wrong in job_type.problems(values["params"])
    ]
    if job_type.contract == "none" and values["contract"] is not None:
        errors.append(
            problems.FieldError(field="contract", message=f"'{job_type.name}' takes no contract: leave it out")
        )
    if job_type.plan:
        errors += [
            problems.FieldError(field=name, message=f"the steps of '{job_type.name}' have their own: leave it out")
            for name in ("timeout_s", "concurrency_key", "retry")
            if values[name] is not None
        ]
    if errors:
        raise problems.BadRequest("Some fields are not as they must be.", code="invalid_fields", errors=errors)
    return Submission(
        tenant_id=tenant_id,
        job_type=job_type,
        params=values["params"],
        submitted_by=principal.subject,
        contract=values["contract"],
        priority=Priority[values["priority"].upper()],
        environment=values["environment"],
        trigger=values["trigger"],
        run_at=values["run_at"],
        timeout_s=values["timeout_s"],
        concurrency_key=values["concurrency_key"],
        retry=parsing.retry(values["retry"], of=job_type.retry),
        start_by_s=values["start_by_s"],
        deadline_s=values["deadline_s"],
        depends_on=depends_on(values["depends_on"], within=within),
    )


def depends_on(asked: dict[str, Any] | None, *, within: Within | None) -> DependsOn | None:
    """Return which jobs a body depends on: by id, or by their place in the same batch."""
    if asked is None:
        return None
    jobs: list[UUID] = []
    for place, text in enumerate(asked.get("jobs", [])):
        try:
            jobs.append(parse_id(text))
        except BadIdError as error:
            raise parsing.bad_field(f"depends_on.jobs.{place}", "a job's id would be right") from error
    if "batch" in asked and within is None:
        raise parsing.bad_field("depends_on.batch", "there is no batch here: name the jobs by their ids, as 'jobs'")
    jobs += [within(place) for place in asked.get("batch", []) if within is not None]
    distinct = list(dict.fromkeys(jobs))
    if not 1 <= len(distinct) <= dependencies.MOST:
        raise parsing.bad_field("depends_on", f"1 to {dependencies.MOST} jobs would be right; or leave it out")
    return DependsOn(jobs=distinct, rule=Rule(asked["rule"]))


@contextmanager
def deciding() -> Iterator[None]:
    """Turn what a submission may raise into its problem."""
    try:
        with deciding_points():
            yield
    except NotTakenError as error:
        raise not_taken(error) from error
    except UnknownTenantError as error:
        raise problems.NotFound from error


@contextmanager
def deciding_points() -> Iterator[None]:
    """Turn a decision point that is away into its problem: a whole batch's, which can be sent again unchanged."""
    try:
        yield
    except DecisionPointAwayError as error:
        raise problems.Unavailable(
            f"{error.point} does not answer; nothing was written.",
            code="decision_point_away",
            retry_after_s=error.retry_after_s,
        ) from error


def refused(submitted: Submitted, *, refusal: Refusal) -> problems.Problem:
    """Return the problem of a refused job: 403, or 429 where a limit clears by itself."""
    members: dict[str, Any] = {
        "code": refusal.code,
        "reason": refusal.reason,
        "decision_id": str(refusal.decision_id) if refusal.decision_id else None,
        "job_id": str(submitted.job_id),
        "refused_by": refusal.point,
    }
    if refusal.retry_after_s is None:
        return problems.Forbidden(refusal.reason, **members)
    return problems.TooManyRequests(refusal.reason, retry_after_s=refusal.retry_after_s, **members)


def batch_of(body: Any, *, principal: ServicePrincipal) -> list[Submission | problems.Problem]:
    """Return each job of a batch as a submission, or the problem that names what is wrong with it.

    Raises the problem of a body that is no batch: then there is no place to tell it in.
    """
    unknown = sorted(set(body) - {"jobs"})
    if unknown:
        raise parsing.bad_field(unknown[0], "there is no such field; known are: jobs")
    jobs = body.get("jobs")
    if not isinstance(jobs, list) or not 1 <= len(jobs) <= MAX_BATCH:
        raise parsing.bad_field("jobs", f"a list of 1 to {MAX_BATCH} jobs would be right")
    taken: list[Submission | problems.Problem] = []

    def within(place: int) -> UUID:
        before = taken[place] if place < len(taken) else None
        if not isinstance(before, Submission) or before.job_id is None:
            raise parsing.bad_field("depends_on.batch", f"there is no job before this one that was taken at {place}")
        return before.job_id

    for job in jobs:
        taken.append(_one(job, principal=principal, within=within))
    return taken


def _one(job: Any, *, principal: ServicePrincipal, within: Within) -> Submission | problems.Problem:
    try:
        submission = submission_of(FIELDS.run_validation(job), principal=principal, within=within)
        return replace(submission, job_id=uuid7())
    except (problems.Problem, serializers.ValidationError) as error:
        return problems.from_exception(error)


def one_of_batch(made: Submitted | NotTakenError | problems.Problem) -> dict[str, Any]:
    """Return what a batch answers in one job's place."""
    if isinstance(made, NotTakenError):
        made = not_taken(made)
    if isinstance(made, problems.Problem):
        return made.body()
    if made.refusal is None:
        return {"status": HTTPStatus.ACCEPTED.value, "job_id": str(made.job_id)}
    body = refused(made, refusal=made.refusal).body()
    if made.refusal.retry_after_s is not None:
        body["retry_after_s"] = made.refusal.retry_after_s  # a header of its own it cannot have
    return body


def not_taken(error: NotTakenError) -> problems.Problem:
    """Return the problem of a job that names what is not there for its tenant."""
    if isinstance(error, UnknownDependencyError):
        return parsing.bad_field("depends_on.jobs", f"this tenant has no job {error}")
    if isinstance(error, UnusablePlanError):
        return parsing.bad_field("contract", str(error))
    return parsing.bad_field("environment", f"there is no environment '{error}' for this tenant")

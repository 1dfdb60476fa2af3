"""What a kept template comes to: a job, or the word for why there is none."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple
from uuid import UUID

from rest_framework.serializers import ValidationError

from apps.core.problems import Problem
from apps.jobs import points
from apps.jobs.lifecycle import Priority
from apps.jobs.operations.submit import NotTakenError, UnknownEnvironmentError, submit
from apps.jobs.templates import submission_from


class Came(NamedTuple):
    """How a template was settled: `state` submitted or refused; a refused job is kept, with its evidence."""

    state: str
    reason_code: str | None
    job_id: UUID | None


def submit_template(
    job: dict[str, Any], *, tenant_id: str, owner: str, trigger: str, priority: Priority | None = None
) -> Came:
    """Submit a template by the ordinary way, in its tenant's context; lets `DecisionPointAwayError` through."""
    try:
        submission = submission_from(job, tenant_id=tenant_id, owner=owner, trigger=trigger)
    except (ValidationError, Problem):
        return Came("refused", "invalid_job", None)
    if priority is not None:
        submission = replace(submission, priority=priority)
    try:
        made = submit(submission, points=points.in_force())
    except UnknownEnvironmentError:
        return Came("refused", "unknown_environment", None)
    except NotTakenError:
        return Came("refused", "invalid_job", None)
    if made.refusal is not None:
        return Came("refused", made.refusal.code, made.job_id)
    return Came("submitted", None, made.job_id)

"""What both kinds of rules ask alike: their template checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from apps.core import problems
from apps.jobs.templates import submission_from


def check_template(job: Mapping[str, Any], *, tenant_id: str) -> None:
    """Raise the problem that names what is wrong with a template's type, params or retry, below `job`."""
    try:
        submission_from(dict(job), tenant_id=tenant_id, owner="", trigger="schedule")
    except problems.Problem as problem:
        errors = [problems.FieldError(field=f"job.{each['field']}", message=each["message"]) for each in problem.errors]
        raise problems.BadRequest(
            "Some fields are not as they must be.", code="invalid_fields", errors=errors
        ) from problem

"""What both kinds of rules ask alike: their template checked, and their name told apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from apps.core import problems
from apps.jobs.templates import submission_from
from apps.schedules.operations.schedules import NameTakenError


def check_template(job: Mapping[str, Any], *, tenant_id: str) -> None:
    """Raise the problem that names what is wrong with a template's type, params or retry, below `job`."""
    try:
        submission_from(dict(job), tenant_id=tenant_id, owner="", trigger="schedule")
    except problems.Problem as problem:
        errors = [problems.FieldError(field=f"job.{each['field']}", message=each["message"]) for each in problem.errors]
        raise problems.BadRequest(
            "Some fields are not as they must be.", code="invalid_fields", errors=errors
        ) from problem


@contextmanager
def of_one_name(what: str) -> Iterator[None]:
    """Tell who gives a rule, `what` in a word, a name that another of the tenant's has: 409."""
    try:
        yield
    except NameTakenError as error:
        raise problems.Conflict(f"The tenant has another {what} of this name.", code="name_taken") from error

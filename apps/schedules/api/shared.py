"""What both kinds of rules are asked alike: whether their template can be a job, and their name is theirs alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from apps.core import problems
from apps.core.asked import bad_field
from apps.jobs.operations.not_taken import UnknownTenantError
from apps.jobs.operations.surroundings import surroundings_of
from apps.jobs.templates import submission_from
from apps.schedules.operations.schedules import NameTakenError
from apps.tenancy.context import in_tenant


def check_template(job: Mapping[str, Any], *, tenant_id: str) -> None:
    """Raise the problem that names what is wrong with a template's type, params, retry or place, below `job`."""
    try:
        submission = submission_from(dict(job), tenant_id=tenant_id, owner="", trigger="schedule")
    except problems.Problem as problem:
        errors = [problems.FieldError(field=f"job.{each['field']}", message=each["message"]) for each in problem.errors]
        raise problems.BadRequest(
            "Some fields are not as they must be.", code="invalid_fields", errors=errors
        ) from problem
    check_environment(submission.environment, tenant_id=tenant_id)


def check_environment(name: str, *, tenant_id: str) -> None:
    """Raise the problem that names an environment which is not there for the tenant.

    That of a rule kept before may go away all the same: then its jobs are refused, `unknown_environment`.
    """
    try:
        with in_tenant(tenant_id):
            there = surroundings_of(environments=[name], tenant_id=tenant_id).regions
    except UnknownTenantError as error:
        raise problems.NotFound from error
    if name not in there:
        raise bad_field("job.environment", f"there is no environment '{name}' for this tenant")


@contextmanager
def of_one_name(what: str) -> Iterator[None]:
    """Tell who gives a rule, `what` in a word, a name that another of the tenant's has: 409."""
    try:
        yield
    except NameTakenError as error:
        raise problems.Conflict(f"The tenant has another {what} of this name.", code="name_taken") from error

"""A job kept as a template, for schedules and triggers: checked as a submission is, when kept and when run."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from apps.jobs.api.intake import submission_of
from apps.jobs.fields import SubmissionFields
from apps.jobs.operations.submit import Submission
from apps.tenancy.principals import ServicePrincipal


class TemplateFields(SubmissionFields):
    """A job as a template has it: all but whose it is, when it runs and what brought it about."""

    tenant_id = None  # type: ignore[assignment]  # how DRF takes an inherited field away
    depends_on = None  # type: ignore[assignment]
    run_at = None  # type: ignore[assignment]
    trigger = None  # type: ignore[assignment]


def submission_from(template: dict[str, Any], *, tenant_id: str, owner: str, trigger: str) -> Submission:
    """Return the submission of a template, in its owner's name.

    Raises `ValidationError` or the problem that names what is wrong with it: a type may have changed since.
    """
    fields = TemplateFields(data=template)
    fields.is_valid(raise_exception=True)
    rest = {"run_at": None, "depends_on": None, "trigger": trigger, "tenant_id": tenant_id}
    # The owner as a caller, for this one tenant: that it may submit was asked when the template was written.
    caller = ServicePrincipal(
        issuer="operations",
        subject=owner,
        scopes=frozenset(),
        tenants=frozenset({tenant_id}),
        token_id="",
        expires_at=datetime.max.replace(tzinfo=UTC),
    )
    return replace(submission_of({**fields.validated_data, **rest}, principal=caller), trigger=trigger)

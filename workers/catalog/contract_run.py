"""`contract.run`: a contract's plan, from ingest to promote, each step a job of its own."""

from collections.abc import Mapping
from typing import Any

from apps.jobs.types import Context, PermanentError, job_type


@job_type("contract.run", contract="required", plan=True)
def run(ctx: Context, params: Mapping[str, Any]) -> None:  # noqa: ARG001 - never called: the plane runs the steps
    """Run the plan of a contract: each of its steps as a job of its own, in their order."""
    raise PermanentError("a plan runs as its steps", code="plan_without_steps")

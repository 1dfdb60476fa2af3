"""The job that a step of a target becomes: its type, its params, and which step writes the target's version."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from apps.jobs.operations.submit import Submission
from apps.jobs.types import REGISTRY
from apps.migrations import definition as definitions
from apps.migrations.definition import Definition, Kind, Phase, TargetKind
from apps.migrations.models import Migration, Step, Target

JOB_TYPE: Final = "migration.step"
UP: Final = "up"
DOWN: Final = "down"


class BadParamsError(Exception):
    """A definition's params are none that the job type takes."""


def submission_of(
    step: Step, *, target: Target, migration: Migration, direction: str, definition: Definition
) -> Submission:  # fmt: skip
    """Return the submission of a step's next job, in its target's tenant's name.

    Raises `BadParamsError`, and `UnknownJobTypeError` for a type that is not on offer.
    """
    defined = definition.step(step.name)
    if defined.kind is Kind.JOB:
        job_type = (defined.job_type if direction == UP else defined.revert_job_type) or ""
        given = defined.params if direction == UP else defined.revert_params
        params = filled(given, target=target.key, migration=migration)
    else:
        job_type = JOB_TYPE
        params = _params(step, target=target, migration=migration, direction=direction, definition=definition)
    found = REGISTRY.offered(job_type) if defined.kind is Kind.JOB else REGISTRY.get(job_type)
    if wrong := found.problems(params):
        raise BadParamsError(f"params of {job_type}: {wrong[0].path or '/'} {wrong[0].message}")
    return Submission(
        tenant_id=step.tenant_id,
        job_type=found,
        params=params,
        submitted_by=migration.requested_by,
        trigger="system",
        timeout_s=defined.timeout_s,
        concurrency_key=f"migration:{target.target_id}",
        environment=target.key if target.kind == TargetKind.ENVIRONMENT else "default",
    )


def sets_version(step: definitions.Step, *, direction: str, definition: Definition) -> str | None:
    """Return the version that a target has once this step is through, where the step is the one to write it.

    The last one before contract that reaches into the target, or on the way back the first one.
    """
    writers = [
        each for each in definition.steps if each.kind is not Kind.JOB and each.phase is not Phase.CONTRACT
    ]  # fmt: skip
    if not writers:
        return None
    if direction == UP:
        return definition.version_to if step.name == writers[-1].name else None
    return definition.version_from if step.name == writers[0].name else None


def filled(params: Mapping[str, Any], *, target: str, migration: Migration) -> dict[str, Any]:
    """Return a job step's params with what stands for the target and the versions put in: whole values only."""
    words = {
        "${target}": target,
        "${version_from}": migration.version_from,
        "${version_to}": migration.version_to,
        "${migration}": str(migration.id),
    }

    def put(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: put(each) for name, each in value.items()}
        if isinstance(value, Sequence) and not isinstance(value, str):
            return [put(each) for each in value]
        return words.get(value, value) if isinstance(value, str) else value

    found: dict[str, Any] = put(params)
    return found


def _params(
    step: Step, *, target: Target, migration: Migration, direction: str, definition: Definition
) -> dict[str, Any]:  # fmt: skip
    said: dict[str, Any] = {
        "migration": str(migration.id),
        "account": migration.tenant_id,
        "definition": {
            "name": definition.name,
            "from": definition.version_from,
            "to": definition.version_to,
            "checksum": migration.definition_checksum,
        },
        "target": target.key,
        "step": step.name,
        "direction": direction,
        "run": step.run + 1,
    }
    version = sets_version(definition.step(step.name), direction=direction, definition=definition)
    return said if version is None else {**said, "sets_version": version}

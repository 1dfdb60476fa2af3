"""Runs a job type in a plain unit test: no Django, no database, no broker; the same judgement of params and errors.

    result = harness.run("kpi.refresh", params={"period": "2012"}, storage=tmp_path, contract={…})
    assert result.outcome == "succeeded"

What the plane would keep is in the result; what it must not keep lies in `storage`, as it would in production.
"""

import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from apps.jobs.context import Artifact, Context, Level, Scalar
from apps.jobs.outcome import Failure, FailureKind, StopReason
from apps.jobs.schema import ParamProblem
from apps.jobs.storage import TenantStorage
from apps.jobs.types import REGISTRY, Handler, JobType, Registry

Outcome = Literal["succeeded", "failed", "retry", "cancelled", "timed_out"]


class ParamsRefusedError(ValueError):
    """The plane would have refused the job at submission; `problems` says why."""

    def __init__(self, problems: list[ParamProblem]) -> None:
        """Take what is wrong."""
        super().__init__("; ".join(f"{problem.path or 'params'} {problem.message}" for problem in problems))
        self.problems = problems


class ContractRefusedError(ValueError):
    """The type needs a contract and got none, or takes none and got one."""


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line as the plane keeps it."""

    level: Level
    message: str
    fields: Mapping[str, Scalar]


@dataclass(frozen=True, slots=True)
class Progress:
    """A word of progress as the plane keeps it."""

    done: float
    total: float | None
    message: str | None


@dataclass(kw_only=True)
class RunResult:
    """What one attempt came to. `error` is what the plane keeps; `retry_in_s` the pause before the next attempt."""

    job_id: str
    outcome: Outcome = "succeeded"
    error: Failure | None = None
    retry_in_s: float | None = None
    logs: list[LogLine] = field(default_factory=list)
    metrics: dict[str, float] = field(default_factory=dict)
    artifacts: dict[str, Artifact] = field(default_factory=dict)
    progress: list[Progress] = field(default_factory=list)
    questions: int = 0  # how often the attempt asked whether to stop


class _Recorder:
    """A Reporter that writes into a RunResult."""

    def __init__(self, result: RunResult, should_stop: Callable[[], StopReason | None]) -> None:
        self._result = result
        self._should_stop = should_stop

    def log(self, *, level: Level, message: str, fields: Mapping[str, Scalar]) -> None:
        self._result.logs.append(LogLine(level, message, dict(fields)))

    def progress(self, *, done: float, total: float | None, message: str | None) -> None:
        self._result.progress.append(Progress(done, total, message))

    def metric(self, *, name: str, value: float) -> None:
        self._result.metrics[name] = value

    def artifact(self, artifact: Artifact) -> None:
        self._result.artifacts[artifact.name] = artifact

    def should_stop(self) -> StopReason | None:
        self._result.questions += 1
        return self._should_stop()


def run(
    job: str | Handler,
    *,
    storage: Path | TenantStorage,
    params: Mapping[str, Any] | None = None,
    contract: Mapping[str, Any] | None = None,
    attempt: int = 1,
    fence: int = 1,
    tenant_id: str = "acme",
    job_id: str | None = None,
    should_stop: Callable[[], StopReason | None] = lambda: None,
    registry: Registry = REGISTRY,
) -> RunResult:
    """Make one attempt at `job` (a type's name, or its handler) in this process and return what came of it.

    `storage` is the tenant's: a folder (such as pytest's tmp_path), or any TenantStorage. `should_stop` answers the
    attempt's checkpoints. Raises ParamsRefusedError or ContractRefusedError where the plane would have refused the job.
    """
    job_type = registry.get(job) if isinstance(job, str) else registry.of(job)
    if problems := job_type.problems(given := dict(params or {})):
        raise ParamsRefusedError(problems)
    if (job_type.contract == "required" and contract is None) or (job_type.contract == "none" and contract is not None):
        raise ContractRefusedError(f"{job_type.name} says contract: {job_type.contract}")
    result = RunResult(job_id=job_id or str(uuid.uuid4()))
    context = Context(
        job_id=result.job_id,
        tenant_id=tenant_id,
        type=job_type.name,
        attempt=attempt,
        fence=fence,
        contract=None if contract is None else MappingProxyType(json.loads(json.dumps(contract))),
        storage=storage if isinstance(storage, TenantStorage) else TenantStorage(base_url=storage.resolve().as_uri()),
        reporter=_Recorder(result, should_stop),
    )
    # Through JSON and back, as a submission travels: what a test passes is what a worker gets.
    result.error = job_type.run(context=context, params=MappingProxyType(json.loads(json.dumps(given))))
    if result.error is not None:
        result.outcome = _outcome(job_type, result.error, attempt)
        if result.outcome == "retry":
            result.retry_in_s = job_type.retry.delay_s(
                attempt=attempt, random=0.5, retry_after_s=result.error.retry_after_s
            )
    return result


def _outcome(job_type: JobType, failure: Failure, attempt: int) -> Outcome:
    """Return the attempt's end: a retry that no attempt is left for is a failure."""
    last = attempt >= job_type.retry.max_attempts or not job_type.retry.grants_another_after(failure.code)
    if failure.kind is FailureKind.RETRY and last:
        return "failed"
    return failure.kind.value

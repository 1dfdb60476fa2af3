"""Job types: what a module engineer writes against. One function, one decorator, found at start, or named as broken.

    @job_type("kpi.refresh", params={…JSON Schema…}, contract="required", retry=Retry(max_attempts=3), timeout_s=600)
    def refresh(ctx: Context, params: Mapping[str, Any]) -> None:
        '''Recompute one KPI under its contract.'''

Pure Python, importable without Django: the web process reads names, schemas and policies here and never runs one.
"""

import importlib
import inspect
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import Any, Literal, TypeVar, get_args

from apps.jobs.context import Artifact, Context
from apps.jobs.outcome import (
    Cancelled,
    Failure,
    FailureKind,
    JobError,
    JobTimeout,
    PermanentError,
    RetryableError,
    StopReason,
    classify,
)
from apps.jobs.retry import Limits, Retry
from apps.jobs.schema import BadSchemaError, ParamProblem, ParamsSchema
from apps.jobs.storage import MissingFileError, OutsideStorageError, TenantStorage

__all__ = [
    "REGISTRY",
    "Artifact",
    "BadJobTypeError",
    "Cancelled",
    "Context",
    "ContractWord",
    "Failure",
    "FailureKind",
    "JobError",
    "JobTimeout",
    "JobType",
    "Limits",
    "MissingFileError",
    "OutsideStorageError",
    "ParamProblem",
    "PermanentError",
    "Registry",
    "Retry",
    "RetryableError",
    "StopReason",
    "TenantStorage",
    "UnknownJobTypeError",
    "job_type",
    "load",
]

ContractWord = Literal["required", "optional", "none"]
_T = TypeVar("_T")
Handler = Callable[[Context, Mapping[str, Any]], None]

ENTRY_POINT_GROUP = "opsplatform.job_types"
LONGEST_TIMEOUT_S = 7 * 86_400
_NAME = re.compile(r"[a-z][a-z0-9_-]*(\.[a-z][a-z0-9_-]*)+")
_MAX_NAME_CHARS = 64


class BadJobTypeError(Exception):
    """A job type that cannot be used; the message names its module, the type, and what would be right."""


class UnknownJobTypeError(LookupError):
    """No job type of that name is registered."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class JobType:
    """A registered job type. `schema` is its params' JSON Schema, `description` its docstring's first line.

    `timeout_s`: seconds one attempt may take, unless the job says otherwise. `heartbeat_s`: seconds an attempt may go
    without a word (log, progress, metric, checkpoint) before it is taken for stuck; None: only the timeout counts.
    `cancel_grace_s`: seconds from a cancel of a running job until its process is killed. `plan`: it is made of the
    steps of its contract, each a job of its own; its handler is never called. `internal`: the plane's own parts submit
    it, and nobody else.
    """

    name: str
    description: str
    schema: Mapping[str, Any]
    contract: ContractWord
    retry: Retry
    timeout_s: float
    limits: Limits
    diagnostic: bool
    plan: bool
    internal: bool
    heartbeat_s: float | None
    cancel_grace_s: float
    module: str
    handler: Handler = field(repr=False)
    params: ParamsSchema = field(repr=False)

    def problems(self, params: object) -> list[ParamProblem]:
        """Return what is wrong with `params` (JSON Pointer, what would be right), or an empty list."""
        return self.params.problems(params)

    def run(self, *, context: Context, params: Mapping[str, Any]) -> Failure | None:
        """Make one attempt: None if it succeeded, else what its failure means. The one place a handler is called.

        The traceback of a failure goes to the tenant's storage (`context.folder`/traceback.txt). A wish to end the
        process itself (KeyboardInterrupt, SystemExit) passes through: it is not about the job.
        """
        try:
            self.handler(context, params)
        except Exception as error:  # noqa: BLE001 - whatever a handler raises is classified, never swallowed
            failure = classify(error)
            if failure.kind in (FailureKind.FAILED, FailureKind.RETRY):
                _keep_traceback(context, error)
            return failure
        return None


class Registry:
    """Job types by name."""

    def __init__(self) -> None:
        """Start empty."""
        self._types: dict[str, JobType] = {}

    def register(self, job_type: JobType) -> None:
        """Add a type; raise BadJobTypeError if its name is taken."""
        if (taken := self._types.get(job_type.name)) is not None:
            raise BadJobTypeError(
                f"{job_type.module}: job type {job_type.name!r}: "
                f"the name is taken by {taken.module}.{_called(taken.handler)}"
            )
        self._types[job_type.name] = job_type

    def get(self, name: str) -> JobType:
        """Return the type of that name; raise UnknownJobTypeError."""
        try:
            return self._types[name]
        except KeyError:
            raise UnknownJobTypeError(f"no job type is called {name!r}") from None

    def offered(self, name: str) -> JobType:
        """Return the type of that name, if callers may submit it; raise UnknownJobTypeError."""
        found = self.get(name)
        if found.internal:
            raise UnknownJobTypeError(f"no job type is called {name!r}")
        return found

    def shown(self, name: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return a job's params as its tenant may read them; of a type that is no longer there, all."""
        found = self._types.get(name)
        return dict(params) if found is None else found.params.shown(params)

    def of(self, handler: Callable[..., Any]) -> JobType:
        """Return the type whose handler is `handler`; raise UnknownJobTypeError."""
        for job_type in self._types.values():
            if job_type.handler is handler:
                return job_type
        raise UnknownJobTypeError(f"{_called(handler)} is not the handler of a registered job type")

    def names(self) -> list[str]:
        """Return all names, sorted."""
        return sorted(self._types)

    def __contains__(self, name: object) -> bool:
        """Say whether a type of that name is registered."""
        return name in self._types

    def __iter__(self) -> Iterator[JobType]:
        """Go through all types by name."""
        return iter([self._types[name] for name in self.names()])

    def __len__(self) -> int:
        """Count the types."""
        return len(self._types)


REGISTRY = Registry()


def job_type(
    name: str,
    *,
    params: Mapping[str, Any] | None = None,
    contract: ContractWord = "optional",
    retry: Retry | None = None,
    timeout_s: float = 600,
    limits: Limits | None = None,
    diagnostic: bool = False,
    plan: bool = False,
    internal: bool = False,
    heartbeat_s: float | None = None,
    cancel_grace_s: float = 10,
    registry: Registry = REGISTRY,
) -> Callable[[Handler], Handler]:
    """Register the decorated function as job type `name` and return it unchanged. Without `params`, it takes none.

    Raises BadJobTypeError, naming module and type, on the first thing that is wrong.
    """

    def register(handler: Handler) -> Handler:
        module = str(getattr(handler, "__module__", None) or "?")
        try:
            made = JobType(
                name=_judged_name(name),
                description=_description(handler),
                module=module,
                contract=_judged_contract(contract),
                timeout_s=_judged_seconds("timeout_s", timeout_s),
                heartbeat_s=None if heartbeat_s is None else _judged_seconds("heartbeat_s", heartbeat_s),
                cancel_grace_s=_judged_seconds("cancel_grace_s", cancel_grace_s),
                retry=_judged_kind("retry", retry if retry is not None else Retry(), Retry),
                limits=_judged_kind("limits", limits if limits is not None else Limits(), Limits),
                diagnostic=_judged_kind("diagnostic", diagnostic, bool),
                plan=_judged_kind("plan", plan, bool),
                internal=_judged_kind("internal", internal, bool),
                handler=handler,
                params=(
                    schema := ParamsSchema(
                        {"type": "object", "additionalProperties": False} if params is None else params
                    )
                ),
                schema=MappingProxyType(schema.document),
            )
        except BadSchemaError as error:
            raise BadJobTypeError(f"{module}: job type {name!r}: params: {error}") from error
        except ValueError as error:
            raise BadJobTypeError(f"{module}: job type {name!r}: {error}") from error
        registry.register(made)
        return handler

    return register


def load(
    *, modules: Iterable[str] = (), entry_point_group: str = ENTRY_POINT_GROUP, registry: Registry = REGISTRY
) -> Registry:
    """Import `modules` and every entry point of the group, so that their types register; return the registry.

    Raises BadJobTypeError, naming the module, if one cannot be imported, holds a bad type, or registers none.
    """
    for name in modules:
        _import(name, partial(importlib.import_module, name), name, registry)
    for point in sorted(entry_points(group=entry_point_group)):
        _import(
            f"{point.name} = {point.value} ({_origin(point)})",
            point.load,
            point.value.partition(":")[0].strip(),
            registry,
        )
    return registry


def _import(label: str, bring: Callable[[], object], module: str, registry: Registry) -> None:
    before = len(registry)
    try:
        bring()
    except BadJobTypeError:
        raise
    except Exception as error:  # a module of somebody else's, importing anything: named, with its cause attached
        raise BadJobTypeError(f"{label}: cannot be imported: {type(error).__name__}: {error}") from error
    if len(registry) == before and not any(f"{each.module}.".startswith(f"{module}.") for each in registry):
        raise BadJobTypeError(f"{label}: registers no job type")


def _keep_traceback(context: Context, error: Exception) -> None:
    try:
        context.keep_traceback(error)
    except Exception as trouble:  # noqa: BLE001 - a full disk must not hide what the handler failed of
        context.log("the traceback could not be kept", level="warning", error_class=type(trouble).__name__)


def _origin(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else "unknown distribution"


def _called(handler: Callable[..., Any]) -> str:
    return str(getattr(handler, "__qualname__", repr(handler)))


def _judged_name(name: object) -> str:
    if not isinstance(name, str) or len(name) > _MAX_NAME_CHARS or not _NAME.fullmatch(name):
        raise ValueError(
            f"a name must be lower-case words joined by dots, as 'kpi.refresh', at most {_MAX_NAME_CHARS} characters"
        )
    return name


def _judged_contract(contract: object) -> ContractWord:
    if contract not in get_args(ContractWord):
        raise ValueError(f"contract must be one of: {', '.join(get_args(ContractWord))}")
    return contract  # type: ignore[return-value]  # just compared with every word


def _judged_seconds(name: str, seconds: object) -> float:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not math.isfinite(seconds):
        raise ValueError(f"{name} must be a number of seconds")
    if not 0 < seconds <= LONGEST_TIMEOUT_S:
        raise ValueError(f"{name} must be more than 0 and at most {LONGEST_TIMEOUT_S} seconds")
    return seconds


def _judged_kind(name: str, value: object, kind: type[_T]) -> _T:
    if not isinstance(value, kind):
        raise ValueError(f"{name} must be a {kind.__name__}")  # noqa: TRY004 - every defect takes the same way out
    return value


def _description(handler: Callable[..., Any]) -> str:
    """Return the docstring's first line of a function that can be a handler; raise ValueError if it cannot."""
    if not inspect.isfunction(handler):
        raise ValueError("a handler must be a plain function of (ctx, params)")
    if (
        inspect.iscoroutinefunction(handler)
        or inspect.isgeneratorfunction(handler)
        or inspect.isasyncgenfunction(handler)
    ):
        raise ValueError("a handler must be a plain function: neither async nor a generator")
    try:
        inspect.signature(handler).bind(None, None)
    except TypeError:
        raise ValueError("a handler must take (ctx, params), and need nothing else") from None
    lines = (inspect.getdoc(handler) or "").strip().splitlines()
    if not lines:
        raise ValueError("a handler needs a docstring: its first line is the type's description")
    return lines[0].strip()

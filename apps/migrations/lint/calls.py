"""Whether what steps call is there: Python functions, by reading their module and never running it, and job types."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from apps.jobs.types import REGISTRY, UnknownJobTypeError
from apps.migrations.definition import Check, Definition, Kind, Phase, Step
from apps.migrations.folders.problems import DOCUMENT
from apps.migrations.lint.findings import Finding, Level, of_step


def findings(definition: Definition) -> Iterator[Finding]:
    """Yield functions and job types that are not there, or cannot be called so."""
    for step in definition.steps:
        if step.kind is Kind.PYTHON:
            yield from _python(definition, step)
        if step.job_type is not None:
            yield from _job(step, step.job_type, step.params)
        if step.revert_job_type is not None:
            yield from _job(step, step.revert_job_type, step.revert_params)
    for check in definition.gates.checks:
        if check.job_type is not None:
            yield from _job(check, check.job_type, check.params)


def _python(definition: Definition, step: Step) -> Iterator[Finding]:
    if step.function is not None:
        yield from _function(definition, step, step.function, batched=step.batch is not None)
    if step.revert_function is not None:
        yield from _function(definition, step, step.revert_function, batched=False)
    if step.phase is Phase.BACKFILL and step.batch is None:
        message = "goes through its rows in one transaction: with batch: {size: …} each part would be one of its own"
        yield of_step(step, "backfill-unbatched", message, level=Level.WARNING)


def _function(definition: Definition, step: Step, function: str, *, batched: bool) -> Iterator[Finding]:
    module, _, name = function.partition(":")
    file = f"{module}.py"
    try:
        parsed = ast.parse((definition.folder / file).read_bytes(), filename=file)
    except OSError:
        yield of_step(step, "python-missing", f"calls {function}, and there is no file {file} in the folder")
        return
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None) or 1
        message = f"cannot be read as Python: {getattr(error, 'msg', error)}"
        yield Finding(level=Level.ERROR, step=step.name, file=file, line=line, rule="python-syntax", message=message)
        return
    found = [
        each for each in parsed.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef) and each.name == name
    ]
    if not found:
        yield of_step(step, "python-missing", f"calls {function}, and {file} defines no function {name} at its top")
    elif (wrong := _wrong_signature(found[-1], batched=batched)) is not None:
        yield Finding(
            level=Level.ERROR, step=step.name, file=file, line=found[-1].lineno, rule="python-signature", message=wrong
        )


def _wrong_signature(function: ast.FunctionDef | ast.AsyncFunctionDef, *, batched: bool) -> str | None:
    """Return what is wrong with how a function is called, None where it fits."""
    if isinstance(function, ast.AsyncFunctionDef):
        return f"{function.name} is async: a plain function would be right"
    right = f"def {function.name}(connection, *, after, limit)" if batched else f"def {function.name}(connection)"
    arguments = function.args
    positional = [*arguments.posonlyargs, *arguments.args]
    needed = {each.arg for each in positional[1 : len(positional) - len(arguments.defaults)]}
    needed |= {
        each.arg for each, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if default is None
    }
    taken = {each.arg for each in (*arguments.args[1:], *arguments.kwonlyargs)}
    given = {"after", "limit"} if batched else set()
    takes_first = bool(positional) or arguments.vararg is not None
    fits = takes_first and needed <= given and (given <= taken or arguments.kwarg is not None)
    return None if fits else f"{right} would be right"


def _job(of: Step | Check, name: str, params: object) -> Iterator[Finding]:
    def finding(rule: str, message: str) -> Finding:
        if isinstance(of, Step):
            return of_step(of, rule, message)
        message = f"check {of.name} {message}"
        return Finding(level=Level.ERROR, step=None, file=DOCUMENT, line=of.line, rule=rule, message=message)

    try:
        job_type = REGISTRY.offered(name)
    except UnknownJobTypeError:
        yield finding("job-type-unknown", f"submits {name!r}, and no job type of that name is on offer")
        return
    if job_type.contract == "required":
        yield finding("job-contract", f"submits {name!r}, which runs under a contract only, and a migration has none")
    for problem in job_type.problems(params):
        yield finding("job-params", f"submits {name!r}: params{problem.path.replace('/', '.')} {problem.message}")

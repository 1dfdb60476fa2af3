"""Whether the steps stand in an order that can only be meant so."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import PurePosixPath

from apps.migrations.definition import Definition, Kind, Phase, Step
from apps.migrations.folders import files
from apps.migrations.folders.problems import DOCUMENT, BadDefinitionError
from apps.migrations.lint.findings import Finding, Level, of_step

_NUMBER = re.compile(r"(\d+)")


def findings(definition: Definition) -> Iterator[Finding]:
    """Yield what is wrong with the order of phases and files, and files that no step knows."""
    yield from _phases(definition)
    yield from _version(definition)
    yield from _numbers(definition)
    yield from _unused(definition)


def _phases(definition: Definition) -> Iterator[Finding]:
    for before, step in pairwise(definition.steps):
        if step.phase < before.phase:
            message = f"is of the phase {step.phase}, and behind {before.name} of {before.phase}: phases never go back"
            yield of_step(step, "phase-order", message)
    verified = False
    for step in definition.steps:
        verified = verified or step.phase is Phase.VERIFY
        if step.phase is Phase.CONTRACT and not verified:
            yield of_step(
                step,
                "contract-unverified",
                "takes away what the version before needs, and no step of the phase verify has said that all is there",
            )


def _version(definition: Definition) -> Iterator[Finding]:
    """Yield that a target would be found at its old version when all was done to it."""
    reaching = [step for step in definition.steps if step.kind is not Kind.JOB and step.phase is not Phase.CONTRACT]
    if definition.targets.database is not None and not reaching:
        message = "has a database, and before contract no step that reaches into it: nobody writes the version there"
        yield Finding(level=Level.ERROR, step=None, file=DOCUMENT, line=1, rule="version-unwritten", message=message)


def _numbers(definition: Definition) -> Iterator[Finding]:
    """Compare the numbers that files begin with to the order of their steps; a file that two steps name is one, too."""
    numbered = [(step, number) for step in definition.steps if (number := _number_of(step)) is not None]
    for (before, first), (step, second) in pairwise(numbered):
        if second <= first:
            yield of_step(
                step,
                "ambiguous-order",
                f"runs {step.file} behind {before.file} of {before.name}: numbers that grow in the order of the steps"
                " would be right",
            )


def _number_of(step: Step) -> int | None:
    found = _NUMBER.match(PurePosixPath(step.file).name) if step.file else None
    return int(found[1]) if found else None


def _unused(definition: Definition) -> Iterator[Finding]:
    named = {name for step in definition.steps for name in (step.file, step.revert_file) if name}
    named |= {check.file for check in definition.gates.checks if check.file}
    try:
        there = files.read(definition.folder).contents
    except (BadDefinitionError, OSError):  # it changed meanwhile; whoever uses it compares checksums
        return
    has_code = any(step.kind is Kind.PYTHON for step in definition.steps)
    for name in sorted(there):
        if (name.endswith(".sql") and name not in named) or (name.endswith(".py") and not has_code):
            message = "no step and no check names this file: it will not run"
            yield Finding(level=Level.WARNING, step=None, file=name, line=1, rule="unused-file", message=message)

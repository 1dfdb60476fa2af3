"""Whether every step before `contract` says how it is undone, and whether that can be so."""

from __future__ import annotations

from collections.abc import Iterator

from apps.migrations import effects
from apps.migrations.definition import Definition, Kind, Phase, Step
from apps.migrations.effects import BadSqlError, Effect, Reading
from apps.migrations.folders.problems import DOCUMENT
from apps.migrations.lint.findings import Finding, Level, of_step

_RIGHT = {
    Kind.SQL: "a file",
    Kind.PYTHON: "a function",
    Kind.JOB: "{type: …, params: {…}}",
    Kind.MODULE: "a path",
    Kind.DJANGO: "the migration to go back to",
}


def findings(definition: Definition) -> Iterator[Finding]:
    """Yield missing reverts, and those of SQL that leave behind what their step made."""
    for step in definition.steps:
        if step.phase is Phase.CONTRACT:
            if step.revert_said:
                yield of_step(
                    step,
                    "contract-reverts",
                    "has a revert, and behind contract there is none: leave it out, and roll forward",
                )
        elif not step.revert_said:
            right = _RIGHT[step.kind]
            yield of_step(step, "missing-revert", f"says no revert: {right}, or the word nothing, would be right")
        elif step.text is not None:
            yield from _left_behind(step)


def _left_behind(step: Step) -> Iterator[Finding]:
    """Yield what the step makes and its revert does not even name."""
    up, down = _reading(step.text), _reading(step.revert_text)
    if up is None or (step.revert_text is not None and down is None):
        return  # that it cannot be read is said by another rule
    if down is not None and down.of(Effect.OPAQUE):
        return
    named = down.mentions if down is not None else frozenset()
    tables = [fact.names for fact in up.of(Effect.CREATES) if fact.what.startswith("table ")]
    for fact in up.of(Effect.CREATES):
        if fact.names & named or any(fact.names <= table and table & named for table in tables):
            continue
        what = "does not name it" if step.undoes else "is the word nothing"
        yield Finding(
            level=Level.ERROR,
            step=step.name,
            file=step.file or DOCUMENT,
            line=fact.line,
            rule="revert-misses",
            message=f"makes {fact.what}, and its revert {what}: the target would not be back at its version",
        )


def _reading(text: str | None) -> Reading | None:
    try:
        return effects.read(text) if text is not None else None
    except BadSqlError:
        return None

"""How much can go wrong with a definition, why, and how many people have to say yes. Pure.

A definition says its risk itself, as a floor: what its steps do may raise it, and nothing lowers it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from apps.migrations import effects
from apps.migrations.definition import Definition, Kind, Phase, Risk, Step
from apps.migrations.effects import BadSqlError, Effect

APPROVALS = {Risk.LOW: 0, Risk.MEDIUM: 1, Risk.HIGH: 2}

_OF_EFFECT = {
    Effect.DESTROYS: (Risk.HIGH, "takes away {}, for good"),
    Effect.RENAMES: (Risk.HIGH, "renames {}, which the version before still knows by its name"),
    Effect.REACHES: (Risk.HIGH, "reaches beyond the target's schema: {}"),
    Effect.REWRITES: (Risk.MEDIUM, "rewrites a table under a lock against everybody: {}"),
    Effect.SCANS: (Risk.MEDIUM, "scans a table under a lock against writes: {}"),
    Effect.BLOCKS: (Risk.MEDIUM, "stops writes meanwhile: {}"),
    Effect.REQUIRES: (Risk.MEDIUM, "asks of rows what the version before does not give: {}"),
    Effect.FILLS: (Risk.MEDIUM, "changes rows that are there: {}"),
    Effect.OPAQUE: (Risk.MEDIUM, "does what its text does not tell: {}"),
}
_UNSEEN = {
    Kind.PYTHON: "does what its function does",
    Kind.MODULE: "does what the module does",
    Kind.DJANGO: "does what the module's own migrations do",
    Kind.JOB: "does what its job type does",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """A definition's risk, and each reason that it is not lower ('drop_old: …', in the order of the steps)."""

    risk: Risk
    reasons: tuple[str, ...]


def assess(definition: Definition) -> Assessment:
    """Return the definition's risk: the highest of what it says itself and what its steps do, up, not back."""
    found = [(definition.risk, f"the definition itself says {definition.risk}")] if definition.risk > Risk.LOW else []
    for step in definition.steps:
        found += [(risk, f"{step.name}: {reason}") for risk, reason in _of_step(step)]
    highest = max((risk for risk, _ in found), default=Risk.LOW)
    return Assessment(risk=highest, reasons=tuple(reason for _, reason in found))


def approvals_needed(risk: Risk) -> int:
    """Return how many people, none of them the author, have to approve."""
    return APPROVALS[risk]


def _of_step(step: Step) -> Iterator[tuple[Risk, str]]:
    if step.phase is Phase.CONTRACT:
        yield Risk.HIGH, "is of the phase contract, behind which there is no way back"
    if step.batch is not None:
        yield (
            Risk.MEDIUM,
            f"changes rows that are there, batch by batch{f' of {step.batch.table}' * bool(step.batch.table)}",
        )
    elif step.kind is not Kind.SQL and step.phase is not Phase.VERIFY:
        yield Risk.MEDIUM, _UNSEEN[step.kind]
    if step.text is None:
        return
    try:
        reading = effects.read(step.text)
    except BadSqlError as error:
        yield Risk.HIGH, f"cannot be read: {error}"
        return
    for fact in reading.facts:
        risk, reason = _OF_EFFECT.get(fact.effect, (Risk.LOW, ""))
        if reason and not (fact.effect is Effect.FILLS and step.batch is not None):
            yield risk, reason.format(fact.what)

"""A plan as people and programs read it, and the risk of a definition once a rehearsal has had its say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from apps.migrations.definition import Definition, Risk
from apps.migrations.drift import Judgement
from apps.migrations.lint import Finding
from apps.migrations.risk import Assessment
from workers.migrations.forecast import Forecast

# A lock that may be held longer than this is somebody's to agree to.
LONG_LOCK_MS: Final = 2_000
# These say that nothing could be tried, not that something went wrong.
_NOT_TRIED: Final = frozenset(
    {"may_not_make_schemas", "schema_too_large", "target_busy", "connection_lost", "unreachable", "took_too_long"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a plan is written of."""

    definition: Definition
    drill: bool
    waves: Sequence[Sequence[str]]
    judged: Judgement
    missing: Sequence[str]
    findings: Sequence[Finding]
    forecast: Forecast | None
    risk: Risk
    risk_reasons: Sequence[str]
    approvals: int


def document(parts: Parts) -> dict[str, Any]:
    """Return the plan as JSON; docs/migration-plans.md says what each figure means."""
    definition, forecast = parts.definition, parts.forecast
    return {
        "definition": {
            "name": definition.name,
            "from": definition.version_from,
            "to": definition.version_to,
            "checksum": definition.checksum,
        },
        "drill": parts.drill,
        "targets": sum(len(wave) for wave in parts.waves),
        "waves": [{"number": number, "targets": list(wave)} for number, wave in enumerate(parts.waves)],
        "set_aside": [
            {
                "target": each.key,
                "reason": each.reason.value,
                "version": each.version,
                "differs": list(each.differs),
            }
            for each in sorted(parts.judged.set_aside, key=lambda each: each.key)
        ],
        "steps": [
            {"name": step.name, "phase": step.phase.value, "kind": step.kind.value, "checksum": step.checksum}
            for step in definition.steps
        ],
        "rehearsal": None if forecast is None else forecast.rehearsed(),
        "estimate": {"duration_s": None, "longest_lock_ms": None, "on": None}
        if forecast is None
        else forecast.estimated(drill=parts.drill),
        "risk": parts.risk.value,
        "risk_reasons": list(parts.risk_reasons),
        "approvals": parts.approvals,
        "findings": [*(finding.document() for finding in parts.findings), *_warnings(parts)],
        "schema_digest": parts.judged.digest,
    }


def _warnings(parts: Parts) -> Iterator[dict[str, Any]]:
    for message in parts.judged.warnings:
        yield _warning("no_usual_schema", message)
    reasons = {each.key: each.reason.value for each in parts.judged.set_aside}
    for key in parts.missing:
        why = f"is set aside ({reasons[key]})" if key in reasons else "is no target of this migration"
        yield _warning("wave_names_nobody", f"a wave names {key!r}, which {why}")


def _warning(rule: str, message: str) -> dict[str, Any]:
    return {"level": "warning", "step": None, "file": "", "line": 0, "rule": rule, "message": message}


def risen(assessed: Assessment, forecast: Forecast | None) -> Assessment:
    """Return the risk as a rehearsal raises it: nothing it shows lowers what the definition's own text says."""
    reasons = list(_shown(forecast)) if forecast is not None else []
    highest = max([assessed.risk, *(found for found, _ in reasons)])
    return Assessment(risk=highest, reasons=(*assessed.reasons, *(reason for _, reason in reasons)))


def _shown(forecast: Forecast) -> Iterator[tuple[Risk, str]]:
    trouble = forecast.rehearsal.trouble
    if trouble is not None and trouble.code in _NOT_TRIED:
        yield Risk.MEDIUM, f"rehearsal: it could not be tried to its end ({trouble.code})"
    elif trouble is not None and trouble.doubtful:
        yield Risk.MEDIUM, f"rehearsal: {trouble.step} answers no on a copy, which has only some of the rows"
    elif trouble is not None and trouble.code == "did_not_come_back":
        yield Risk.HIGH, f"rehearsal: undone, it leaves {', '.join(trouble.differs[:3])} otherwise than before"
    elif trouble is not None:
        where = f"{trouble.step}{' on its way back' if trouble.direction == 'down' else ''}: " if trouble.step else ""
        yield Risk.HIGH, f"rehearsal: {where}it failed on a copy ({trouble.code})"
    rewritten = sorted(
        {
            (run.name, lock.relation)
            for run in forecast.rehearsal.timed
            for lock in run.locks
            if lock.rewrites and run.direction == "up"
        }
    )
    for step, relation in rewritten:
        yield Risk.MEDIUM, f"rehearsal: {step} writes all of {relation} anew under its lock"
    longest = forecast.longest_lock()
    if longest is not None and longest.held_ms.high > LONG_LOCK_MS:
        yield (
            Risk.MEDIUM,
            f"rehearsal: {longest.step} may hold {longest.relation} of {longest.on} for"
            f" {longest.held_ms.high / 1000:.1f} s",
        )

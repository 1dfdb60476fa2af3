"""What the gates between waves say: figures in, verdicts out. Pure.

Three verdicts, as a person would give them: let the next wave go, stop, or somebody has to look. A gate that cannot
tell never lets through by itself.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, NamedTuple

from apps.migrations.definition import FailureRate

WELL: Final = frozenset({"new", "up", "grace", "paused"})
UNWELL: Final = frozenset({"degraded", "down"})


class Verdict(StrEnum):
    """What a gate says."""

    SUCCEED = "succeed"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """What one gate says, and the figures it says it by. `why` is a sentence for people."""

    gate: str
    verdict: Verdict
    facts: Mapping[str, Any] = field(default_factory=dict)
    why: str | None = None


class Counts(NamedTuple):
    """Attempts that ended in some time, and those of them that failed."""

    ended: int
    failed: int

    @property
    def rate(self) -> float:
        """Return the part that failed, 0 of none."""
        return self.failed / self.ended if self.ended else 0.0


def health(statuses: Mapping[str, str], *, before: Mapping[str, str]) -> Found:
    """Judge the module's components (`module/component` → status): none may be unwell that was well before the wave.

    One whose standing nobody knows is inconclusive: the plane distrusts its own ears then.
    """
    worse = sorted(
        name for name, status in statuses.items() if status in UNWELL and before.get(name, "up") not in UNWELL
    )
    unknown = sorted(name for name, status in statuses.items() if status == "unknown")
    facts = {"unwell": worse, "unknown": unknown, "components": len(statuses)}
    if worse:
        return Found(gate="health", verdict=Verdict.FAIL, facts=facts, why=f"not well: {', '.join(worse[:5])}")
    if unknown:
        why = f"nobody knows how these are: {', '.join(unknown[:5])}"
        return Found(gate="health", verdict=Verdict.INCONCLUSIVE, facts=facts, why=why)
    return Found(gate="health", verdict=Verdict.SUCCEED, facts=facts)


def failure_rate(now: Counts, *, baseline: Counts, rule: FailureRate) -> Found:
    """Judge how many of the module's attempts fail since the wave began, against before it."""
    facts = {
        "ended": now.ended,
        "failed": now.failed,
        "rate": round(now.rate, 4),
        "baseline_ended": baseline.ended,
        "baseline_rate": round(baseline.rate, 4),
    }
    if now.ended < rule.at_least:
        verdict = Verdict.SUCCEED if rule.when_few == "succeed" else Verdict.INCONCLUSIVE
        why = (
            None if verdict is Verdict.SUCCEED else f"only {now.ended} of the {rule.at_least} attempts it takes to tell"
        )
        return Found(gate="failure_rate", verdict=verdict, facts={**facts, "few": True}, why=why)
    if now.rate > baseline.rate + rule.above_baseline:
        why = f"{now.failed} of {now.ended} attempts failed, {baseline.rate:.1%} did before"
        return Found(gate="failure_rate", verdict=Verdict.FAIL, facts=facts, why=why)
    return Found(gate="failure_rate", verdict=Verdict.SUCCEED, facts=facts)


def alike(digests: Iterable[tuple[str, str | None, str | None]]) -> Found:
    """Judge whether targets (key, digest before, digest after) that were alike before still are."""
    after: dict[str | None, dict[str | None, list[str]]] = {}
    for key, before, now in digests:
        after.setdefault(before, {}).setdefault(now, []).append(key)
    odd: list[str] = []
    for groups in after.values():
        most = max(groups.values(), key=len, default=[])
        odd += [key for keys in groups.values() if keys is not most for key in keys]
    facts = {"differ": sorted(odd)[:20]}
    if odd:
        why = f"upgraded, but not like the others: {', '.join(sorted(odd)[:5])}"
        return Found(gate="schemas_alike", verdict=Verdict.FAIL, facts=facts, why=why)
    return Found(gate="schemas_alike", verdict=Verdict.SUCCEED, facts=facts)


def check(name: str, *, failed: Sequence[str], unknown: Collection[str] = ()) -> Found:
    """Judge a definition's own check by the targets that it failed for, and those that could not be asked."""
    facts = {"failed": sorted(failed)[:20], "unknown": sorted(unknown)[:20]}
    if failed:
        why = f"check {name} failed for {', '.join(sorted(failed)[:5])}"
        return Found(gate=name, verdict=Verdict.FAIL, facts=facts, why=why)
    if unknown:
        why = f"check {name} could not be asked of {', '.join(sorted(unknown)[:5])}"
        return Found(gate=name, verdict=Verdict.INCONCLUSIVE, facts=facts, why=why)
    return Found(gate=name, verdict=Verdict.SUCCEED, facts=facts)


def overall(found: Sequence[Found]) -> Found:
    """Return the verdict of all gates: the first that fails, else the first that cannot tell, else that all is well."""
    for verdict in (Verdict.FAIL, Verdict.INCONCLUSIVE):
        for each in found:
            if each.verdict is verdict:
                return each
    return Found(gate="all", verdict=Verdict.SUCCEED)

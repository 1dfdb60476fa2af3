"""Who goes first: the targets of a campaign, divided into waves as its definition, or who asked for it, says. Pure.

Three forms may stand in one list: `{count: n}`, the next n targets; `{percent: p}`, as many as bring the campaign to
p % of all its targets, rounded up, so that percentages only grow; `{targets: [keys]}`, these, which no other wave
takes. Or the whole is `{by: risk, waves: n}`: one target first, then waves that each multiply what was touched before
by the same factor. Whatever remains makes a last wave. A wave that would be empty is left out.

Targets go in the order of what a failure would cost: our own first, then the smallest, the most like the others.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final, NamedTuple, TypeGuard

MOST_WAVES: Final = 50
MOST_NAMED: Final = 10_000
LONGEST_KEY: Final = 200
_FORMS: Final = ("count", "percent", "targets")
_ONE_OF: Final = "must be one of {count: n}, {percent: p}, {targets: [keys]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A target that may be touched. `size_bytes`: of its schema, None: unknown. `alike`: 0 to 1, to the reference."""

    key: str
    tenant_id: str
    size_bytes: int | None = None
    internal: bool = False
    alike: float = 1.0

    @property
    def risk(self) -> tuple[bool, float, float, str]:
        """Return what candidates are ordered by: ours, of small size, alike, and at last by key.

        Sizes count by powers of two: a page more or less says nothing, and must not make another plan of the same.
        """
        magnitude = math.inf if self.size_bytes is None else self.size_bytes.bit_length()
        return (not self.internal, magnitude, -self.alike, self.key)


class Division(NamedTuple):
    """Candidates in waves, none of them empty; and the keys that a wave named and that are no candidates, in order."""

    waves: list[list[Candidate]]
    missing: list[str]


def divide(candidates: Iterable[Candidate], *, spec: Sequence[Mapping[str, Any]] | Mapping[str, Any]) -> Division:
    """Return the waves that `spec` makes of the candidates; `spec` must be one that `problems` finds nothing wrong in.

    Every candidate is in exactly one wave, each wave in the order of risk.
    """
    ordered = sorted(candidates, key=lambda candidate: candidate.risk)
    if isinstance(spec, Mapping):
        return Division(list(_cut(ordered, _growing(len(ordered), waves=spec["waves"]))), [])
    by_key = {candidate.key: candidate for candidate in ordered}
    named = [key for each in spec for key in each.get("targets", ())]
    taken = set(named)
    free = [candidate for candidate in ordered if candidate.key not in taken]
    waves: list[list[Candidate]] = []
    touched = 0
    for each in spec:
        if "targets" in each:
            wanted = set(each["targets"])
            wave = [candidate for candidate in ordered if candidate.key in wanted]
        else:
            wave, free = _next(free, each, touched=touched, all_of_them=len(ordered))
        touched += len(wave)
        waves.append(wave)
    waves.append(free)
    return Division([wave for wave in waves if wave], [key for key in named if key not in by_key])


def _next(
    free: list[Candidate], wave: Mapping[str, Any], *, touched: int, all_of_them: int
) -> tuple[list[Candidate], list[Candidate]]:
    """Return whom a wave by count or percentage takes of those that no wave names, and who remains."""
    size = wave["count"] if "count" in wave else percent_of(all_of_them, percent=wave["percent"]) - touched
    size = max(0, size)
    return free[:size], free[size:]


def percent_of(count: int, *, percent: float) -> int:
    """Return `percent` % of `count`, rounded up; exact, so that 7 % of 100 are 7."""
    return math.ceil(count * Fraction(str(percent)) / 100)


def _growing(count: int, *, waves: int) -> list[int]:
    """Return how many are touched after each of `waves` waves: 1, then each time the same multiple, at last all."""
    if waves == 1:
        return [count]
    return [*(min(count, math.ceil(count ** (wave / (waves - 1)) - 1e-9)) for wave in range(waves - 1)), count]


def _cut(ordered: Sequence[Candidate], ends: Iterable[int]) -> Iterator[list[Candidate]]:
    begin = 0
    for end in ends:
        if end > begin:
            yield list(ordered[begin:end])
            begin = end


def problems(spec: object) -> list[tuple[str, str]]:
    """Return what is wrong with `spec`: (JSON Pointer into it, what would be right); empty when it can be followed."""
    if isinstance(spec, Mapping):
        return list(_problems_by_risk(spec))
    if isinstance(spec, str) or not isinstance(spec, Sequence):
        return [("", "must be a list of waves, or {by: risk, waves: n}")]
    if not 1 <= len(spec) <= MOST_WAVES:
        return [("", f"must be 1 to {MOST_WAVES} waves")]
    return [*_problems_of_waves(spec), *_problems_between(spec)]


def _problems_by_risk(spec: Mapping[Any, Any]) -> Iterator[tuple[str, str]]:
    for name in spec:
        if name not in {"by", "waves"}:
            yield f"/{_escaped(name)}", "is no field here: by and waves are"
    if spec.get("by") != "risk":
        yield "/by", "must be 'risk'"
    if not _whole(spec.get("waves"), least=1, most=MOST_WAVES):
        yield "/waves", f"must be a whole number from 1 to {MOST_WAVES}"


def _problems_of_waves(spec: Sequence[Any]) -> Iterator[tuple[str, str]]:
    for number, wave in enumerate(spec):
        if not isinstance(wave, Mapping) or not wave:
            yield f"/{number}", _ONE_OF
            continue
        for name in wave:
            if name not in _FORMS:
                yield f"/{number}/{_escaped(name)}", f"is no field here: a wave {_ONE_OF}"
        if sum(name in _FORMS for name in wave) > 1:
            yield f"/{number}", _ONE_OF
        if "count" in wave and not _whole(wave["count"], least=1, most=1_000_000):
            yield f"/{number}/count", "must be a whole number from 1 to 1000000"
        if "percent" in wave and not _is_percent(wave["percent"]):
            yield f"/{number}/percent", "must be a number above 0 and at most 100"
        if "targets" in wave:
            yield from _problems_of_targets(wave["targets"], at=f"/{number}/targets")


def _problems_of_targets(keys: Any, *, at: str) -> Iterator[tuple[str, str]]:
    if isinstance(keys, str) or not isinstance(keys, Sequence) or not 1 <= len(keys) <= MOST_NAMED:
        yield at, f"must be a list of 1 to {MOST_NAMED} keys of targets"
        return
    for place, key in enumerate(keys):
        if not isinstance(key, str) or not 1 <= len(key) <= LONGEST_KEY:
            yield f"{at}/{place}", "must be the key of a target, in quotes if it looks like a number"


def _problems_between(spec: Sequence[Any]) -> Iterator[tuple[str, str]]:
    """Yield what only several waves together have wrong: a target in two of them, percentages that do not grow."""
    seen: dict[str, int] = {}
    before: float = 0
    for number, wave in enumerate(spec):
        if not isinstance(wave, Mapping):
            continue
        percent, keys = wave.get("percent"), wave.get("targets")
        if _is_percent(percent):
            if percent <= before:
                yield f"/{number}/percent", f"must be above {before:g}: it counts all that were touched by then"
            before = percent
        for place, key in enumerate(keys if isinstance(keys, Sequence) and not isinstance(keys, str) else ()):
            if isinstance(key, str):
                if key in seen:
                    yield f"/{number}/targets/{place}", f"must be in one wave only: wave {seen[key]} has it"
                seen.setdefault(key, number)


def _whole(value: object, *, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _is_percent(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 100  # noqa: PLR2004


def _escaped(name: object) -> str:
    return str(name).replace("~", "~0").replace("/", "~1")

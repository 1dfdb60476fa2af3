"""What a rehearsal says of the real targets: each lock, each target, the whole, at their sizes; as a plan writes it.

A target's rows are those of the rehearsed one, by the two schemas' sizes. Steps that no rehearsal can show are not in
the figures, and are named beside them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from apps.migrations import estimate
from apps.migrations.definition import Definition, Phase
from apps.migrations.estimate import Range, Timing
from apps.migrations.waves import Candidate
from workers.migrations.batches import AIM_S
from workers.migrations.observer import Lock
from workers.migrations.rehearsal import Rehearsal, Timed

UP: Final = "up"
DOWN: Final = "down"


@dataclass(frozen=True, slots=True, kw_only=True)
class Longest:
    """The longest lock that makes anybody wait: for how long (ms), on which target, by which step, on which table."""

    held_ms: Range
    on: str
    step: str
    relation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """A rehearsal of a definition, and the targets it is to speak for; `size_bytes` is the rehearsed target's."""

    definition: Definition
    rehearsal: Rehearsal
    size_bytes: int | None
    waves: Sequence[Sequence[Candidate]]

    def rehearsed(self) -> dict[str, Any]:
        """Return what happened on the copy, step by step, as JSON; locks are foretold for the largest target."""
        trouble = self.rehearsal.trouble
        return {
            "on": self.rehearsal.on,
            "sizes": sorted({each.size for each in self.rehearsal.timed}),
            "steps": [self._step(runs) for runs in self._runs().values()],
            "came_back": self.rehearsal.came_back,
            "problem": None if trouble is None else trouble.code,
            "problem_step": None if trouble is None else trouble.step,
            "problem_direction": None if trouble is None else trouble.direction,
            "differs": [] if trouble is None else list(trouble.differs),
            "skipped": list(self.rehearsal.skipped),
            "not_cloned": list(self.rehearsal.not_cloned),
        }

    def estimated(self, *, drill: bool) -> dict[str, Any]:
        """Return how long all of it takes and how long a lock is held, as JSON; None where nothing was measured."""
        longest = self.longest_lock()
        duration = self._duration(drill=drill)
        return {
            "duration_s": None if duration is None else _figures(duration),
            "longest_lock_ms": None if longest is None else _figures(longest.held_ms),
            "on": None if longest is None else longest.on,
            "step": None if longest is None else longest.step,
            "relation": None if longest is None else longest.relation,
            "not_counted": list(self.rehearsal.skipped),
        }

    def longest_lock(self) -> Longest | None:
        """Return the longest lock on the way up that makes writers or everybody wait; None: none of the rehearsed."""
        largest = self._largest()
        found = [
            Longest(held_ms=self._held(runs, relation, on=largest), on=largest.key, step=name, relation=relation)
            for (name, direction), runs in self._runs().items()
            if direction == UP and largest is not None
            for relation in sorted({lock.relation for run in runs for lock in run.locks if lock.blocking})
        ]
        return max(found, key=lambda each: each.held_ms.likely, default=None)

    def _runs(self) -> dict[tuple[str, str], list[Timed]]:
        """Return (step, direction) → its runs, in the order in which steps were first tried."""
        runs: dict[tuple[str, str], list[Timed]] = {}
        for each in self.rehearsal.timed:
            runs.setdefault((each.name, each.direction), []).append(each)
        return runs

    def _step(self, runs: Sequence[Timed]) -> dict[str, Any]:
        """Return what a step did, as it did on the largest copy, the last time."""
        shown = max(runs, key=lambda run: run.size)
        largest = self._largest()
        strongest: dict[str, Lock] = {}
        for run in runs:
            for lock in run.locks:
                if lock.relation not in strongest or run.size == shown.size:
                    strongest[lock.relation] = lock
        return {
            "name": shown.name,
            "direction": shown.direction,
            "seconds": round(shown.seconds, 4),
            "locks": [
                {
                    "relation": lock.relation,
                    "mode": lock.mode,
                    "held_ms": round(lock.held_ms, 3),
                    "rewrites": any(each.rewrites for run in runs for each in run.locks if each.relation == relation),
                    "predicted_ms": None if largest is None else _figures(self._held(runs, relation, on=largest)),
                }
                for relation, lock in sorted(strongest.items())
            ],
            "rows": shown.rows,
            "rows_per_s": None if not shown.rows else round(shown.rows / max(shown.seconds, 1e-6), 1),
        }

    def _held(self, runs: Sequence[Timed], relation: str, *, on: Candidate) -> Range:
        """Return the milliseconds that a step holds its lock on a table of a target."""
        timings = [
            Timing(run.over, lock.held_ms / 1000) for run in runs for lock in run.locks if lock.relation == relation
        ]
        if self.definition.step(runs[0].name).batch is not None and runs[0].direction == UP:
            # A batch is as long as batches are made to be, however large the table.
            longest = max(AIM_S, *(timing.seconds for timing in timings))
            return Range(0.0, longest, 2 * longest).times(1000)
        return estimate.predict(timings, rows=self._rows(runs[0].tables, on=on)).times(1000)

    def _rows(self, tables: Sequence[str], *, on: Candidate) -> float:
        """Return how many rows these tables have on a target, by its size."""
        rows = sum(self.rehearsal.rows.get(table, 0) for table in tables)
        return rows * on.size_bytes / self.size_bytes if on.size_bytes and self.size_bytes else rows

    def _largest(self) -> Candidate | None:
        every = [candidate for wave in self.waves for candidate in wave]
        return max(every, key=lambda candidate: (candidate.size_bytes or 0, candidate.key), default=None)

    def _duration(self, *, drill: bool) -> Range | None:
        runs = self._runs()
        names = [step.name for step in self.definition.steps if not self._skipped(step.name)]
        if not names or any((name, UP) not in runs for name in names):
            return None
        before = [step.name for step in self.definition.steps if step.phase is not Phase.CONTRACT]
        back = [(name, DOWN) for name in reversed(before) if (name, DOWN) in runs]
        return estimate.campaign_duration(
            [[self._of(each, runs, [(name, UP) for name in names]) for each in wave] for wave in self.waves],
            parallel=self.definition.parallel,
            bake_s=self.definition.gates.bake_s,
            first_wave_back=[self._of(each, runs, back) for each in self.waves[0]] if drill and self.waves else (),
        )

    def _of(
        self, target: Candidate, runs: Mapping[tuple[str, str], Sequence[Timed]], ways: Sequence[tuple[str, str]]
    ) -> Range:
        return estimate.target_duration(
            estimate.predict(
                [Timing(run.over, run.seconds) for run in runs[way]], rows=self._rows(runs[way][0].tables, on=target)
            )
            for way in ways
        )

    def _skipped(self, name: str) -> bool:
        return any(each.partition(":")[0] == name for each in self.rehearsal.skipped)


def _figures(found: Range) -> dict[str, float]:
    """Return a range as JSON, to four significant figures: more would be a claim."""
    return {name: float(f"{value:.4g}") for name, value in found._asdict().items()}

"""How long it will take, and how long a lock will be held: from timings of a rehearsal, with their error bars. Pure.

A step's time is taken to be a line over rows: so much at once, so much a row. That holds for scans, rewrites and
backfills; it is kind to sorts and to what no longer fits into memory. So a bar never gets narrower than a quarter of
the likely value, and a quarter wider for each time that a target is ten times the largest sample. `low` and `high` are
meant to hold nine times of ten; no promise of ours is made of them.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

# What a step costs beside its work: being chosen, sent, claimed, ended. Low, likely, high; in seconds.
OF_A_JOB: Final = (0.05, 0.3, 2.0)
PART_ALWAYS: Final = 0.25
PART_A_TENFOLD: Final = 0.25
# A clock and a scheduler say no less than this, in seconds.
FINEST_S: Final = 0.002
# Student's t, two-sided 90 %, by degrees of freedom from 1; beyond, the normal distribution's is near enough.
_T: Final = (6.314, 2.920, 2.353, 2.132, 2.015, 1.943, 1.895, 1.860, 1.833, 1.812)
_T_MANY: Final = 1.8


class Timing(NamedTuple):
    """One run: on so many rows, so many seconds."""

    rows: float
    seconds: float


class Range(NamedTuple):
    """A value that is not known yet, in whatever unit: between `low` and `high` nine times of ten."""

    low: float
    likely: float
    high: float

    def times(self, factor: float) -> Range:
        """Return it multiplied."""
        return Range(self.low * factor, self.likely * factor, self.high * factor)

    def plus(self, other: Sequence[float]) -> Range:
        """Return the sum, as if both were low, likely and high together: wider than chance would have it."""
        return Range(self.low + other[0], self.likely + other[1], self.high + other[2])


NOTHING: Final = Range(0.0, 0.0, 0.0)


class Line(NamedTuple):
    """Seconds at once, and seconds a row; neither is negative."""

    at_once: float
    a_row: float

    def at(self, rows: float) -> float:
        """Return the seconds that so many rows take."""
        return self.at_once + self.a_row * rows


def fit(timings: Sequence[Timing]) -> Line:
    """Return the line of least squares through one or more timings.

    Of a single size nothing can be told but the whole: all of it is then taken to go with the rows, which overstates
    what a larger target takes. Size 0 alone says what it takes at once.
    """
    count = len(timings)
    if count == 0:
        raise ValueError("there is nothing to fit a line to")
    mean = Timing(sum(each.rows for each in timings) / count, sum(each.seconds for each in timings) / count)
    spread = sum((each.rows - mean.rows) ** 2 for each in timings)
    if spread == 0:
        return Line(0.0, mean.seconds / mean.rows) if mean.rows else Line(mean.seconds, 0.0)
    a_row = sum((each.rows - mean.rows) * (each.seconds - mean.seconds) for each in timings) / spread
    at_once = mean.seconds - a_row * mean.rows
    if a_row < 0:
        return Line(max(0.0, mean.seconds), 0.0)
    if at_once < 0:  # the best line through nothing at no rows
        squares = sum(each.rows**2 for each in timings)
        return Line(0.0, max(0.0, sum(each.rows * each.seconds for each in timings) / squares))
    return Line(at_once, a_row)


def predict(timings: Sequence[Timing], *, rows: float) -> Range:
    """Return the seconds that `rows` will take, after timings at one or more sizes (two or more to be worth much).

    From three timings on the bar is what their scatter round the line says (a prediction interval of 90 %), and never
    less than what is said at this module's head.
    """
    line = fit(timings)
    likely = line.at(rows)
    largest = max(each.rows for each in timings)
    tenfolds = math.log10(rows / largest) if rows > largest > 0 else 0.0
    bar = max(FINEST_S, likely * (PART_ALWAYS + PART_A_TENFOLD * tenfolds), _scatter(timings, line, rows=rows))
    return Range(max(0.0, likely - bar), likely, likely + bar)


def _scatter(timings: Sequence[Timing], line: Line, *, rows: float) -> float:
    count = len(timings)
    mean = sum(each.rows for each in timings) / count
    spread = sum((each.rows - mean) ** 2 for each in timings)
    free = count - 2
    if free < 1 or spread == 0:
        return 0.0
    error = math.sqrt(sum((each.seconds - line.at(each.rows)) ** 2 for each in timings) / free)
    t = _T[free - 1] if free <= len(_T) else _T_MANY
    return t * error * math.sqrt(1 + 1 / count + (rows - mean) ** 2 / spread)


def target_duration(steps: Iterable[Range]) -> Range:
    """Return the seconds that one target takes: its steps one after the other, each a job of its own."""
    whole = NOTHING
    for step in steps:
        whole = whole.plus(step).plus(OF_A_JOB)
    return whole


def campaign_duration(
    waves: Sequence[Sequence[Range]], *, parallel: int, bake_s: float, first_wave_back: Sequence[Range] = ()
) -> Range:
    """Return the seconds that a campaign takes: its waves one after the other, each baked before the next.

    `waves`: the seconds of each target, in the order in which they begin; `parallel` of them at once.
    `first_wave_back`: of a drill, what it takes the first wave's targets to go down; then they go up once more.
    """
    whole = NOTHING
    for number, wave in enumerate(waves):
        once = _together(wave, parallel=parallel)
        whole = whole.plus(once).plus((bake_s, bake_s, bake_s))
        if number == 0 and first_wave_back:
            whole = whole.plus(_together(first_wave_back, parallel=parallel)).plus(once)
    return whole


def _together(targets: Sequence[Range], *, parallel: int) -> Range:
    return Range(*(makespan([target[place] for target in targets], parallel=parallel) for place in range(3)))


def makespan(seconds: Sequence[float], *, parallel: int) -> float:
    """Return when the last is over, if each begins, in this order, as soon as one of `parallel` places is free."""
    places = [0.0] * max(1, min(parallel, len(seconds)))
    for each in seconds:
        heapq.heappush(places, heapq.heappop(places) + each)
    return max(places)

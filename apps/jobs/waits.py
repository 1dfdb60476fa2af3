"""A job's waits, after the fact: its spans of waiting laid over the times at which gates were shut.

Every instant of a span is given to one gate, the first in the table's order that was shut then; what no gate claims was
its turn not having come. So the parts always add up to the whole. Decisions only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import pairwise
from typing import NamedTuple


class Span(NamedTuple):
    """A time: from, until."""

    start: datetime
    end: datetime


class GateTime(NamedTuple):
    """A time during which a gate was shut for a job."""

    gate: str
    start: datetime
    end: datetime


class Part(NamedTuple):
    """A part of a job's wait: `seconds` are what it waited, without what lies between spans from `start` to `end`."""

    gate: str
    start: datetime
    end: datetime
    seconds: float


def parts(spans: Iterable[Span], *, shut: Sequence[GateTime], order: Sequence[str]) -> list[Part]:
    """Return the spans cut by gates, oldest first; neighbours of one gate are one part, of two spans too."""
    rank = {gate: place for place, gate in enumerate(order)}
    found: list[Part] = []
    for span in spans:
        within = [each for each in shut if each.start < span.end and each.end > span.start]
        cuts = {span.start, span.end}
        cuts |= {moment for each in within for moment in (each.start, each.end) if span.start < moment < span.end}
        moments = sorted(cuts)
        for start, end in pairwise(moments):
            held = [each.gate for each in within if each.start <= start and each.end >= end]
            gate = min(held, key=lambda name: rank.get(name, len(rank)), default="turn")
            seconds = (end - start).total_seconds()
            if found and found[-1].gate == gate:
                found[-1] = found[-1]._replace(end=end, seconds=round(found[-1].seconds + seconds, 6))
            else:
                found.append(Part(gate, start, end, seconds))
    return found

"""What a benchmark says: a row of the table, with its baseline and their ratio; and percentiles."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Row:
    """One figure beside its baseline; `ratio` is the plane's over the baseline's, `target` what was promised."""

    claim: str
    plane: str
    baseline: str
    ratio: float | None = None
    target: str = ""
    met: bool | None = None

    def markdown(self) -> str:
        """Return the row as a line of the table."""
        ratio = "" if self.ratio is None else f"{self.ratio:.2f}"
        verdict = {True: " ✓", False: " ✗", None: ""}[self.met]
        return f"| {self.claim} | {self.plane} | {self.baseline} | {ratio} | {self.target}{verdict} |"


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Percentiles of a series, in milliseconds."""

    count: int
    p50: float
    p95: float
    p99: float

    def __str__(self) -> str:
        return f"{self.p50:.1f} / {self.p95:.1f} / {self.p99:.1f}"


def spread(seconds: Sequence[float]) -> Spread:
    """Return the percentiles (nearest rank) of a series in seconds; raises `ValueError` for an empty one."""
    if not seconds:
        raise ValueError("nothing was measured")
    ordered = sorted(seconds)

    def rank(share: float) -> float:
        return ordered[max(0, math.ceil(share * len(ordered)) - 1)] * 1000

    return Spread(count=len(ordered), p50=rank(0.5), p95=rank(0.95), p99=rank(0.99))


def middle(values: Sequence[float]) -> str:
    """Return the median and the range of some rates."""
    if len(values) == 1:
        return f"{values[0]:.0f}"
    return f"{statistics.median(values):.0f} ({min(values):.0f}–{max(values):.0f})"


def table(*, rows: Sequence[Row], facts: Sequence[str]) -> str:
    """Return the table with what machine and which versions it is of."""
    lines = ["| | this plane | bare Celery | ratio | target |", "|---|---|---|---|---|"]
    return "\n".join([*lines, *(row.markdown() for row in rows), "", *(f"- {fact}" for fact in facts)])


def document(*, rows: Sequence[Row], facts: Sequence[str]) -> dict[str, Any]:
    """Return the same as JSON."""
    return {"rows": [asdict(row) for row in rows], "facts": list(facts)}

"""Measures over windows: how many of how many failed, and how long it took, as counts that can be added up. Pure.

A rate without its denominator says nothing, and percentiles cannot be averaged: so each minute keeps both counts and a
histogram of latencies, whose buckets grow by half, from a millisecond to a quarter of an hour.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

MINUTES = 15  # what a component's current rate is taken over
GROWTH = 1.5
BUCKETS = 35
FEWEST = 5  # of fewer checks no rate is judged


class Window(NamedTuple):
    """So many checks, of which so many were errors; latencies as counts by bucket."""

    checks: int = 0
    errors: int = 0
    latencies: tuple[int, ...] = ()

    @property
    def error_rate(self) -> float | None:
        """The share of errors; None of no checks."""
        return self.errors / self.checks if self.checks else None


class Limits(NamedTuple):
    """From where on measures are bad, although the component says it is well; None: nobody minds."""

    error_rate: float | None = None
    latency_ms: float | None = None


def bucket(latency_ms: float) -> int:
    """Return the bucket that a latency falls into."""
    if latency_ms <= 1:
        return 0
    return min(math.ceil(math.log(latency_ms, GROWTH)), BUCKETS - 1)


def upper_ms(index: int) -> float:
    """Return the largest latency of a bucket, in milliseconds."""
    return float(GROWTH**index)


def together(windows: Iterable[Window]) -> Window:
    """Return all of them as one."""
    checks = errors = 0
    counts = [0] * BUCKETS
    for window in windows:
        checks += window.checks
        errors += window.errors
        for index, count in enumerate(window.latencies[:BUCKETS]):
            counts[index] += count
    return Window(checks, errors, tuple(counts))


def percentile(latencies: Sequence[int], *, share: float) -> float | None:
    """Return the latency below which `share` of them lie, in milliseconds, to a bucket's precision; None of none."""
    total = sum(latencies)
    if not total:
        return None
    wanted, seen = share * total, 0
    for index, count in enumerate(latencies):
        if count and seen + count >= wanted:
            low = 0.0 if index == 0 else upper_ms(index - 1)
            return round(low + (upper_ms(index) - low) * (wanted - seen) / count, 1)
        seen += count
    return round(upper_ms(BUCKETS - 1), 1)


def impairment(window: Window, *, limits: Limits) -> str | None:
    """Return which measure is bad: `error_rate`, `latency` (its 95th percentile), or None."""
    rate = window.error_rate
    if limits.error_rate is not None and rate is not None and window.checks >= FEWEST and rate > limits.error_rate:
        return "error_rate"
    if limits.latency_ms is not None and sum(window.latencies) >= FEWEST:
        p95 = percentile(window.latencies, share=0.95)
        if p95 is not None and p95 > limits.latency_ms:
            return "latency"
    return None

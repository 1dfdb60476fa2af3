"""Rates as token buckets. Decisions only.

A bucket holds at most `burst` tokens and gains `per_s` each second; a dispatch takes one. So in any window of T seconds
at most burst + per_s x T jobs are handed out, and no more, across restarts too: what is left is a row.
"""

from __future__ import annotations

import re
from typing import NamedTuple

SECONDS = {"s": 1, "m": 60, "h": 3600}
_WORDS = re.compile(r"([1-9][0-9]{0,8})/([smh])(?: burst ([1-9][0-9]{0,8}))?")


class Rate(NamedTuple):
    """Tokens a second, and how many a bucket holds at most."""

    per_s: float
    burst: int


def parse_rate(words: object) -> Rate:
    """Return the rate that '100/m' or '100/m burst 20' says; raise `ValueError` for anything else."""
    found = _WORDS.fullmatch(words) if isinstance(words, str) else None
    if found is None:
        raise ValueError("Limits.rate must be like '5/s', '100/m', '1000/h' or '100/m burst 20'")
    count, unit, burst = found.groups()
    per_s = int(count) / SECONDS[unit]
    return Rate(per_s, int(burst) if burst else max(1, int(per_s)))

"""Rates as token buckets. Decisions only.

A bucket holds at most `burst` tokens and gains `per_s` each second; a dispatch takes one. So in any window of T seconds
at most burst + per_s x T jobs are handed out, and no more, across restarts too: what is left is a row.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

SECONDS = {"s": 1, "m": 60, "h": 3600}
LONGEST = 32
_WORDS = re.compile(r"([1-9][0-9]{0,8})/([smh])(?: burst ([1-9][0-9]{0,8}))?")


class Rate(NamedTuple):
    """Tokens a second, and how many a bucket holds at most."""

    per_s: float
    burst: int


def parse_rate(words: object, *, field: str = "rate") -> Rate:
    """Return the rate that '100/m' or '100/m burst 20' says.

    Raises `ValueError` for anything else: it names `field`, where the words stood, and says what would be right.
    """
    rate = _read(words) if isinstance(words, str) else None
    if rate is None:
        raise ValueError(f"{field}: '5/s', '100/m', '1000/h' or '100/m burst 20' would be right")
    return rate


# Read again each second for every tenant, though there are only as many as there are plans.
@lru_cache(maxsize=1024)
def _read(words: str) -> Rate | None:
    found = _WORDS.fullmatch(words)
    if found is None:
        return None
    count, unit, burst = found.groups()
    per_s = int(count) / SECONDS[unit]
    return Rate(per_s, int(burst) if burst else max(1, int(per_s)))


def left(rate: Rate, *, tokens: float, age_s: float) -> float:
    """Return what a bucket that held `tokens` `age_s` seconds ago holds now; a clock gone back gives nothing away."""
    return min(float(rate.burst), tokens + rate.per_s * max(0.0, age_s))


def worth_s(rate: Rate) -> float:
    """Return after how many seconds a spent bucket is worth another look: 20 ms at the least.

    A token's time; where that is short, what several take, so that a fast rate costs ten looks a second and not a look
    a token; but not so long that the bucket would run over.
    """
    return max(1 / rate.per_s, min(rate.burst / rate.per_s, 0.1), 0.02)


def wait_s(rate: Rate, *, held: float, wanted: float = 1.0) -> float:
    """Return the seconds until a bucket that holds `held` tokens has gained `wanted`; 0 where it has them."""
    return max(0.0, wanted - held) / rate.per_s

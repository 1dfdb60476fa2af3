"""How patient emission is. Pure."""

from __future__ import annotations

from typing import Final

SINK_PAUSE_S: Final = (0.5, 30.0)
LOG_PAUSE_S: Final = (5.0, 300.0)


def sink_pause_s(failures: int) -> float:
    """Return for how long a sink that is away is left alone after so many tries in a row: 0.5 s doubling to 30."""
    return float(min(SINK_PAUSE_S[0] * 2 ** min(failures - 1, 16), SINK_PAUSE_S[1]))


def log_pause_s(failures: int) -> float:
    """Return when a log that the sink refused is offered again: 5 s doubling to 5 minutes. A no is seldom brief."""
    return float(min(LOG_PAUSE_S[0] * 2 ** min(failures - 1, 16), LOG_PAUSE_S[1]))

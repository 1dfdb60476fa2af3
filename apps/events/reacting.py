"""How patient the reactor is with a reaction that fails. Pure."""

from __future__ import annotations

from typing import Final

# A deadlock or a row that comes a moment later is over within these; what still fails then is a defect, and waits
# for a person while everything behind it goes on.
PAUSES_S: Final = (0.5, 2.0, 5.0, 15.0)


def pause_after(failures: int) -> float | None:
    """Return the seconds until the next try after so many failed ones in a row (1 or more); None: set it aside."""
    return PAUSES_S[failures - 1] if failures <= len(PAUSES_S) else None

"""Self-distrust: whether the plane may believe that somebody is silent, or has gone deaf itself. Pure.

Many that fall silent at once are rarely many deaths: more likely what they speak to is away. While that is so nobody is
called down for his silence and nothing is repaired that may not be broken.
"""

from __future__ import annotations

from typing import NamedTuple

AWAY_S = 6.0  # between two looks: the watcher itself was away, or its database was
SETTLE_S = 15.0  # from the last sign of trouble: a beat's interval, so that whoever lives can have spoken
FEWEST_LATE = 3
SHARE_LATE = 2 / 3


class Ears(NamedTuple):
    """What a look finds about the plane's own hearing.

    `since_look_s`: since the look before, None for the very first. `processes` and `reporters`: (late, all) of those
    that the clock judges now. `door_open`: the web process, through which reporters speak, is well. `tenants`: (late,
    all) of those who report, late whose reporters mostly are: one tenant alone cannot make the plane doubt itself.
    """

    since_look_s: float | None
    processes: tuple[int, int]
    reporters: tuple[int, int]
    door_open: bool = True
    tenants: tuple[int, int] = (1, 1)


def trouble(ears: Ears) -> str | None:
    """Return why the plane should not believe a silence now, or None."""
    if ears.since_look_s is not None and ears.since_look_s > AWAY_S:
        return "watcher_was_away"
    if _many(*ears.processes):
        return "processes_late_together"
    if not ears.door_open and ears.reporters[0]:
        return "door_shut"
    if _many(*ears.reporters) and ears.tenants[0] >= SHARE_LATE * ears.tenants[1]:
        return "reporters_late_together"
    return None


def settled(*, quiet_s: float) -> bool:
    """Say whether silences may be believed again, so many seconds after the last sign of trouble."""
    return quiet_s >= SETTLE_S


def _many(late: int, of: int) -> bool:
    return late >= FEWEST_LATE and late >= SHARE_LATE * of

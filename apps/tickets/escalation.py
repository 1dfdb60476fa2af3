"""Who is told next about a ticket that nobody takes, and when: a chain of steps, gone through some rounds. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from apps.tickets.entries import Entry, Kind

MOST_STEPS: Final = 20
MOST_ROUNDS: Final = 5
LONGEST_S: Final = 7 * 86_400
_TELLS = re.compile(r"operators|tenant|(team|person|role|module):[A-Za-z0-9][A-Za-z0-9@._+-]{0,99}")
# From here on a chain is at its beginning: the ticket became somebody's to take.
BEGINS: Final = frozenset({Kind.OPENED, Kind.ACK_EXPIRED, Kind.REOPENED, Kind.UNMERGED})


class BadChainError(ValueError):
    """A chain that cannot be: the message names the step and says what would be right."""


@dataclass(frozen=True)
class Step:
    """Wait so many seconds for somebody to take the ticket, then tell these: `operators`, `team:…`, `person:…`, …"""

    after_s: int
    tell: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Chain:
    """The steps in order, and how often they are gone through."""

    name: str = "default"
    steps: tuple[Step, ...] = (Step(900, ("operators",)), Step(1800, ("operators",)))
    rounds: int = 1

    @classmethod
    def read(cls, *, name: str, steps: Any, rounds: int = 1) -> Chain:
        """Return the chain of a row; raise `BadChainError`."""
        if not isinstance(steps, list) or not 1 <= len(steps) <= MOST_STEPS:
            raise BadChainError(f"steps: a list of 1 to {MOST_STEPS} would be right")
        if not 1 <= rounds <= MOST_ROUNDS:
            raise BadChainError(f"rounds: 1 to {MOST_ROUNDS} would be right")
        return cls(name=name, steps=tuple(_step(number, each) for number, each in enumerate(steps)), rounds=rounds)

    def kept(self) -> dict[str, Any]:
        """Return the chain as a ticket keeps it."""
        steps = [{"after_s": step.after_s, "tell": list(step.tell)} for step in self.steps]
        return {"name": self.name, "steps": steps, "rounds": self.rounds}


@dataclass(frozen=True, kw_only=True)
class Next:
    """What comes next: at `at` tell `tells`; `number` counts the steps from 1 through all rounds; None: nobody more."""

    at: datetime
    number: int | None
    tells: tuple[str, ...] = ()


def following(entries: Sequence[Entry], *, chain: Chain) -> Next | None:
    """Return the next step of a ticket that nobody has taken; None once the chain's end was noted.

    Each step waits from the one before, so that a clerk who was away for an hour tells the first people first.
    """
    begins = max((n for n, each in enumerate(entries) if each.kind in BEGINS), default=0)
    since = entries[begins:]
    if not since or any(each.kind is Kind.ESCALATION_ENDED for each in since):
        return None
    told = [each for each in since if each.kind is Kind.ESCALATED and each.data.get("reason") != "repeats"]
    before = told[-1].at if told else since[0].at
    if len(told) >= len(chain.steps) * chain.rounds:
        return Next(at=before + timedelta(seconds=chain.steps[-1].after_s), number=None)
    step = chain.steps[len(told) % len(chain.steps)]
    return Next(at=before + timedelta(seconds=step.after_s), number=len(told) + 1, tells=step.tell)


def raised_unheard(entries: Sequence[Entry]) -> bool:
    """Return whether the severity was raised by repeats and nobody was told of that yet."""
    for each in reversed(entries):
        if each.kind is Kind.ESCALATED:
            return False
        if each.kind is Kind.SEVERITY_RAISED:
            return True
    return False


def _step(number: int, said: Any) -> Step:
    if not isinstance(said, Mapping) or set(said) != {"after_s", "tell"}:
        raise BadChainError(f'steps[{number}]: {{"after_s": 900, "tell": ["team:operations"]}} would be right')
    after_s, tell = said["after_s"], said["tell"]
    if not isinstance(after_s, int) or isinstance(after_s, bool) or not 0 <= after_s <= LONGEST_S:
        raise BadChainError(f"steps[{number}].after_s: seconds from 0 to {LONGEST_S} would be right")
    if not isinstance(tell, list) or not tell or not all(isinstance(e, str) and _TELLS.fullmatch(e) for e in tell):
        raise BadChainError(f"steps[{number}].tell: words like operators, team:batch, person:alice")
    return Step(after_s, tuple(tell))

"""The life of a ticket: its states, and every move between them. Decisions only: no clock, no database.

A command says which version of the ticket it was made for, so of two that race one is stale; what is here says which
moves a state allows at all. A ticket that was merged into another is closed and points there: its own state is frozen
until the pointer is taken back.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import IntEnum, StrEnum
from typing import Final, NamedTuple


class State(StrEnum):
    """Where a ticket stands."""

    OPEN = "open"  # nobody has taken it: it escalates along its chain
    ACKNOWLEDGED = "acknowledged"  # somebody has seen it; expires, unless work begins
    IN_PROGRESS = "in_progress"  # somebody works on it
    WAITING = "waiting"  # for somebody else: its resolution clock stands still
    RESOLVED = "resolved"  # the cause is gone; comes back with it, closed after a while without news
    CLOSED = "closed"  # over, or merged into another


class Move(StrEnum):
    """What is done to a ticket."""

    ACKNOWLEDGE = "acknowledge"
    ASSIGN = "assign"
    START = "start"
    WAIT = "wait"
    COMMENT = "comment"
    RESOLVE = "resolve"
    CLOSE = "close"
    REOPEN = "reopen"
    MERGE = "merge"
    UNMERGE = "unmerge"
    EXPIRE_ACK = "expire_ack"  # the clerk's: it was acknowledged, and nothing followed
    REPEAT = "repeat"  # the same failure once more
    ESCALATE = "escalate"


class Severity(StrEnum):
    """How much it hurts, mildest first: PagerDuty's words."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"

    @property
    def next(self) -> Severity:
        """Return the next severer one; of the severest itself."""
        words = list(Severity)
        return words[min(words.index(self) + 1, len(words) - 1)]


class Level(IntEnum):
    """How often a failure must have repeated to raise its ticket's severity, and have it escalate at once."""

    FIRST = 10
    SECOND = 100
    THIRD = 1000


OPEN_STATES: Final = frozenset({State.OPEN, State.ACKNOWLEDGED, State.IN_PROGRESS, State.WAITING})
ANY: Final = frozenset(State)
REOPEN_WITHIN: Final = timedelta(days=7)
CLOSE_AFTER: Final = timedelta(days=3)


class Transition(NamedTuple):
    """From which states a move may be made, and where it leads; None: the state stays, or the log says which."""

    sources: frozenset[State]
    target: State | None


TRANSITIONS: Final[dict[Move, Transition]] = {
    Move.ACKNOWLEDGE: Transition(frozenset({State.OPEN}), State.ACKNOWLEDGED),
    Move.ASSIGN: Transition(OPEN_STATES, None),
    Move.START: Transition(OPEN_STATES - {State.IN_PROGRESS}, State.IN_PROGRESS),
    Move.WAIT: Transition(OPEN_STATES - {State.WAITING}, State.WAITING),
    Move.COMMENT: Transition(ANY, None),
    Move.RESOLVE: Transition(OPEN_STATES, State.RESOLVED),
    Move.CLOSE: Transition(frozenset({State.RESOLVED}), State.CLOSED),
    Move.REOPEN: Transition(frozenset({State.RESOLVED, State.CLOSED}), State.OPEN),
    Move.MERGE: Transition(OPEN_STATES, State.CLOSED),
    Move.UNMERGE: Transition(frozenset({State.CLOSED}), None),
    Move.EXPIRE_ACK: Transition(frozenset({State.ACKNOWLEDGED}), State.OPEN),
    Move.REPEAT: Transition(OPEN_STATES, None),
    Move.ESCALATE: Transition(OPEN_STATES, None),
}
OF_MERGED: Final = frozenset({Move.UNMERGE, Move.COMMENT})


class IllegalMoveError(Exception):
    """The ticket's state does not allow what was asked; `state` says which it is."""

    def __init__(self, *, state: State, move: Move, merged: bool = False) -> None:
        standing = "merged into another" if merged else state.value.replace("_", " ")
        super().__init__(f"a ticket that is {standing} cannot be asked to {move.value.replace('_', ' ')}")
        self.state = state
        self.move = move


class ReopenWindowOverError(Exception):
    """The ticket has been over for too long to be opened again: what happens now is another ticket's."""


def after(state: State, move: Move, *, merged: bool = False) -> State:
    """Return the state that `move` leads to; raise `IllegalMoveError` where it may not be made.

    `merged`: it points to another ticket; all but the way back and a comment is to be said of that one. Of an unmerge
    the answer is `state` itself: what it was before the merge stands in the log.
    """
    made = TRANSITIONS[move]
    if state not in made.sources or (merged and move not in OF_MERGED) or (move is Move.UNMERGE and not merged):
        raise IllegalMoveError(state=state, move=move, merged=merged)
    return made.target or state


def may_reopen(*, resolved_at: datetime | None, now: datetime) -> bool:
    """Return whether a ticket that was resolved at `resolved_at` may be opened again at `now`."""
    return resolved_at is not None and now - resolved_at <= REOPEN_WITHIN


def raised(severity: Severity, *, occurrences: int) -> Severity | None:
    """Return the severity to which this occurrence raises it; None where it stays. At the 10th, 100th, 1,000th."""
    reached = severity.next if occurrences in set(Level) else severity
    return None if reached is severity else reached


def is_noted(occurrences: int) -> bool:
    """Return whether this occurrence gets an entry of its own: the first few, then 10, 20, … 100, 200, …

    A ticket of a million failures has a log that a person can read; how many there were, the ticket itself says.
    """
    step = 10 ** (len(str(occurrences)) - 1)
    return bool(occurrences % step == 0)

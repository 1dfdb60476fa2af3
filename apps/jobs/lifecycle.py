"""The life of a job: every state it can hold and every move between states. Decisions only: no clock, no database."""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import NamedTuple


class State(StrEnum):
    """Where a job stands. The comment says who brings it out of there."""

    SCHEDULED = "scheduled"  # until `run_at`: the scheduler releases it
    BLOCKED = "blocked"  # until its dependencies' rule is decided: the scheduler releases or cancels it
    QUEUED = "queued"  # eligible: the scheduler dispatches it
    DEFERRED = "deferred"  # accepted while the broker was away: released when it is back
    DISPATCHED = "dispatched"  # holds a slot under a fence: a worker claims it, or the sweeper recalls it
    RUNNING = "running"  # a worker works on it: it finishes, or its lease ends
    RETRYING = "retrying"  # failed, will be tried again at `due_at`; holds no slot
    WAITING_CHILDREN = "waiting_children"  # a plan's parent: its children's end moves it; holds no slot
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"
    REJECTED = "rejected"
    PENDING_AUDIT = "pending_audit"  # ended; its evidence was refused once and is not accepted yet


class Move(StrEnum):
    """What is done to a job."""

    RELEASE = "release"
    POSTPONE = "postpone"
    DISPATCH = "dispatch"
    RECALL = "recall"
    CLAIM = "claim"
    SUCCEED = "succeed"
    RETRY = "retry"
    FAIL = "fail"
    TIME_OUT = "time_out"
    CANCEL = "cancel"
    REJECT = "reject"
    HAND_BACK = "hand_back"
    EXPAND = "expand"
    REDO = "redo"
    REOPEN = "reopen"
    OWE_AUDIT = "owe_audit"


class Transition(NamedTuple):
    """The states a move may leave and the one it enters."""

    sources: frozenset[State]
    target: State


class IllegalMoveError(Exception):
    """A move that the job's state forbids."""

    def __init__(self, *, state: State, move: Move) -> None:
        super().__init__(f"a job that is {state} cannot {move.replace('_', ' ')}")
        self.state = state
        self.move = move


WAITING = frozenset({State.SCHEDULED, State.BLOCKED, State.QUEUED, State.DEFERRED, State.RETRYING})
HOLDING_SLOT = frozenset({State.DISPATCHED, State.RUNNING})
OUTCOMES = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED, State.TIMED_OUT, State.REJECTED})
TERMINAL = OUTCOMES | {State.PENDING_AUDIT}

TRANSITIONS: dict[Move, Transition] = {
    Move.RELEASE: Transition(
        frozenset({State.SCHEDULED, State.BLOCKED, State.DEFERRED, State.RETRYING, State.WAITING_CHILDREN}),
        State.QUEUED,
    ),
    # Its dependencies are fulfilled, its `run_at` is still to come.
    Move.POSTPONE: Transition(frozenset({State.BLOCKED}), State.SCHEDULED),
    Move.DISPATCH: Transition(frozenset({State.QUEUED}), State.DISPATCHED),
    Move.RECALL: Transition(frozenset({State.DISPATCHED}), State.QUEUED),
    Move.CLAIM: Transition(frozenset({State.DISPATCHED}), State.RUNNING),
    Move.SUCCEED: Transition(frozenset({State.RUNNING, State.WAITING_CHILDREN}), State.SUCCEEDED),
    Move.RETRY: Transition(frozenset({State.RUNNING}), State.RETRYING),
    Move.FAIL: Transition(frozenset({State.RUNNING, State.WAITING_CHILDREN}), State.FAILED),
    Move.TIME_OUT: Transition(WAITING | HOLDING_SLOT | {State.WAITING_CHILDREN}, State.TIMED_OUT),
    Move.CANCEL: Transition(WAITING | HOLDING_SLOT | {State.WAITING_CHILDREN}, State.CANCELLED),
    Move.REJECT: Transition(frozenset({State.QUEUED}), State.REJECTED),
    Move.HAND_BACK: Transition(HOLDING_SLOT, State.QUEUED),
    Move.EXPAND: Transition(frozenset({State.RUNNING}), State.WAITING_CHILDREN),
    Move.REDO: Transition(frozenset({State.FAILED, State.TIMED_OUT, State.CANCELLED}), State.QUEUED),
    # A plan's parent, by hand: its steps that did not succeed are tried again.
    Move.REOPEN: Transition(frozenset({State.FAILED, State.TIMED_OUT, State.CANCELLED}), State.WAITING_CHILDREN),
    Move.OWE_AUDIT: Transition(OUTCOMES, State.PENDING_AUDIT),
}


class Priority(IntEnum):
    """The bands in which a tenant's own jobs are served; the number is the order."""

    CRITICAL = 0
    HIGH = 1
    NORMAL = 2
    LOW = 3
    BULK = 4

    @property
    def word(self) -> str:
        """Return the band's name as the API speaks it."""
        return self.name.lower()


class Ending(StrEnum):
    """How one dispatch of a job ended: the last word on a fence."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    WORKER_LOST = "worker_lost"  # its worker's lease ran out, or its process died
    UNCLAIMED = "unclaimed"  # dispatched and never claimed: the message was lost, or no worker came
    UNPUBLISHED = "unpublished"  # the broker did not take the message
    HANDED_BACK = "handed_back"  # a worker that stops gave it back; costs no attempt
    EXPIRED = "expired"  # not started by the time it had to, or past its deadline while it waited


# The endings that use up one of the job's attempts. The others never ran the handler, or not by its own fault.
COSTS_ATTEMPT = frozenset({Ending.SUCCEEDED, Ending.FAILED, Ending.TIMED_OUT, Ending.WORKER_LOST, Ending.CANCELLED})

# What follows the endings that say nothing about the handler, whatever attempts are left.
WITHOUT_A_FAILURE = {
    Ending.EXPIRED: Move.TIME_OUT,
    Ending.HANDED_BACK: Move.HAND_BACK,
    Ending.UNCLAIMED: Move.RECALL,
    Ending.UNPUBLISHED: Move.RECALL,
}


def ended_as(*, status: State, outcome: State | None) -> State:
    """Return the state that decides what may be done to a job: of one whose evidence is owed, how it ended."""
    return outcome if status is State.PENDING_AUDIT and outcome is not None else status


def transition(state: State, move: Move) -> Transition:
    """Return the transition `move` makes; raise `IllegalMoveError` if `state` forbids it."""
    made = TRANSITIONS[move]
    if state not in made.sources:
        raise IllegalMoveError(state=state, move=move)
    return made


def after_ending(
    ending: Ending,
    *,
    attempt: int,
    max_attempts: int,
    permanent: bool,
    cancelling: bool = False,
    in_time: bool = True,
) -> Move:
    """Return what follows when claimed `attempt` (1-based) ended so. A lost worker is a failure too.

    `cancelling`: somebody asked to cancel the job before this end; only a success is still a success then, and nothing
    is tried or queued again. `in_time`: the next attempt would begin before the job's deadline.
    """
    if ending is Ending.SUCCEEDED:
        return Move.SUCCEED
    if ending is Ending.CANCELLED or cancelling:
        return Move.CANCEL
    if ending in WITHOUT_A_FAILURE:
        return WITHOUT_A_FAILURE[ending]
    if not permanent and attempt < max_attempts:
        return Move.RETRY if in_time else Move.TIME_OUT
    return Move.TIME_OUT if ending is Ending.TIMED_OUT else Move.FAIL

"""The life of a migration, of its targets and of their steps: states and moves. Decisions only: no clock, no database.

What a migration does next is `campaign`'s; here is what may be done to it at all. Any move that the table does not name
is refused: a campaign that could go from anywhere to anywhere could not be reasoned about while it hurts.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple


class State(StrEnum):
    """Where a migration stands."""

    DRAFT = "draft"  # asked for; its plan is being made, or it was a dry run and the plan is all there will be
    AWAITING_APPROVAL = "awaiting_approval"  # planned; as many people as its risk asks for have to say yes
    RUNNING = "running"
    PAUSED = "paused"  # by a person or by itself; nothing new begins, backfills stop at their next batch
    INCONCLUSIVE = "inconclusive"  # a gate could not tell: a person has to
    ABORTING = "aborting"  # what runs is being stopped; targets stay as they are
    REVERTING = "reverting"  # targets go back, the last wave first
    REVERTED = "reverted"
    SUCCEEDED = "succeeded"
    FAILED = "failed"  # no plan could be made, it was aborted, or a target could not be brought back


class Move(StrEnum):
    """What is done to a migration."""

    LAY = "lay"  # its plan is there, and needs approval
    REFUSE = "refuse"  # no plan can be made, or another migration holds a target
    START = "start"
    PAUSE = "pause"
    DOUBT = "doubt"  # a gate is inconclusive
    RESUME = "resume"
    RETRY = "retry"  # as resume, and what failed is tried again
    ABORT = "abort"
    ABANDON = "abandon"  # what ran is stopped: the abort is done
    REVERT = "revert"
    SETTLE = "settle"  # one wave went back; a person decides about the rest
    COME_BACK = "come_back"  # everything went back
    STICK = "stick"  # something could not be brought back
    COMPLETE = "complete"


class TargetState(StrEnum):
    """Where a target of a migration stands."""

    WAITING = "waiting"
    SET_ASIDE = "set_aside"  # drifted when the plan was made, or after it: not touched
    RUNNING = "running"
    VERIFYING = "verifying"  # its steps are done; its version is being read back
    UPGRADED = "upgraded"  # verified at the new version; there may be a contract phase to come
    FAILED = "failed"
    REVERTING = "reverting"
    VERIFYING_BACK = "verifying_back"
    REVERTED = "reverted"
    STUCK = "stuck"  # it could not be brought back: a person has to look


class StepState(StrEnum):
    """Where a step of a target stands."""

    PENDING = "pending"
    RUNNING = "running"  # a job is under way, in the step's direction
    STOPPING = "stopping"  # its job was asked to stop, by a pause, an abort or a revert
    DONE = "done"
    FAILED = "failed"
    REVERTED = "reverted"


class WaveState(StrEnum):
    """Where a wave stands."""

    WAITING = "waiting"
    HELD = "held"  # before its contract phase: something still runs the old version
    RUNNING = "running"
    BAKING = "baking"  # all its targets are upgraded; its gates look on until the time is over
    PASSED = "passed"
    FAILED = "failed"
    REVERTED = "reverted"


class Drill(StrEnum):
    """How far the first wave's rehearsal of the way back is: up, down, up."""

    NONE = "none"
    UP = "up"
    DOWN = "down"
    AGAIN = "again"
    DONE = "done"


class Stage(StrEnum):
    """Which way through the waves: all phases that can be taken back, then contract, which cannot."""

    FORWARD = "forward"
    CONTRACT = "contract"


class Transition(NamedTuple):
    """The states a move may leave, and the one it enters."""

    sources: frozenset[State]
    target: State


class IllegalMoveError(Exception):
    """The migration's state does not allow what was asked; `state` says which it is."""

    def __init__(self, *, state: State, move: Move, why: str | None = None) -> None:
        super().__init__(why or f"a migration that is {state.replace('_', ' ')} cannot {move.replace('_', ' ')}")
        self.state = state
        self.move = move


class ContractBegunError(IllegalMoveError):
    """What its contract phase took away is gone: the way is forward."""

    def __init__(self, *, state: State) -> None:
        super().__init__(
            state=state, move=Move.REVERT, why="its contract phase has begun, and what that took away is gone: repair,"
            " then retry",
        )  # fmt: skip


STOPPED: Final = frozenset({State.PAUSED, State.INCONCLUSIVE})
ACTIVE: Final = frozenset({State.RUNNING, State.PAUSED, State.INCONCLUSIVE, State.ABORTING, State.REVERTING})
BEFORE: Final = frozenset({State.DRAFT, State.AWAITING_APPROVAL})
OVER: Final = frozenset({State.REVERTED, State.SUCCEEDED, State.FAILED})
UNFINISHED: Final = BEFORE | ACTIVE

TRANSITIONS: Final[dict[Move, Transition]] = {
    Move.LAY: Transition(frozenset({State.DRAFT}), State.AWAITING_APPROVAL),
    Move.REFUSE: Transition(BEFORE, State.FAILED),
    Move.START: Transition(BEFORE, State.RUNNING),
    Move.PAUSE: Transition(frozenset({State.RUNNING}), State.PAUSED),
    Move.DOUBT: Transition(frozenset({State.RUNNING}), State.INCONCLUSIVE),
    Move.RESUME: Transition(STOPPED, State.RUNNING),
    Move.RETRY: Transition(STOPPED, State.RUNNING),
    # A paused campaign can be aborted as well as a running one; one that goes back is left to come back.
    Move.ABORT: Transition(BEFORE | STOPPED | {State.RUNNING}, State.ABORTING),
    Move.ABANDON: Transition(frozenset({State.ABORTING}), State.FAILED),
    # From failed too: an aborted campaign's targets may be brought back, and what stuck is tried again.
    Move.REVERT: Transition(STOPPED | {State.RUNNING, State.FAILED}, State.REVERTING),
    Move.SETTLE: Transition(frozenset({State.REVERTING}), State.PAUSED),
    Move.COME_BACK: Transition(frozenset({State.REVERTING}), State.REVERTED),
    Move.STICK: Transition(frozenset({State.REVERTING}), State.FAILED),
    Move.COMPLETE: Transition(frozenset({State.RUNNING}), State.SUCCEEDED),
}


def after(state: State, move: Move, *, contract_begun: bool = False) -> State:
    """Return the state that `move` leads to; raise `IllegalMoveError` where it may not be made."""
    made = TRANSITIONS[move]
    if state not in made.sources:
        raise IllegalMoveError(state=state, move=move)
    if move is Move.REVERT and contract_begun:
        raise ContractBegunError(state=state)
    return made.target

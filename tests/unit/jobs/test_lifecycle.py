"""The life of a job: every state × every move against a list written by hand, and what follows each ending."""

from __future__ import annotations

from itertools import product

import pytest

from apps.jobs.events import OF_STATE
from apps.jobs.lifecycle import (
    COSTS_ATTEMPT,
    HOLDING_SLOT,
    OUTCOMES,
    TERMINAL,
    TRANSITIONS,
    WAITING,
    Ending,
    IllegalMoveError,
    Move,
    Priority,
    State,
    after_ending,
    transition,
)

# Written from the contract, not from the code: state, move → where it leads. What is not here is forbidden.
LEGAL = """
scheduled         release    queued
scheduled         time_out   timed_out
scheduled         cancel     cancelled
blocked           release    queued
blocked           postpone   scheduled
blocked           time_out   timed_out
blocked           cancel     cancelled
queued            dispatch   dispatched
queued            reject     rejected
queued            time_out   timed_out
queued            cancel     cancelled
deferred          release    queued
deferred          time_out   timed_out
deferred          cancel     cancelled
dispatched        claim      running
dispatched        recall     queued
dispatched        hand_back  queued
dispatched        time_out   timed_out
dispatched        cancel     cancelled
running           succeed    succeeded
running           retry      retrying
running           fail       failed
running           time_out   timed_out
running           cancel     cancelled
running           hand_back  queued
running           expand     waiting_children
retrying          release    queued
retrying          time_out   timed_out
retrying          cancel     cancelled
waiting_children  release    queued
waiting_children  succeed    succeeded
waiting_children  fail       failed
waiting_children  time_out   timed_out
waiting_children  cancel     cancelled
succeeded         owe_audit  pending_audit
failed            redo       queued
failed            reopen     waiting_children
failed            owe_audit  pending_audit
cancelled         redo       queued
cancelled         reopen     waiting_children
cancelled         owe_audit  pending_audit
timed_out         redo       queued
timed_out         reopen     waiting_children
timed_out         owe_audit  pending_audit
rejected          owe_audit  pending_audit
"""
BY_HAND = {(state, move): target for state, move, target in (line.split() for line in LEGAL.split("\n") if line)}


@pytest.mark.parametrize(("state", "move"), list(product(State, Move)), ids=lambda word: word.value)
def test_a_move_leads_where_the_list_says_and_is_forbidden_where_it_says_nothing(state: State, move: Move) -> None:
    expected = BY_HAND.get((state.value, move.value))
    if expected is not None:
        assert transition(state, move).target.value == expected
        return
    with pytest.raises(IllegalMoveError, match=f"a job that is {state.value} cannot {move.value.replace('_', ' ')}"):
        transition(state, move)


def test_the_list_written_by_hand_names_only_states_and_moves_that_exist() -> None:
    assert {state for state, _ in BY_HAND} | set(BY_HAND.values()) <= {state.value for state in State}
    assert {move for _, move in BY_HAND} == {move.value for move in Move} == {move.value for move in TRANSITIONS}


def test_the_states_are_those_of_the_contract() -> None:
    words = """
    scheduled blocked queued deferred dispatched running retrying waiting_children
    succeeded failed cancelled timed_out rejected pending_audit
    """
    assert {state.value for state in State} == set(words.split())


def test_every_state_is_waiting_or_holds_a_slot_or_is_a_parent_or_is_over() -> None:
    kinds = [WAITING, HOLDING_SLOT, {State.WAITING_CHILDREN}, TERMINAL]
    assert sorted(state for kind in kinds for state in kind) == sorted(State)
    assert set(HOLDING_SLOT) == {State.DISPATCHED, State.RUNNING}
    assert {State.PENDING_AUDIT} == TERMINAL - OUTCOMES


def test_no_state_is_a_dead_end_before_the_job_is_over() -> None:
    for state in set(State) - TERMINAL:
        assert any(source == state.value for source, _ in BY_HAND), state
        assert (state.value, "cancel") in BY_HAND, f"{state}: nobody could take it away"


def test_only_a_dispatched_job_is_claimed_and_only_a_queued_one_is_dispatched() -> None:
    assert TRANSITIONS[Move.CLAIM].sources == {State.DISPATCHED}
    assert TRANSITIONS[Move.DISPATCH].sources == {State.QUEUED}


def test_every_outcome_and_every_retry_is_told_by_the_event_that_the_contract_names() -> None:
    assert {state.value: name for state, name in OF_STATE.items()} == {
        "succeeded": "operations.job.completed",
        "failed": "operations.job.failed",
        "timed_out": "operations.job.failed",
        "cancelled": "operations.job.cancelled",
        "rejected": "operations.job.rejected",
        "retrying": "operations.job.retrying",
    }


# ending, attempt of max_attempts, permanent → the move
AFTER = """
succeeded    1/3  no   succeed
succeeded    3/3  no   succeed
succeeded    3/3  yes  succeed
failed       1/3  no   retry
failed       2/3  no   retry
failed       3/3  no   fail
failed       1/1  no   fail
failed       4/3  no   fail
failed       1/3  yes  fail
timed_out    1/3  no   retry
timed_out    3/3  no   time_out
timed_out    1/3  yes  time_out
worker_lost  1/3  no   retry
worker_lost  2/3  no   retry
worker_lost  3/3  no   fail
worker_lost  1/1  no   fail
cancelled    1/3  no   cancel
cancelled    3/3  no   cancel
handed_back  1/3  no   hand_back
handed_back  3/3  no   hand_back
unclaimed    0/3  no   recall
unclaimed    3/3  no   recall
unpublished  0/3  no   recall
unpublished  3/3  no   recall
expired      0/3  no   time_out
expired      1/3  no   time_out
"""


@pytest.mark.parametrize("line", [line for line in AFTER.split("\n") if line])
def test_what_follows_an_ending_is_what_the_table_says(line: str) -> None:
    ending, attempts, permanent, move = line.split()
    attempt, max_attempts = (int(number) for number in attempts.split("/"))
    decided = after_ending(Ending(ending), attempt=attempt, max_attempts=max_attempts, permanent=permanent == "yes")
    assert decided.value == move


@pytest.mark.parametrize("ending", list(Ending), ids=lambda word: word.value)
def test_what_follows_an_ending_is_a_move_that_the_state_it_ended_in_allows(ending: Ending) -> None:
    source = State.DISPATCHED if ending in {Ending.UNCLAIMED, Ending.UNPUBLISHED, Ending.EXPIRED} else State.RUNNING
    for attempt, permanent in product((1, 2, 3), (False, True)):
        transition(source, after_ending(ending, attempt=attempt, max_attempts=3, permanent=permanent))


@pytest.mark.parametrize("ending", list(Ending), ids=lambda word: word.value)
def test_once_a_cancel_was_asked_for_only_a_success_is_anything_else(ending: Ending) -> None:
    expected = Move.SUCCEED if ending is Ending.SUCCEEDED else Move.CANCEL
    for attempt, permanent, in_time in product((0, 1, 3), (False, True), (False, True)):
        decided = after_ending(
            ending, attempt=attempt, max_attempts=3, permanent=permanent, cancelling=True, in_time=in_time
        )
        assert decided is expected


@pytest.mark.parametrize("ending", [Ending.FAILED, Ending.TIMED_OUT, Ending.WORKER_LOST], ids=lambda word: word.value)
def test_no_attempt_begins_past_the_deadline(ending: Ending) -> None:
    assert after_ending(ending, attempt=1, max_attempts=3, permanent=False, in_time=False) is Move.TIME_OUT


def test_a_job_whose_attempts_are_all_spent_is_never_tried_again_whatever_happened() -> None:
    for ending, permanent in product(Ending, (False, True)):
        assert after_ending(ending, attempt=3, max_attempts=3, permanent=permanent) is not Move.RETRY


def test_an_end_that_was_not_the_handlers_doing_costs_no_attempt() -> None:
    assert set(Ending) - COSTS_ATTEMPT == {Ending.UNCLAIMED, Ending.UNPUBLISHED, Ending.HANDED_BACK, Ending.EXPIRED}


def test_priorities_are_served_from_critical_down_to_bulk() -> None:
    assert [each.word for each in sorted(Priority)] == ["critical", "high", "normal", "low", "bulk"]

"""The life of a migration: every state × every move against a list written by hand."""

from __future__ import annotations

from itertools import product

import pytest

from apps.migrations.lifecycle import (
    ACTIVE,
    BEFORE,
    OVER,
    STOPPED,
    TRANSITIONS,
    UNFINISHED,
    ContractBegunError,
    IllegalMoveError,
    Move,
    State,
    after,
)

# Written from the issue, not from the code: state, move → where it leads. What is not here is forbidden.
LEGAL = """
draft              lay        awaiting_approval
draft              refuse     failed
draft              start      running
draft              abort      aborting
awaiting_approval  refuse     failed
awaiting_approval  start      running
awaiting_approval  abort      aborting
running            pause      paused
running            doubt      inconclusive
running            abort      aborting
running            revert     reverting
running            complete   succeeded
paused             resume     running
paused             retry      running
paused             abort      aborting
paused             revert     reverting
inconclusive       resume     running
inconclusive       retry      running
inconclusive       abort      aborting
inconclusive       revert     reverting
aborting           abandon    failed
reverting          settle     paused
reverting          come_back  reverted
reverting          stick      failed
failed             revert     reverting
"""
BY_HAND = {(state, move): target for state, move, target in (line.split() for line in LEGAL.split("\n") if line)}


@pytest.mark.parametrize(("state", "move"), list(product(State, Move)), ids=lambda word: word.value)
def test_a_move_leads_where_the_list_says_and_is_forbidden_where_it_says_nothing(state: State, move: Move) -> None:
    expected = BY_HAND.get((state.value, move.value))
    if expected is not None:
        assert after(state, move).value == expected
        return
    said, asked = state.replace("_", " "), move.replace("_", " ")
    with pytest.raises(IllegalMoveError, match=f"a migration that is {said} cannot {asked}") as refused:
        after(state, move)
    assert (refused.value.state, refused.value.move) == (state, move)


def test_the_list_written_by_hand_names_only_states_and_moves_that_exist() -> None:
    assert {state for state, _ in BY_HAND} | set(BY_HAND.values()) == {state.value for state in State}
    assert {move for _, move in BY_HAND} == {move.value for move in Move} == {move.value for move in TRANSITIONS}


@pytest.mark.parametrize(("state", "move"), list(product(State, Move)), ids=lambda word: word.value)
def test_once_the_contract_phase_has_begun_only_the_way_back_is_closed(state: State, move: Move) -> None:
    expected = BY_HAND.get((state.value, move.value))
    if move is Move.REVERT and expected is not None:
        with pytest.raises(ContractBegunError, match="what that took away is gone") as refused:
            after(state, move, contract_begun=True)
        assert (refused.value.state, refused.value.move) == (state, Move.REVERT)
    elif expected is not None:
        assert after(state, move, contract_begun=True).value == expected
    else:
        with pytest.raises(IllegalMoveError):
            after(state, move, contract_begun=True)


def test_a_state_that_allows_no_way_back_says_so_before_the_contract_phase_does() -> None:
    with pytest.raises(IllegalMoveError, match="that is succeeded cannot revert") as refused:
        after(State.SUCCEEDED, Move.REVERT, contract_begun=True)
    assert not isinstance(refused.value, ContractBegunError)


def test_every_state_is_before_under_way_or_over() -> None:
    assert sorted([*BEFORE, *ACTIVE, *OVER]) == sorted(State)
    assert BEFORE | ACTIVE == UNFINISHED
    assert STOPPED < ACTIVE


def test_no_state_is_a_dead_end_before_the_migration_is_over() -> None:
    for state in UNFINISHED:
        assert any(source == state.value for source, _ in BY_HAND), state


def test_a_person_can_end_whatever_is_not_ending_already() -> None:
    ending = {State.ABORTING, State.REVERTING}
    assert {state for state in State if (state.value, "abort") in BY_HAND} == UNFINISHED - ending


def test_what_is_over_stays_so_but_for_a_failed_one_that_may_be_brought_back() -> None:
    assert {(state, move) for state, move in BY_HAND if State(state) in OVER} == {("failed", "revert")}

"""Every state × every move, against a list written by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from apps.tickets.lifecycle import (
    REOPEN_WITHIN,
    IllegalMoveError,
    Move,
    Severity,
    State,
    after,
    is_noted,
    may_reopen,
    raised,
)

N, A, P, W, R, C = State.OPEN, State.ACKNOWLEDGED, State.IN_PROGRESS, State.WAITING, State.RESOLVED, State.CLOSED

# What every move makes of every state. What does not stand here is refused.
LEADS = {
    (N, Move.ACKNOWLEDGE): A,
    (N, Move.ASSIGN): N,
    (N, Move.START): P,
    (N, Move.WAIT): W,
    (N, Move.COMMENT): N,
    (N, Move.RESOLVE): R,
    (N, Move.MERGE): C,
    (N, Move.REPEAT): N,
    (N, Move.ESCALATE): N,
    (A, Move.ASSIGN): A,
    (A, Move.START): P,
    (A, Move.WAIT): W,
    (A, Move.COMMENT): A,
    (A, Move.RESOLVE): R,
    (A, Move.MERGE): C,
    (A, Move.EXPIRE_ACK): N,
    (A, Move.REPEAT): A,
    (A, Move.ESCALATE): A,
    (P, Move.ASSIGN): P,
    (P, Move.WAIT): W,
    (P, Move.COMMENT): P,
    (P, Move.RESOLVE): R,
    (P, Move.MERGE): C,
    (P, Move.REPEAT): P,
    (P, Move.ESCALATE): P,
    (W, Move.ASSIGN): W,
    (W, Move.START): P,
    (W, Move.COMMENT): W,
    (W, Move.RESOLVE): R,
    (W, Move.MERGE): C,
    (W, Move.REPEAT): W,
    (W, Move.ESCALATE): W,
    (R, Move.COMMENT): R,
    (R, Move.CLOSE): C,
    (R, Move.REOPEN): N,
    (C, Move.COMMENT): C,
    (C, Move.REOPEN): N,
}
NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("move", Move)
def test_every_move_from_every_state(state: State, move: Move) -> None:
    if (state, move) in LEADS:
        assert after(state, move) is LEADS[state, move]
    else:
        with pytest.raises(IllegalMoveError) as refused:
            after(state, move)
        assert (refused.value.state, refused.value.move) == (state, move)


@pytest.mark.parametrize("move", Move)
def test_of_a_merged_ticket_nothing_is_asked_but_the_way_back_and_a_comment(move: Move) -> None:
    if move in {Move.UNMERGE, Move.COMMENT}:
        assert after(C, move, merged=True) is C
    else:
        with pytest.raises(IllegalMoveError, match="merged into another"):
            after(C, move, merged=True)


def test_a_ticket_opens_again_within_a_week_of_its_resolution() -> None:
    assert may_reopen(resolved_at=NOW, now=NOW + REOPEN_WITHIN)
    assert not may_reopen(resolved_at=NOW, now=NOW + REOPEN_WITHIN + timedelta(seconds=1))
    assert not may_reopen(resolved_at=None, now=NOW), "what was never resolved was merged, or is open"


def test_severity_rises_at_ten_a_hundred_and_a_thousand_and_ends_at_critical() -> None:
    rises = {n: raised(Severity.WARNING, occurrences=n) for n in (1, 2, 9, 10, 11, 99, 100, 1000, 10_000)}
    assert {n for n, to in rises.items() if to} == {10, 100, 1000}
    assert set(rises.values()) == {None, Severity.ERROR}
    assert raised(Severity.CRITICAL, occurrences=10) is None


def test_a_million_repeats_are_fifty_odd_entries() -> None:
    noted = [n for n in range(1, 1_000_001) if is_noted(n)]
    assert noted[:12] == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 20, 30]
    assert len(noted) == 55

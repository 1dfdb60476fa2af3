"""The life of a component: every status × every signal, the clock's own moves, and what holds of all lives."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.health import lifecycle
from apps.health.lifecycle import ALARMS, FLAP_WINDOW, FLAPS, Flip, Signal, Standing, Status, Step, Terms

T0 = datetime(2026, 1, 1, tzinfo=UTC)
TERMS = Terms(interval_s=60, grace_s=30, failures=3, successes=2)


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def standing(status: Status, **more: Any) -> Standing:
    seen = None if status is Status.NEW else T0
    return Standing(status=status, since=T0, awaited_from=T0, **{"seen_at": seen, **more})


def news(step: Step) -> list[tuple[str, str, datetime]]:
    return [(flip.new.value, flip.reason, flip.at) for flip in step[1]]


# (status, signal, how many of the kind came in a row before) → what it is then, with three failures and two successes.
SIGNALS = {
    **{
        (status, Signal.SUCCESS, before): Status.UP for status in ("new", "up", "grace", "unknown") for before in (0, 2)
    },
    ("degraded", Signal.SUCCESS, 0): Status.DEGRADED,
    ("degraded", Signal.SUCCESS, 2): Status.UP,
    ("down", Signal.SUCCESS, 0): Status.DOWN,
    ("down", Signal.SUCCESS, 2): Status.UP,
    **{(status, Signal.FAIL, 0): Status.DEGRADED for status in ("new", "up", "grace", "unknown", "degraded")},
    **{(status, Signal.FAIL, 2): Status.DOWN for status in ("new", "up", "grace", "unknown", "degraded", "down")},
    ("down", Signal.FAIL, 0): Status.DOWN,
    **{("paused", signal, before): Status.PAUSED for signal in Signal for before in (0, 2)},
    **{(status.value, Signal.START, before): status for status in Status for before in (0, 2)},
}


@pytest.mark.parametrize(("status", "signal", "before"), list(product(Status, Signal, (0, 2))))
def test_every_status_hears_every_signal(status: Status, signal: Signal, before: int) -> None:
    found = standing(status, failures=before, successes=before)
    after, flips = lifecycle.heard(found, terms=TERMS, signal=signal, at=at(10))
    assert after.status is SIGNALS[status.value, signal, before]
    assert [(flip.old, flip.new) for flip in flips] == ([] if after.status is status else [(status, after.status)])


def test_the_table_above_is_whole() -> None:
    assert set(SIGNALS) == {
        (status.value, signal, before) for status, signal, before in product(Status, Signal, (0, 2))
    }


@pytest.mark.parametrize("status", Status)
@pytest.mark.parametrize("trusted", [True, False])
def test_every_status_under_the_clock(status: Status, trusted: bool) -> None:
    expected = replace(TERMS, expected=True)
    early = lifecycle.looked(standing(status), terms=expected, now=at(59), trusted=trusted)
    assert news(early) == []
    late = lifecycle.looked(standing(status), terms=expected, now=at(89), trusted=trusted)
    over = lifecycle.looked(standing(status), terms=expected, now=at(100), trusted=trusted)
    silent = status in {Status.DOWN, Status.PAUSED}
    unknown = [] if silent or status is Status.UNKNOWN else [("unknown", "distrust")]
    if not trusted:
        assert [each[:2] for each in news(over)] == unknown
        assert [each[:2] for each in news(late)] == ([("unknown", "distrust")] if status is Status.UP else [])
        return
    assert news(late) == ([("grace", "late", at(60))] if status is Status.UP else [])
    down = ("down", "never_seen" if status is Status.NEW else "timeout", at(90))
    before = [("grace", "late", at(60))] if status is Status.UP else []
    assert news(over) == ([] if silent else [*before, down])


def test_flips_are_dated_to_the_deadline_and_not_to_the_look() -> None:
    _, flips = lifecycle.looked(standing(Status.UP), terms=TERMS, now=at(4711), trusted=True)
    assert [(flip.new.value, flip.at) for flip in flips] == [("grace", at(60)), ("down", at(90))]


def test_what_is_expected_and_never_seen_is_an_alarm_and_what_is_not_expected_is_none() -> None:
    new = standing(Status.NEW)
    for interval_s in (60.0, None):
        terms = replace(TERMS, interval_s=interval_s, expected=True)
        after, flips = lifecycle.looked(new, terms=terms, now=at(1000), trusted=True)
        assert after.status is Status.DOWN
        assert flips[0].reason == "never_seen"
        unexpected = replace(terms, expected=False)
        assert lifecycle.looked(new, terms=unexpected, now=at(10**6), trusted=True) == (new, ())
        assert lifecycle.due_at(new, terms=unexpected) is None


def test_what_reports_by_signals_alone_is_never_late() -> None:
    terms = replace(TERMS, interval_s=None, expected=True)
    up = standing(Status.UP)
    assert lifecycle.looked(up, terms=terms, now=at(10**6), trusted=True) == (up, ())


def test_a_pause_survives_every_signal_and_the_clock_and_ends_the_alarm() -> None:
    down, _ = lifecycle.heard(standing(Status.UP, failures=2), terms=TERMS, signal=Signal.FAIL, at=at(1))
    assert down.alarmed_since == at(1)
    paused, flips = lifecycle.pause(down, at=at(2))
    assert (paused.status, paused.alarmed_since, len(flips)) == (Status.PAUSED, None, 1)
    for signal in Signal:
        paused, flips = lifecycle.heard(paused, terms=TERMS, signal=signal, at=at(3))
        assert (paused.status, flips) == (Status.PAUSED, ())
    assert lifecycle.looked(paused, terms=TERMS, now=at(10**6), trusted=True)[0].status is Status.PAUSED
    resumed, _ = lifecycle.resume(paused, at=at(10**6))
    assert resumed.status is Status.NEW
    assert lifecycle.looked(resumed, terms=TERMS, now=at(10**6 + 89), trusted=True)[1] == (), "its time begins anew"
    assert lifecycle.looked(resumed, terms=TERMS, now=at(10**6 + 90), trusted=True)[0].status is Status.DOWN


def test_a_lost_part_degrades_and_never_brings_down() -> None:
    terms = replace(TERMS, failures=1)
    found = standing(Status.UP)
    for second in range(1, 5):
        found, _ = lifecycle.heard(found, terms=terms, signal=Signal.FAIL, at=at(second), partial=True)
        assert found.status is Status.DEGRADED


def test_what_stopped_in_order_is_no_alarm_and_has_its_grace_to_come_back() -> None:
    terms = Terms(interval_s=None, grace_s=60, expected=True)
    stopped, flips = lifecycle.stopped(standing(Status.UP), at=at(10))
    assert [(flip.new.value, flip.reason) for flip in flips] == [("new", "stopped")]
    assert lifecycle.looked(stopped, terms=terms, now=at(69), trusted=True)[1] == ()
    assert lifecycle.looked(stopped, terms=terms, now=at(70), trusted=True)[0].status is Status.DOWN
    assert lifecycle.looked(stopped, terms=replace(terms, expected=False), now=at(10**6), trusted=True)[1] == ()


def test_bad_measures_degrade_what_says_that_it_is_well() -> None:
    after, flips = lifecycle.heard(
        standing(Status.UP), terms=TERMS, signal=Signal.SUCCESS, at=at(1), impaired="error_rate"
    )
    assert (after.status, flips[0].reason) == (Status.DEGRADED, "error_rate")
    for second in range(2, 6):
        after, _ = lifecycle.heard(after, terms=TERMS, signal=Signal.SUCCESS, at=at(second), impaired="error_rate")
    assert after.status is Status.DEGRADED
    after, _ = lifecycle.heard(after, terms=TERMS, signal=Signal.SUCCESS, at=at(7))
    assert after.status is Status.UP, "its signals were successes all along"


def test_who_was_not_heard_while_the_plane_was_deaf_has_his_time_anew() -> None:
    unknown, _ = lifecycle.looked(standing(Status.UP), terms=TERMS, now=at(100), trusted=False)
    again = lifecycle.awaited_anew(unknown, at=at(200))
    assert lifecycle.looked(again, terms=TERMS, now=at(289), trusted=True)[0].status is Status.UNKNOWN
    assert lifecycle.looked(again, terms=TERMS, now=at(290), trusted=True)[0].status is Status.DOWN
    assert lifecycle.heard(again, terms=TERMS, signal=Signal.SUCCESS, at=at(201))[0].status is Status.UP


def test_what_goes_bad_again_and_again_has_to_prove_longer_that_it_is_well() -> None:
    terms = Terms(interval_s=None, grace_s=0, failures=1, successes=1)
    found, needed = standing(Status.UP), []
    for round_ in range(8):
        found, _ = lifecycle.heard(found, terms=terms, signal=Signal.FAIL, at=at(10 * round_))
        count = 0
        while found.status is not Status.UP:
            count += 1
            found, _ = lifecycle.heard(found, terms=terms, signal=Signal.SUCCESS, at=at(10 * round_ + 1))
        needed.append(count)
    assert needed == [1] * FLAPS + [2, 4, 8, 16, 32]
    assert lifecycle.flapping(found.alarms, at=at(80))
    later = at(80) + FLAP_WINDOW
    assert not lifecycle.flapping(found.alarms, at=later)
    assert lifecycle.needed(found, terms=terms, at=later) == 1


MOVES = st.lists(
    st.tuples(
        st.floats(0.1, 120),
        st.sampled_from([*Signal, "look", "deaf look", "pause", "resume", "anew", "stopped", "partial", "impaired"]),
    ),
    max_size=60,
)
ANY_TERMS = st.builds(
    Terms,
    interval_s=st.one_of(st.none(), st.floats(1, 100)),
    grace_s=st.floats(0, 100),
    failures=st.integers(1, 5),
    successes=st.integers(1, 5),
    expected=st.booleans(),
)


def step(found: Standing, move: Any, *, terms: Terms, now: datetime) -> Step:  # noqa: PLR0911 - a list of moves
    match move:
        case "look" | "deaf look":
            return lifecycle.looked(found, terms=terms, now=now, trusted=move == "look")
        case "pause":
            return lifecycle.pause(found, at=now)
        case "resume":
            return lifecycle.resume(found, at=now)
        case "anew":
            return lifecycle.awaited_anew(found, at=now), ()
        case "stopped":
            return lifecycle.stopped(found, at=now)
        case "partial":
            return lifecycle.heard(found, terms=terms, signal=Signal.FAIL, at=now, partial=True)
        case "impaired":
            return lifecycle.heard(found, terms=terms, signal=Signal.SUCCESS, at=now, impaired="latency")
    return lifecycle.heard(found, terms=terms, signal=move, at=now)


@given(moves=MOVES, terms=ANY_TERMS)
def test_whatever_happens_history_is_one_line_and_alarms_are_told_once(moves: Any, terms: Terms) -> None:
    found, seconds = Standing(status=Status.NEW, since=T0, awaited_from=T0), 0.0
    flips: list[Flip] = []
    for pause_s, move in moves:
        seconds += pause_s
        before = found
        found, more = step(found, move, terms=terms, now=at(seconds))
        flips += more
        assert (more == ()) == (found.status is before.status), "a flip for each change and no other"
        assert (found.alarmed_since is not None) >= (found.status in ALARMS), "who is not well has been told of"
        if found.status in {Status.UP, Status.PAUSED, Status.NEW}:
            assert found.alarmed_since is None
        due = lifecycle.due_at(found, terms=terms)
        if due is not None and found.status is not Status.UNKNOWN:
            early = due - timedelta(milliseconds=1)
            assert lifecycle.looked(found, terms=terms, now=early, trusted=True)[1] == (), "not before it is due"
            assert lifecycle.looked(found, terms=terms, now=due, trusted=True)[1] != (), "and then something changes"
    assert [flip.old for flip in flips] == [Status.NEW, *(flip.new for flip in flips)][: len(flips)]
    assert all(flip.old is not flip.new for flip in flips)
    assert [flip.at for flip in flips] == sorted(flip.at for flip in flips), "history does not run backwards"


@given(fails=st.lists(st.booleans(), min_size=200, max_size=400))
def test_however_it_flaps_it_is_called_well_a_bounded_number_of_times(fails: list[bool]) -> None:
    """One signal a second for some minutes: the more it flaps, the longer it stays what it is."""
    terms = Terms(interval_s=None, grace_s=0, failures=1, successes=1)
    found, ups = standing(Status.UP), 0
    for second, fail in enumerate(fails):
        signal = Signal.FAIL if fail else Signal.SUCCESS
        found, flips = lifecycle.heard(found, terms=terms, signal=signal, at=at(second))
        ups += sum(flip.new is Status.UP for flip in flips)
    assert ups <= FLAPS + 1 + sum(len(fails) // 2**doubled for doubled in range(1, 6)) // 4

"""A ticket's clocks, computed from its log: held against a naive reader who lives through it minute by minute."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.tickets.business import DAYS
from apps.tickets.entries import Entry, Kind
from apps.tickets.lifecycle import State
from apps.tickets.sla import Clock, Goal, Policy, clocks

MONDAY = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
ALWAYS = Policy(name="p", response_s=3600, resolution_s=4 * 3600)
OFFICE = {"time_zone": "UTC", "hours": {day: [["09:00", "17:00"]] for day in DAYS[:5]}, "holidays": []}
OFFICE_HOURS = Policy.read({"name": "p", "response_s": 3600, "resolution_s": 4 * 3600, "calendar": OFFICE})

# What may follow in each state, as entries, and where it leads.
FOLLOWS: dict[State, list[tuple[Kind, State]]] = {
    State.OPEN: [
        (Kind.ACKNOWLEDGED, State.ACKNOWLEDGED),
        (Kind.STARTED, State.IN_PROGRESS),
        (Kind.WAITING, State.WAITING),
        (Kind.RESOLVED, State.RESOLVED),
        (Kind.COMMENTED, State.OPEN),
    ],
    State.ACKNOWLEDGED: [
        (Kind.STARTED, State.IN_PROGRESS),
        (Kind.WAITING, State.WAITING),
        (Kind.ACK_EXPIRED, State.OPEN),
        (Kind.AUTO_RESOLVED, State.RESOLVED),
    ],
    State.IN_PROGRESS: [(Kind.WAITING, State.WAITING), (Kind.RESOLVED, State.RESOLVED)],
    State.WAITING: [(Kind.STARTED, State.IN_PROGRESS), (Kind.RESOLVED, State.RESOLVED)],
    State.RESOLVED: [(Kind.REOPENED, State.OPEN), (Kind.CLOSED, State.CLOSED)],
    State.CLOSED: [(Kind.REOPENED, State.OPEN)],
}


def log(*lines: tuple[int, Kind]) -> list[Entry]:
    """Return a log of (minutes after Monday eight o'clock, what happened)."""
    return [Entry(kind=kind, at=MONDAY + timedelta(minutes=at)) for at, kind in lines]


def one(entries: list[Entry], goal: Goal, *, at: int, policy: Policy = ALWAYS) -> Clock:
    """Return the last cycle of a clock, so many minutes after Monday eight o'clock."""
    return [c for c in clocks(entries, policy=policy, now=MONDAY + timedelta(minutes=at)) if c.goal is goal][-1]


@st.composite
def histories(draw: st.DrawFn) -> list[Entry]:
    """Any life of a ticket: legal moves at any pace."""
    at, state = 0, State.OPEN
    found = [(at, Kind.OPENED)]
    for _ in range(draw(st.integers(0, 12))):
        kind, state = draw(st.sampled_from(FOLLOWS[state]))
        at += draw(st.integers(0, 400))
        found.append((at, kind))
    return log(*found)


@settings(max_examples=60, deadline=None)
@given(histories(), st.integers(0, 600), st.sampled_from([ALWAYS, OFFICE_HOURS]))
def test_the_clocks_are_what_somebody_counts_who_lives_through_it(
    entries: list[Entry], more: int, policy: Policy
) -> None:
    end = entries[-1].at + timedelta(minutes=more)
    state, responded = State.OPEN, False
    counted = dict.fromkeys(Goal, 0)
    at, pending = entries[0].at, list(entries[1:])
    while at < end or (pending and pending[0].at <= at):
        while pending and pending[0].at <= at:
            kind = pending.pop(0).kind
            state = next(to for each, to in FOLLOWS[state] if each is kind)
            if kind is Kind.REOPENED:
                counted, responded = dict.fromkeys(Goal, 0), False
            responded |= state is not State.OPEN
        if at >= end:
            break
        works = policy is ALWAYS or (at.weekday() < 5 and 9 <= at.hour < 17)
        counted[Goal.RESPONSE] += works and not responded
        counted[Goal.RESOLUTION] += works and state in {State.OPEN, State.ACKNOWLEDGED, State.IN_PROGRESS}
        at += timedelta(minutes=1)
    latest = {each.goal: each for each in clocks(entries, policy=policy, now=end)}
    assert {goal: each.elapsed_s / 60 for goal, each in latest.items()} == counted


@settings(deadline=None)
@given(histories(), st.integers(0, 600), st.sampled_from([ALWAYS, OFFICE_HOURS]))
def test_a_running_clock_is_overdue_just_when_it_foretold(entries: list[Entry], more: int, policy: Policy) -> None:
    now = entries[-1].at + timedelta(minutes=more)
    for each in clocks(entries, policy=policy, now=now):
        if each.running and each.breach_at is not None:
            assert each.breached == (each.breach_at <= now)
            later = {(c.goal, c.cycle): c for c in clocks(entries, policy=policy, now=max(each.breach_at, now))}
            assert later[each.goal, each.cycle].breached


def test_a_ticket_without_promises_has_no_clocks() -> None:
    assert clocks(log((0, Kind.OPENED)), policy=Policy(), now=MONDAY) == []


def test_the_first_answer_stops_the_response_clock_and_no_later_one_moves_it() -> None:
    entries = log((0, Kind.OPENED), (20, Kind.ACKNOWLEDGED), (60, Kind.STARTED), (90, Kind.COMMENTED))
    found = one(entries, Goal.RESPONSE, at=500)
    assert (found.elapsed_s, found.stopped_at, found.breached) == (1200, entries[1].at, False)


def test_a_comment_is_no_answer() -> None:
    assert one(log((0, Kind.OPENED), (20, Kind.COMMENTED)), Goal.RESPONSE, at=61).breached


def test_while_it_waits_for_others_the_resolution_clock_stands_still() -> None:
    entries = log((0, Kind.OPENED), (60, Kind.WAITING), (600, Kind.STARTED))
    waiting = one(entries[:2], Goal.RESOLUTION, at=500)
    assert (waiting.paused, waiting.breach_at, waiting.elapsed_s) == (True, None, 3600)
    running = one(entries, Goal.RESOLUTION, at=660)
    assert (running.elapsed_s, running.breach_at) == (7200, MONDAY + timedelta(minutes=600 + 180))


def test_a_reopened_ticket_begins_another_cycle_and_keeps_the_first_as_it_was() -> None:
    entries = log((0, Kind.OPENED), (300, Kind.RESOLVED), (1000, Kind.REOPENED))
    found = [
        c for c in clocks(entries, policy=ALWAYS, now=MONDAY + timedelta(minutes=1030)) if c.goal is Goal.RESOLUTION
    ]
    assert [(c.cycle, c.elapsed_s, c.breached) for c in found] == [(1, 18_000, True), (2, 1800, False)]


def test_a_merged_tickets_clocks_stand_still_until_it_is_taken_out_again() -> None:
    entries = log((0, Kind.OPENED), (10, Kind.MERGED))
    assert one(entries, Goal.RESOLUTION, at=5000).elapsed_s == 600
    out = [*entries, Entry(kind=Kind.UNMERGED, at=MONDAY + timedelta(minutes=100), data={"state": "open"})]
    assert one(out, Goal.RESOLUTION, at=110).elapsed_s == 1200
    waits = [*entries, Entry(kind=Kind.UNMERGED, at=MONDAY + timedelta(minutes=100), data={"state": "waiting"})]
    assert one(waits, Goal.RESOLUTION, at=110).elapsed_s == 600


def test_nights_and_weekends_do_not_count_where_office_hours_were_promised() -> None:
    found = one(log((0, Kind.OPENED)), Goal.RESPONSE, at=90, policy=OFFICE_HOURS)
    assert (found.elapsed_s, found.breach_at) == (1800, MONDAY + timedelta(hours=2))


@pytest.mark.parametrize("kept", [{}, {"name": "p", "response_s": None, "ack_timeout_s": 0, "calendar": None}])
def test_a_policy_is_read_back_as_the_ticket_kept_it(kept: dict[str, object]) -> None:
    read = Policy.read(kept)
    assert (read.response_s, read.resolution_s) == (None, None)
    assert read.ack_timeout_s == (0 if kept else 1800)

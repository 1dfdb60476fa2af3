"""What time alone does to a ticket, and when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from apps.tickets.entries import Entry, Kind
from apps.tickets.escalation import BadChainError, Chain, Step
from apps.tickets.lifecycle import CLOSE_AFTER, State
from apps.tickets.sla import Policy
from apps.tickets.timers import Look, Standing, look

T = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
CHAIN = Chain(steps=(Step(300, ("team:batch",)), Step(600, ("person:ada", "operators"))), rounds=2)
Line = tuple[float, Kind, dict[str, Any]]
OPENED: list[Line] = [(0, Kind.OPENED, {})]


def at(seconds: float) -> datetime:
    return T + timedelta(seconds=seconds)


def looked(lines: list[Line], *, state: State = State.OPEN, now: float = 0, **more: Any) -> Look:
    """Look at a ticket of such a log at `now` seconds."""
    entries = [Entry(kind=kind, at=at(seconds), data=data) for seconds, kind, data in lines]
    values: dict[str, Any] = {"policy": Policy(), "chain": CHAIN, **more}
    return look(Standing(state=state, entries=entries, **values), now=at(now))


def kinds(found: Look) -> list[Kind]:
    return [each.kind for each in found.due]


def test_a_new_ticket_is_looked_at_again_when_its_first_step_is_due() -> None:
    assert looked(OPENED) == Look(due=(), next_at=at(300))


def test_the_chain_is_gone_through_step_by_step_and_round_by_round_and_then_noted_as_over() -> None:
    lines: list[Line] = list(OPENED)
    told, now = [], 0.0
    for _ in range(20):
        found = looked(lines, now=now)
        if not found.due:
            if found.next_at is None:
                break
            now = (found.next_at - T).total_seconds()
            continue
        (due,) = found.due
        lines.append((now, due.kind, due.data))
        told.append((now, due.kind, due.data.get("step"), due.data.get("number"), due.data.get("tells")))
    first, second = ["team:batch"], ["person:ada", "operators"]
    assert told == [
        (300, Kind.ESCALATED, 1, 1, first),
        (900, Kind.ESCALATED, 2, 2, second),
        (1200, Kind.ESCALATED, 3, 3, first),
        (1800, Kind.ESCALATED, 4, 4, second),
        (2400, Kind.ESCALATION_ENDED, None, None, None),
    ]


def test_a_clerk_who_was_away_tells_the_first_people_first() -> None:
    found = looked(OPENED, now=86_400)
    assert [each.data["step"] for each in found.due] == [1]


@pytest.mark.parametrize("state", [State.ACKNOWLEDGED, State.IN_PROGRESS, State.WAITING, State.RESOLVED, State.CLOSED])
def test_whoever_took_it_ends_the_escalation(state: State) -> None:
    policy = Policy(ack_timeout_s=0)
    assert looked([*OPENED, (10, Kind.ACKNOWLEDGED, {})], state=state, now=86_400, policy=policy).due == ()


def test_an_acknowledgement_expires_and_the_chain_begins_anew() -> None:
    lines: list[Line] = [*OPENED, (300, Kind.ESCALATED, {"step": 1}), (400, Kind.ACKNOWLEDGED, {})]
    assert looked(lines, state=State.ACKNOWLEDGED, now=500).next_at == at(400 + 1800)
    expired = looked(lines, state=State.ACKNOWLEDGED, now=2200)
    assert kinds(expired) == [Kind.ACK_EXPIRED]
    again = [*lines, (2200, Kind.ACK_EXPIRED, {})]
    assert looked(again, now=2300).next_at == at(2500)
    (due,) = looked(again, now=2500).due
    assert (due.data["step"], due.data["number"]) == (1, 2)


def test_a_comment_or_an_assignment_keeps_an_acknowledgement() -> None:
    lines: list[Line] = [*OPENED, (0, Kind.ACKNOWLEDGED, {}), (1000, Kind.COMMENTED, {})]
    assert looked(lines, state=State.ACKNOWLEDGED, now=2000) == Look(due=(), next_at=at(2800))


def test_an_acknowledgement_never_expires_where_the_policy_says_so() -> None:
    lines: list[Line] = [*OPENED, (0, Kind.ACKNOWLEDGED, {})]
    assert looked(lines, state=State.ACKNOWLEDGED, policy=Policy(ack_timeout_s=0), now=10**6) == Look(
        due=(), next_at=None
    )


def test_what_was_promised_and_not_kept_is_noted_once_a_cycle() -> None:
    policy = Policy(response_s=60, resolution_s=120, ack_timeout_s=0)
    assert looked(OPENED, policy=policy).next_at == at(60)
    assert kinds(looked(OPENED, policy=policy, now=60)) == [Kind.RESPONSE_BREACHED]
    noted: list[Line] = [*OPENED, (60, Kind.RESPONSE_BREACHED, {})]
    assert looked(noted, policy=policy, now=61) == Look(due=(), next_at=at(120))
    assert kinds(looked(noted, policy=policy, now=120)) == [Kind.RESOLUTION_BREACHED]
    both: list[Line] = [*noted, (120, Kind.RESOLUTION_BREACHED, {})]
    assert looked(both, policy=policy, now=200) == Look(due=(), next_at=at(300))
    again: list[Line] = [*both, (500, Kind.RESOLVED, {}), (1000, Kind.REOPENED, {})]
    assert kinds(looked(again, policy=policy, now=1060)) == [Kind.RESPONSE_BREACHED]


def test_a_clock_that_stands_still_breaks_no_promise() -> None:
    policy = Policy(resolution_s=120, ack_timeout_s=0)
    lines: list[Line] = [*OPENED, (100, Kind.WAITING, {})]
    assert looked(lines, state=State.WAITING, policy=policy, now=10**6) == Look(due=(), next_at=None)


def test_a_severity_that_repeats_have_raised_is_told_at_once_whoever_has_the_ticket() -> None:
    lines: list[Line] = [*OPENED, (10, Kind.ACKNOWLEDGED, {}), (20, Kind.SEVERITY_RAISED, {})]
    policy = Policy(ack_timeout_s=0)
    (due,) = looked(lines, state=State.IN_PROGRESS, now=20, policy=policy).due
    assert (due.kind, due.data) == (Kind.ESCALATED, {"reason": "repeats", "number": 1, "tells": ["team:batch"]})
    told: list[Line] = [*lines, (20, Kind.ESCALATED, due.data)]
    assert looked(told, state=State.IN_PROGRESS, now=21, policy=policy).due == ()


def test_being_told_of_repeats_is_no_step_of_the_chain() -> None:
    lines: list[Line] = [*OPENED, (20, Kind.SEVERITY_RAISED, {}), (20, Kind.ESCALATED, {"reason": "repeats"})]
    assert looked(lines, now=21).next_at == at(300)


def test_of_a_quiet_ticket_another_one_calls() -> None:
    policy = Policy(response_s=60)
    assert looked(OPENED, now=10**4, quiet=True) == Look(due=(), next_at=None)
    assert kinds(looked(OPENED, now=10**4, quiet=True, policy=policy)) == [Kind.RESPONSE_BREACHED]


def test_what_is_resolved_closes_by_itself_after_three_days_without_news() -> None:
    lines: list[Line] = [*OPENED, (50, Kind.RESOLVED, {})]
    closes = 50 + CLOSE_AFTER.total_seconds()
    early = looked(lines, state=State.RESOLVED, resolved_at=at(50), now=closes - 1)
    assert early == Look(due=(), next_at=at(closes))
    assert kinds(looked(lines, state=State.RESOLVED, resolved_at=at(50), now=closes)) == [Kind.AUTO_CLOSED]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"steps": []}, "steps"),
        ({"steps": "soon"}, "steps"),
        ({"steps": [{"after_s": 1}]}, r"steps\[0\]"),
        ({"steps": [{"after_s": -1, "tell": ["operators"]}]}, "after_s"),
        ({"steps": [{"after_s": True, "tell": ["operators"]}]}, "after_s"),
        ({"steps": [{"after_s": 1, "tell": []}]}, "tell"),
        ({"steps": [{"after_s": 1, "tell": ["ada"]}]}, "tell"),
        ({"steps": [{"after_s": 1, "tell": ["team:"]}]}, "tell"),
        ({"steps": [{"after_s": 1, "tell": ["operators"]}], "rounds": 6}, "rounds"),
    ],
)
def test_a_chain_that_cannot_be_is_refused_by_its_part(row: dict[str, Any], says: str) -> None:
    with pytest.raises(BadChainError, match=says):
        Chain.read(**{"name": "c", "steps": [], **row})


def test_a_chain_is_read_back_as_it_is_kept() -> None:
    assert Chain.read(**CHAIN.kept()) == Chain(name="default", steps=CHAIN.steps, rounds=2)

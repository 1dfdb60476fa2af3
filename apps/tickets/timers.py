"""What time alone does to a ticket: breaches, expired acknowledgements, escalations, closing. Pure.

All of it follows from the log and the promises the ticket was opened under. Whoever looks late finds the same, later:
nothing here depends on having looked in time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from apps.tickets.entries import Entry, Kind
from apps.tickets.escalation import Chain, following, raised_unheard
from apps.tickets.lifecycle import CLOSE_AFTER, OPEN_STATES, State
from apps.tickets.sla import Clock, Goal, Policy, clocks

BREACHES: Final = {Goal.RESPONSE: Kind.RESPONSE_BREACHED, Goal.RESOLUTION: Kind.RESOLUTION_BREACHED}
KEEPS_AN_ACK: Final = frozenset({Kind.ACKNOWLEDGED, Kind.COMMENTED, Kind.ASSIGNED})


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What the timers ask of a ticket. `quiet`: a storm's ticket, or another one, speaks for it."""

    state: State
    entries: Sequence[Entry]
    policy: Policy
    chain: Chain
    resolved_at: datetime | None = None
    quiet: bool = False


@dataclass(frozen=True, kw_only=True)
class Due:
    """Something whose time has come."""

    kind: Kind
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Look:
    """What is due now, and when the next look is worth it; None: not before something else happens."""

    due: tuple[Due, ...]
    next_at: datetime | None


def look(ticket: Standing, *, now: datetime) -> Look:
    """Return what is due at `now`, in the order in which it is to be written."""
    due: list[Due] = []
    later: list[datetime] = []
    for at, each in _timers(ticket, now=now):
        if at <= now:
            due.append(each)
        else:
            later.append(at)
    return Look(due=tuple(due), next_at=min(later, default=None))


def _timers(ticket: Standing, *, now: datetime) -> Iterator[tuple[datetime, Due]]:
    """Yield every timer of the ticket with its time, whether that has come or not."""
    if ticket.state is State.RESOLVED and ticket.resolved_at is not None:
        data = {"after_s": round(CLOSE_AFTER.total_seconds())}
        yield ticket.resolved_at + CLOSE_AFTER, Due(kind=Kind.AUTO_CLOSED, data=data)
    if ticket.state not in OPEN_STATES:
        return
    yield from _breaches(ticket, now=now)
    if ticket.state is State.ACKNOWLEDGED and ticket.policy.ack_timeout_s:
        kept = max((each.at for each in ticket.entries if each.kind in KEEPS_AN_ACK), default=now)
        expires = kept + timedelta(seconds=ticket.policy.ack_timeout_s)
        yield expires, Due(kind=Kind.ACK_EXPIRED, data={"after_s": ticket.policy.ack_timeout_s})
    if not ticket.quiet:
        yield from _escalations(ticket, now=now)


def _breaches(ticket: Standing, *, now: datetime) -> Iterator[tuple[datetime, Due]]:
    latest: dict[Goal, Clock] = {each.goal: each for each in clocks(ticket.entries, policy=ticket.policy, now=now)}
    for goal, clock in latest.items():
        kind = BREACHES[goal]
        if any(each.kind is kind and each.at >= clock.started_at for each in ticket.entries):
            continue
        due = Due(kind=kind, data={"goal_s": clock.goal_s, "cycle": clock.cycle})
        if clock.breached:
            yield now, due
        elif clock.breach_at is not None:
            yield clock.breach_at, due


def _escalations(ticket: Standing, *, now: datetime) -> Iterator[tuple[datetime, Due]]:
    number = sum(each.kind is Kind.ESCALATED for each in ticket.entries) + 1
    if raised_unheard(ticket.entries):
        data: dict[str, Any] = {"reason": "repeats", "number": number, "tells": list(ticket.chain.steps[0].tell)}
        yield now, Due(kind=Kind.ESCALATED, data=data)
        return
    if ticket.state is not State.OPEN:
        return
    step = following(ticket.entries, chain=ticket.chain)
    if step is None:
        return
    if step.number is None:
        yield step.at, Due(kind=Kind.ESCALATION_ENDED)
    else:
        data = {"reason": "unacknowledged", "number": number, "step": step.number, "tells": list(step.tells)}
        yield step.at, Due(kind=Kind.ESCALATED, data=data)

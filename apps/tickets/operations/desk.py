"""What people decide about tickets: teams, escalation chains, calendars, SLA policies. In the operator's role."""

from __future__ import annotations

from typing import Any

from apps.tickets.business import Calendar
from apps.tickets.escalation import Chain
from apps.tickets.models import BusinessCalendar, EscalationChain, SlaPolicy, Team


def set_team(*, name: str, title: str, members: list[str]) -> None:
    """Make a team, or change who is in it."""
    Team.objects.update_or_create(name=name, defaults={"title": title, "members": members})


def set_chain(*, name: str, steps: Any, rounds: int) -> None:
    """Make a chain, or change it for tickets to come; raises `BadChainError`."""
    kept = Chain.read(name=name, steps=steps, rounds=rounds).kept()
    EscalationChain.objects.update_or_create(name=name, defaults={"steps": kept["steps"], "rounds": rounds})


def set_calendar(*, name: str, time_zone: str, hours: dict[str, Any], holidays: list[str]) -> None:
    """Make a calendar, or change it for tickets to come; raises `BadCalendarError`."""
    Calendar.read(time_zone=time_zone, hours=hours, holidays=holidays)
    values = {"time_zone": time_zone, "hours": hours, "holidays": holidays}
    BusinessCalendar.objects.update_or_create(name=name, defaults=values)


def set_policy(values: dict[str, Any], *, name: str) -> None:
    """Make a policy, or change it for tickets to come: `values` are its columns."""
    SlaPolicy.every.update_or_create(name=name, defaults=values)


def remove(row: Team | EscalationChain | BusinessCalendar | SlaPolicy) -> None:
    """Take a row away; one that others name is refused by the database (`ProtectedError`)."""
    row.delete()

"""What tickets have told, and to whom: the one module here that speaks to notifications.

It is called for each event that a ticket publishes, after the change is committed, in the order of the log. Said again
for the same event it says nothing: an event's id is the cause.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final
from uuid import UUID

from apps.jobs.fingerprint import dedup_key
from apps.notifications.operations import notify
from apps.tickets.entries import Kind
from apps.tickets.models import Entry, Team, Ticket
from apps.tickets.queries import watchers_of
from apps.tickets.sla import Goal

OPERATORS: Final = "operators"
BY: Final = "tickets"
MOST_TOLD: Final = 8  # by one notification
# A comment may speak to a name that nobody could have; that is no reason to tell nobody else.
WORD: Final = re.compile(r"operators|tenant|(person|role|module):[A-Za-z0-9][A-Za-z0-9@._+-]{0,99}")


def assigned(ticket: Ticket, *, assignee: str | None, team: str | None, by: str, cause: UUID) -> None:
    """Tell those whose it is now."""
    words = [*([f"person:{assignee}"] if assignee else []), *([f"team:{team}"] if team else [])]
    if words:
        _message(ticket, f"Yours now: {ticket.issue}", to=words, by=by, cause=cause)


def mentioned(ticket: Ticket, *, people: Sequence[str], teams: Sequence[str], by: str, cause: UUID) -> None:
    """Tell those who were spoken to; the comment itself is read where it stands."""
    words = [*(f"person:{each}" for each in people), *(f"team:{each}" for each in teams)]
    _message(ticket, f"{by} speaks to you about: {ticket.issue}", to=words, by=by, cause=cause)


def escalated(ticket: Ticket, *, reason: str, tells: Sequence[str], number: int, cause: UUID) -> None:
    """Tell the next ones that nobody has taken it, or that it repeats; an alert, until it is taken."""
    why = "nobody has taken it" if reason == "unacknowledged" else f"it happened {ticket.occurrences} times"
    also = [f"person:{ticket.assignee}"] if ticket.assignee else []
    _alert(ticket, f"{ticket.issue}: {why}", key=_escalation(ticket, number), to=[*tells, *also], cause=cause)


def breached(ticket: Ticket, *, goal: str, cause: UUID) -> None:
    """Tell that a promise was broken: whose it is, else the operators."""
    mine = [f"person:{ticket.assignee}"] if ticket.assignee else []
    mine += [f"team:{ticket.team_id}"] if ticket.team_id else []
    _alert(ticket, f"{ticket.issue}: its {goal} is overdue", key=_breach(ticket, goal), to=mine, cause=cause)


def acknowledged(ticket: Ticket, *, by: str, cause: UUID) -> None:
    """Have nobody called again about what somebody answers for."""
    for key in (*_failures(ticket), *_escalations(ticket)):
        _settle(ticket, "acknowledge", key=key, by=by, cause=cause)


def over(ticket: Ticket, *, by: str, cause: UUID) -> None:
    """End every alert about it, those of its failure's job among them, and tell who watches it."""
    breaches = [_breach(ticket, goal) for goal in Goal]
    for key in (*_failures(ticket), *_escalations(ticket), *breaches):
        _settle(ticket, "resolve", key=key, by=by, cause=cause)
    words = [f"person:{each}" for each in dict.fromkeys([ticket.assignee, *watchers_of(ticket)]) if each]
    if words:
        _message(ticket, f"Resolved: {ticket.issue}", to=words, by=by, cause=cause)


def silenced(ticket: Ticket, *, by: str, cause: UUID) -> None:
    """End the alerts about a ticket that was merged: another one calls from now on. Its failure's own goes on."""
    for key in (*_escalations(ticket), *(_breach(ticket, goal) for goal in Goal)):
        _settle(ticket, "resolve", key=key, by=by, cause=cause)


def _alert(ticket: Ticket, summary: str, *, key: str, to: Sequence[str], cause: UUID) -> None:
    whom = _audience(to, tenant_id=ticket.tenant_id)[:MOST_TOLD]
    _say(ticket, "trigger", "alert", summary, key=key, whom=whom, by=BY, cause=cause)


def _message(ticket: Ticket, summary: str, *, to: Sequence[str], by: str, cause: UUID) -> None:
    """Tell everybody, however many: in as many messages as it takes."""
    told = _audience(to, tenant_id=ticket.tenant_id)
    for first in range(0, len(told), MOST_TOLD):
        key = f"ticket:{ticket.id}:{cause}" + (f":{first}" if first else "")
        whom = told[first : first + MOST_TOLD]
        _say(ticket, "trigger", "message", summary, key=key, whom=whom, by=by, cause=cause)


def _settle(ticket: Ticket, action: str, *, key: str, by: str, cause: UUID) -> None:
    _say(ticket, action, "alert", ticket.issue, key=key, whom=(), by=by, cause=cause)


def _say(
    ticket: Ticket, action: str, category: str, summary: str, *, key: str, whom: Sequence[str], by: str, cause: UUID
) -> None:
    notify(
        tenant_id=ticket.tenant_id,
        action=action,
        severity=ticket.severity if category == "alert" else "info",
        category=category,
        source=ticket.module,
        component=ticket.kind or None,
        summary=summary,
        dedup_key=key,
        details={"ticket_id": str(ticket.id), "status": ticket.status, "occurrences": ticket.occurrences},
        links={"ticket": f"/operations/tickets/{ticket.id}"},
        audience=whom,
        by=by,
        cause_event_id=cause,
    )


def _audience(words: Sequence[str], *, tenant_id: str | None) -> list[str]:
    """Return the words that notifications know: a team is its members; what nobody answers to is the operators'."""
    told: dict[str, None] = {}
    for word in words:
        people = _members(word.removeprefix("team:")) if word.startswith("team:") else [word]
        told |= dict.fromkeys(people or [OPERATORS])
    known = [each for each in told if WORD.fullmatch(each) and (each != "tenant" or tenant_id is not None)]
    return known or [OPERATORS]


def _members(team: str) -> list[str]:
    members = Team.objects.filter(name=team).values_list("members", flat=True).first() or []
    return [f"person:{each}" for each in members]


def _failures(ticket: Ticket) -> Iterable[str]:
    """Return the keys of the alerts of the failures it speaks for: its own, and those of what was merged into it."""
    spoken_for = [ticket]
    for each in spoken_for:  # which grows meanwhile: what was merged into what was merged is spoken for, too
        spoken_for += Ticket.objects.filter(merged_into_id=each.id)
    marks = [each.fingerprint for each in spoken_for if each.source == "job" and each.fingerprint]
    return [dedup_key(each) for each in dict.fromkeys(marks)]


def _escalations(ticket: Ticket) -> Iterable[str]:
    count = Entry.objects.filter(ticket_id=ticket.id, kind=Kind.ESCALATED).count()
    return [_escalation(ticket, number) for number in range(1, count + 1)]


def _escalation(ticket: Ticket, number: int) -> str:
    return f"ticket:{ticket.id}:escalation:{number}"


def _breach(ticket: Ticket, goal: str) -> str:
    return f"ticket:{ticket.id}:sla:{goal}"

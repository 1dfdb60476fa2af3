"""What is promised about a ticket that is being opened: the first policy that fits, copied whole."""

from __future__ import annotations

from typing import Any, NamedTuple

from django.db.models import Q

from apps.tickets.escalation import Chain
from apps.tickets.models import BusinessCalendar, EscalationChain, SlaPolicy


class Promised(NamedTuple):
    """The policy and the chain as the ticket keeps them: what people change later changes other tickets."""

    promise: dict[str, Any]
    chain: dict[str, Any]


def promised(*, tenant_id: str | None, module: str, severity: str) -> Promised:
    """Return what is promised about such a ticket: its policy's, or no times and the built-in chain."""
    policy = (
        SlaPolicy.every.filter(
            Q(tenant_id=None) | Q(tenant_id=tenant_id),
            Q(module=None) | Q(module=module),
            Q(severity=None) | Q(severity=severity),
        )
        .select_related("calendar", "chain")
        .order_by("position", "name")
        .first()
    )
    if policy is None:
        return Promised({}, Chain().kept())
    promise = {
        "name": policy.name,
        "response_s": policy.response_s,
        "resolution_s": policy.resolution_s,
        "ack_timeout_s": policy.ack_timeout_s,
        "calendar": None if policy.calendar is None else _calendar(policy.calendar),
    }
    return Promised(promise, Chain().kept() if policy.chain is None else _chain(policy.chain))


def _calendar(row: BusinessCalendar) -> dict[str, Any]:
    return {"time_zone": row.time_zone, "hours": row.hours, "holidays": list(row.holidays)}


def _chain(row: EscalationChain) -> dict[str, Any]:
    return {"name": row.name, "steps": row.steps, "rounds": row.rounds}

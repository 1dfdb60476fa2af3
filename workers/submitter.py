"""The submitter: submits what nobody submits at the moment, by the clock and by events.

A loop of its own: it asks the decision points, and dispatching must not wait for their answers.
"""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import structlog

from apps.core.authzen import DecisionPointAwayError
from apps.schedules.operations import fires, firings
from apps.tenancy.context import across_tenants, in_tenant
from workers import loop

log = structlog.get_logger(__name__)

LOOK_EVERY_S = 1.0
LISTEN_EVERY_S = 0.25  # as often as the relay numbers events, while there is a trigger


def step() -> float:
    """Look once: plan and settle what is due, follow the event log; return the seconds to rest."""
    with across_tenants():
        planned = fires.plan_due()
        due = fires.waiting_now()
        matched, listening = firings.follow()
        met = firings.waiting_now()
    done = [_settled(fires.settle, each, tenant_id=tenant_id) for each, tenant_id in due]
    done += [_settled(firings.settle, each, tenant_id=tenant_id) for each, tenant_id in met]
    if planned or matched or any(done):
        return 0.0
    with across_tenants():
        return fires.rest_s(most=LISTEN_EVERY_S if listening else LOOK_EVERY_S)


def _settled(settle: Callable[[UUID], bool], wanted: UUID, *, tenant_id: str) -> bool:
    """Settle one in its tenant's context; one whose decision point is away waits for the next look."""
    try:
        with in_tenant(tenant_id):
            return settle(wanted)
    except DecisionPointAwayError as error:
        log.warning("decision_point_away", point=error.point, waiting=str(wanted))
        return False


def main() -> None:
    """Submit until SIGTERM."""
    loop.run(role="submitter", step=step)

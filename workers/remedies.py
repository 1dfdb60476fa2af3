"""Recovery actions: what the plane can do about a component that is not well, each a function of an order.

In a thread of the watcher's, across tenants, each with a connection of its own. Which policy may call which stands in
`recovery_policies`; the names stand in `opsplatform/wiring.py`.
"""

from __future__ import annotations

import json
import math
from datetime import timedelta
from typing import Final

from django.conf import settings

from apps.core import grants, outbound, standard_webhooks
from apps.core.database import clock
from apps.health.actions import ActionFailedError, Facts, Order
from apps.health.operations import canaries, orders
from apps.jobs import environments, liveness
from apps.jobs.operations import pauses, recover, reroute, shedding
from apps.jobs.pausing import Target
from workers.policies import retry_of

LOOK_BACK = timedelta(seconds=30)  # the deadline that a loss is dated to may lie behind the sweeper's own look
PAUSE_MINUTES: Final = 15
CALL_WITHIN_S: Final = 10.0
LONGEST_HOLD_S: Final = 86_400.0


def reclaim_jobs(order: Order) -> Facts:
    """Bring back what dead workers of a pool still hold; helped: they hold nothing any more.

    The scheduler's sweeper does the same; whoever comes second finds nothing to do, and the count is of both.
    """
    recover.expire_leases()
    mine = recover.hand_back_lost(retry_of=retry_of)
    environment = None if order.pool == "control" else order.pool
    back, held = liveness.brought_back(environment=environment, since=order.since - LOOK_BACK)
    return {"brought_back": back, "by_this_action": len(mine), "still_held": held, "helped": held == 0}


def restart_pool(order: Order) -> Facts:
    """Order every live worker of the pool to end in order; who supervises it starts it afresh."""
    ordered = orders.restart_pool(pool=order.pool, reason=str(order.condition.get("reason", "")), by=order.by)
    if not ordered:
        raise ActionFailedError("no_live_worker")
    return {"ordered": ordered}


def restart_deaf(order: Order) -> Facts:
    """Order those workers of the pool to end in order that take nothing from its queue, while others of it do."""
    queue = environments.queue_of(environment=order.pool)
    deaf = canaries.deaf(queue=queue, environment=order.pool) if queue is not None else []
    if not deaf:
        raise ActionFailedError("nobody_is_deaf")
    return {"ordered": orders.restart(processes=deaf, reason="deaf", by=order.by)}


def pause_environment(order: Order) -> Facts:
    """Dispatch nothing into the pool for a while; the pause ends by itself."""
    until = clock() + timedelta(minutes=float(order.params.get("minutes", PAUSE_MINUTES)))
    made = pauses.pause(
        Target(order.pool, None, None),
        reason=f"{order.module}/{order.component} is {order.condition.get('status')}"[:200],
        until=until,
        by=f"recovery:{order.by}"[:128],
        longer=True,  # an operator's own is not cut short
    )
    return {"pause_id": str(made.pause_id), "until": made.until.isoformat() if made.until else None}


def reroute_environment(order: Order) -> Facts:
    """Let jobs that wait for the pool wait for another of the same region instead, where their tenants may use it."""
    to = str(order.params.get("to", ""))
    if not to:
        raise ActionFailedError("to_missing")
    try:
        return {"rerouted": reroute.reroute(source=order.pool, target=to)}
    except reroute.NoSuchWayError as error:
        raise ActionFailedError(str(error)) from error


def shed_bulk(order: Order) -> Facts:
    """Hold the bulk band back until the component is well again, or `hold_s` are over; the watcher lets it go."""
    if not 0 < _number(order.params.get("hold_s", 1)) <= LONGEST_HOLD_S:
        raise ActionFailedError("bad_hold_s")
    return {"new": shedding.shed(reason=f"{order.module}/{order.component}")}


def call_webhook(order: Order) -> Facts:
    """Tell an address of an operator's what is wrong. One try; 2xx is taken.

    Signed as Standard Webhooks asks by the secret of OPS_SECRETS that the policy names; unsigned if it names none.
    """
    url = str(order.params.get("url", ""))
    if not settings.ENVIRONMENT.local and not outbound.target(url).secure:
        raise ActionFailedError("not_https")
    body = json.dumps(
        {
            "receipt_id": str(order.receipt_id),
            "module": order.module,
            "component": order.component,
            "condition": dict(order.condition),
        }
    ).encode()
    signed = _signed(order, body)
    try:
        with outbound.request(
            url,
            method="POST",
            networks=grants.grant(tenant_id=order.tenant_id or "*").networks,
            body=body,
            headers={"Content-Type": "application/json", "User-Agent": "Platform-Operations-Recovery/1", **signed},
            total_s=CALL_WITHIN_S,
        ) as response:
            status = response.status
    except outbound.ForbiddenAddressError as error:
        raise ActionFailedError("address_forbidden") from error
    except outbound.BadUrlError as error:
        raise ActionFailedError("bad_url") from error
    except outbound.UnreachableError as error:
        raise ActionFailedError("too_slow" if error.slow else "unreachable") from error
    except grants.BadGrantError as error:
        raise ActionFailedError("bad_grant") from error
    if status // 100 != 2:  # noqa: PLR2004 - a class of statuses
        raise ActionFailedError(f"status_{status}")
    return {"status": status}


def _number(given: object) -> float:
    """Return a number as an operator wrote it; nan for what is none."""
    try:
        return float(str(given))
    except ValueError:
        return math.nan


def _signed(order: Order, body: bytes) -> dict[str, str]:
    """Return the headers that sign a call, none where the policy names no secret."""
    name = order.params.get("secret")
    if name is None:
        return {}
    secret = grants.file("OPS_SECRETS", "secrets.json").get(order.tenant_id or "*", {}).get(str(name))
    if not isinstance(secret, str):
        raise ActionFailedError("secret_missing")
    try:
        return standard_webhooks.signed(
            body, message_id=str(order.receipt_id), secrets=[secret], at=int(clock().timestamp())
        )
    except standard_webhooks.BadSecretError as error:
        raise ActionFailedError("bad_secret") from error

"""What is asked about deliveries: send one again, or all of a span of time. In their tenant's context."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import Q

from apps.core.database import ClockTimestamp
from apps.core.ids import first_id_at
from apps.webhooks.lifecycle import REDELIVERABLE, State
from apps.webhooks.models import Delivery, Webhook
from apps.webhooks.operations.webhooks import WebhookDisabledError

MOST_AT_ONCE = 10_000
MISSED = (State.FAILED, State.HELD)


class BeingSentError(Exception):
    """The delivery is being sent at this moment."""


class TooManyDeliveriesError(Exception):
    """More deliveries than one request may send again."""


def redeliver(*, webhook_id: UUID, delivery_id: UUID) -> None:
    """Send a delivery now, whatever became of it, with all of the schedule's tries before it.

    Raises `BeingSentError`, `WebhookDisabledError`.
    """
    _enabled(webhook_id)
    states = [State.WAITING, *REDELIVERABLE]
    if not _again(Q(webhook_id=webhook_id, delivery_id=delivery_id), states=states):
        raise BeingSentError


def redeliver_since(*, webhook_id: UUID, since: datetime, until: datetime | None, delivered_too: bool) -> int:
    """Send again what was missed of a span of time, or all of it; return how many deliveries that are.

    Raises `TooManyDeliveriesError` (then nothing is sent), `WebhookDisabledError`.
    """
    _enabled(webhook_id)
    states = REDELIVERABLE if delivered_too else MISSED
    # A delivery is born after its event, so its id says where in the index to begin; a second for clocks that are asked
    # at two places of a statement.
    first = first_id_at(since - timedelta(seconds=1))
    span = Q(webhook_id=webhook_id, occurred_at__gte=since, delivery_id__gte=first)
    if until is not None:
        span &= Q(occurred_at__lt=until)
    asked = Delivery.objects.filter(span, state__in=states)
    if len(asked.values_list("pk", flat=True)[: MOST_AT_ONCE + 1]) > MOST_AT_ONCE:
        raise TooManyDeliveriesError
    return _again(span, states=states)


def _again(which: Q, *, states: Sequence[State]) -> int:
    now = ClockTimestamp()
    return Delivery.objects.filter(which, state__in=states).update(
        state=State.WAITING, tries=0, due_at=now, settled_at=None
    )


def _enabled(webhook_id: UUID) -> None:
    if not Webhook.objects.filter(webhook_id=webhook_id, disabled_at=None, deleted_at=None).exists():
        raise WebhookDisabledError

"""What is asked about a webhook: make it, change it, take it away, another secret, a test. In its tenant's context."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import F

from apps.core.database import ClockTimestamp
from apps.core.ids import uuid7
from apps.core.outbound import target
from apps.core.versions import ChangedMeanwhileError
from apps.events import operations as event_log
from apps.webhooks import events
from apps.webhooks.lifecycle import Reason
from apps.webhooks.models import Webhook

MOST_OF_A_TENANT = 50
# One at a time for a tenant: of two that count at once each would find room for itself.
ALONE = "SELECT pg_advisory_xact_lock(hashtextextended('webhooks ' || %s, 0))"
DISABLE = f"""
WITH asked AS (
    UPDATE webhooks SET disabled_at = clock_timestamp(), disabled_reason = %(reason)s
     WHERE webhook_id = %(webhook)s AND disabled_at IS NULL AND deleted_at IS NULL
    RETURNING tenant_id, gen_random_uuid() AS event_id, '{events.DISABLED}' AS event_type,
              webhook_id::text AS event_subject,
              jsonb_build_object('webhook_id', webhook_id, 'reason', disabled_reason, 'failing_since', failing_since,
                                 'by', %(by)s::text) AS event_data
)
{event_log.APPEND.format(source="asked")}
"""
TEST = f"""
WITH asked AS (
    SELECT tenant_id, %(event)s::uuid AS event_id, '{events.TEST}' AS event_type, webhook_id::text AS event_subject,
           jsonb_build_object('webhook_id', webhook_id, 'by', %(by)s::text) AS event_data
      FROM webhooks WHERE webhook_id = %(webhook)s AND disabled_at IS NULL AND deleted_at IS NULL
)
{event_log.APPEND.format(source="asked")}
"""
FRESH: dict[str, Any] = {"failures": 0, "failing_since": None, "failed_at": None, "left_alone_until": None}


class TooManyWebhooksError(Exception):
    """The tenant has as many webhooks as a tenant may have."""


class WebhookDisabledError(Exception):
    """The webhook is disabled, so nothing is sent to it."""


def create(*, tenant_id: str, url: str, event_types: Sequence[str], description: str, owner: str) -> Webhook:
    """Make a webhook for what happens from now on; raises `TooManyWebhooksError`."""
    with connection.cursor() as cursor:
        cursor.execute(ALONE, [tenant_id])
    if Webhook.objects.filter(deleted_at=None).count() >= MOST_OF_A_TENANT:
        raise TooManyWebhooksError
    made = Webhook(
        webhook_id=uuid7(),
        tenant_id=tenant_id,
        url=url,
        host=host_of(url),
        event_types=list(event_types),
        description=description,
        owner=owner,
        secret_id=uuid7(),
    )
    Webhook.objects.bulk_create([made])
    return Webhook.objects.get(webhook_id=made.webhook_id)


def change(values: Mapping[str, Any], *, webhook_id: UUID, version: int, owner: str) -> None:
    """Change a webhook at `version`: `url`, `event_types`, `description`, `enabled`. Raises `ChangedMeanwhileError`.

    A new address, or being enabled, gives the receiver a fresh start.
    """
    step = {name: value for name, value in values.items() if name != "enabled"}
    if "url" in step:
        step |= {"host": host_of(step["url"]), "usual_ms": None, **FRESH}
    if values.get("enabled"):
        step |= {"disabled_at": None, "disabled_reason": None, **FRESH}
    found = Webhook.objects.filter(webhook_id=webhook_id, version=version, deleted_at=None)
    if not found.update(**step, version=version + 1, owner=owner):
        raise ChangedMeanwhileError(version=Webhook.objects.values_list("version", flat=True).get(pk=webhook_id))
    if values.get("enabled") is False:
        disable(webhook_id=webhook_id, reason=Reason.BY_REQUEST, by=owner)


def disable(*, webhook_id: UUID, reason: Reason, by: str) -> bool:
    """Tell the webhook nothing more, and say so by an event; return whether it was told something until now."""
    with connection.cursor() as cursor:
        cursor.execute(DISABLE, {"webhook": webhook_id, "reason": str(reason), "by": by})
        return bool(cursor.rowcount)


def delete(*, webhook_id: UUID) -> None:
    """Take the webhook away. What is owed to it is not sent any more."""
    Webhook.objects.filter(webhook_id=webhook_id, deleted_at=None).update(deleted_at=ClockTimestamp())


def rotate_secret(*, webhook_id: UUID, overlap_s: int) -> None:
    """Let a new secret sign, and beside it for `overlap_s` seconds the one that signed until now."""
    before: dict[str, Any] = {"previous_secret_id": None, "previous_until": None}
    if overlap_s:
        until = ClockTimestamp() + timedelta(seconds=overlap_s)
        before = {"previous_secret_id": F("secret_id"), "previous_until": until}
    Webhook.objects.filter(webhook_id=webhook_id, deleted_at=None).update(secret_id=uuid7(), **before)


def send_test(*, webhook_id: UUID, by: str) -> UUID:
    """Write an event that goes to this webhook alone, by the way of all events; return the event's id.

    Raises `WebhookDisabledError`.
    """
    event_id = uuid7()
    with connection.cursor() as cursor:
        cursor.execute(TEST, {"webhook": webhook_id, "event": event_id, "by": by})
        if not cursor.rowcount:
            raise WebhookDisabledError
    return event_id


def host_of(url: str) -> str:
    """Return the host and port of an address; raises `apps.core.outbound.BadUrlError`."""
    place = target(url)
    return f"{place.host}:{place.port}"

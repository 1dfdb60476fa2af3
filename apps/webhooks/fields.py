"""Bodies of webhooks and deliveries, for parsing and for the OpenAPI document."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from apps.core.serializers import StrictSerializer
from apps.webhooks.filters import MOST
from apps.webhooks.models import REASONS, STATES

DAY_S = 86_400
OVERLAP_S = DAY_S


class WebhookChangeFields(StrictSerializer):
    """What may be said of a webhook."""

    url = serializers.CharField(max_length=2000, help_text="https, of a public host, with no password in it")
    event_types = serializers.ListField(
        child=serializers.CharField(max_length=64),
        min_length=1,
        max_length=MOST,
        help_text="types, or beginnings like operations.job.*",
    )
    description = serializers.CharField(max_length=200, required=False, default="", allow_blank=True)


class WebhookAskedFields(WebhookChangeFields):
    """A webhook as made."""

    tenant_id = serializers.CharField(max_length=48, required=False)


class WebhookPatchFields(WebhookChangeFields):
    """A change of a webhook: what is left out stays."""

    enabled = serializers.BooleanField(
        required=False, help_text="false: nothing is sent; true: again, from now on, with a fresh start"
    )
    version = serializers.IntegerField(min_value=1, help_text="the version that was read")


class RotateFields(StrictSerializer):
    """How long the secret before signs as well."""

    overlap_s = serializers.IntegerField(min_value=0, max_value=7 * DAY_S, required=False, default=OVERLAP_S)


class SpanFields(StrictSerializer):
    """Which of the past is sent again."""

    since = serializers.DateTimeField(help_text="events of this time on")
    until = serializers.DateTimeField(required=False, allow_null=True, default=None, help_text="to before this one")
    delivered_too = serializers.BooleanField(
        required=False, default=False, help_text="false: only what failed, or was held while it was disabled"
    )


class WebhookFields(serializers.Serializer[Any]):
    """A webhook as read. Its secret was told when it was made, and is told no more."""

    webhook_id = serializers.UUIDField()
    tenant_id = serializers.CharField()
    url = serializers.CharField()
    event_types = serializers.ListField(child=serializers.CharField())
    description = serializers.CharField()
    enabled = serializers.BooleanField()
    disabled_at = serializers.DateTimeField(allow_null=True)
    disabled_reason = serializers.ChoiceField(REASONS, allow_null=True)
    failing_since = serializers.DateTimeField(allow_null=True, help_text="nothing but failures since")
    delivered_at = serializers.DateTimeField(allow_null=True, help_text="the last success")
    left_alone_until = serializers.DateTimeField(
        allow_null=True, help_text="nothing is sent before: it fails again and again, or asked so"
    )
    secret_id = serializers.UUIDField(help_text="which secret signs; not the secret")
    previous_secret_id = serializers.UUIDField(allow_null=True)
    previous_until = serializers.DateTimeField(allow_null=True, help_text="until then the one before signs as well")
    owner = serializers.CharField()
    version = serializers.IntegerField()
    created_at = serializers.DateTimeField()


class WebhookWithSecretFields(WebhookFields):
    """A webhook with its new secret, told this once."""

    secret = serializers.CharField(help_text="whsec_ and base64, as Standard Webhooks' libraries take it")


class WebhookPageFields(serializers.Serializer[Any]):
    """A page of webhooks, newest first."""

    items = WebhookFields(many=True)
    next = serializers.CharField(allow_null=True)


class TestSentFields(serializers.Serializer[Any]):
    """The event that tries a webhook."""

    event_id = serializers.UUIDField()


class RedeliveredFields(serializers.Serializer[Any]):
    """How much is sent again."""

    redelivered = serializers.IntegerField()


class TryFields(serializers.Serializer[Any]):
    """One request to the receiver."""

    at = serializers.DateTimeField()
    took_ms = serializers.IntegerField()
    status = serializers.IntegerField(allow_null=True, help_text="what it answered")
    error = serializers.CharField(allow_null=True, help_text="why there is no answer, as a stable word")
    answer_bytes = serializers.IntegerField(allow_null=True, help_text="64 KiB at most are read")
    answer_digest = serializers.CharField(allow_null=True, help_text="sha256 of what was read; nothing of it is kept")


class DeliveryFields(serializers.Serializer[Any]):
    """An event owed to a webhook, and what became of it."""

    delivery_id = serializers.UUIDField()
    event_id = serializers.UUIDField(help_text="the webhook-id of every try")
    event_type = serializers.CharField()
    occurred_at = serializers.DateTimeField()
    state = serializers.ChoiceField(STATES)
    tries = serializers.IntegerField(help_text="of eight; a redelivery begins anew")
    next_try_at = serializers.DateTimeField(allow_null=True)
    settled_at = serializers.DateTimeField(allow_null=True)
    attempts = TryFields(many=True, help_text="the last twenty, oldest first")


class DeliveryPageFields(serializers.Serializer[Any]):
    """A page of deliveries, newest first."""

    items = DeliveryFields(many=True)
    next = serializers.CharField(allow_null=True)

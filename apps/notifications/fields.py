"""Bodies of notifications, for parsing and for the OpenAPI document."""

from __future__ import annotations

import re
from typing import Any

from rest_framework import serializers

from apps.core.serializers import StrictSerializer
from apps.notifications.models import (
    ACTIONS,
    CATEGORIES,
    CLASSIFICATIONS,
    REASONS,
    SEVERITIES,
    STATES,
    STATUSES,
)
from apps.notifications.operations.intake import LONGEST_SUMMARY

MOST_DETAILS = 50
LONGEST_DETAIL = 200
MOST_LINKS = 10
NAME = re.compile(r"[A-Za-z0-9_.:/-]{1,64}")


class LinkFields(StrictSerializer):
    """An address, as PagerDuty has it."""

    href = serializers.URLField(max_length=1000)
    text = serializers.CharField(max_length=100, required=False, default="link")


class DetailsField(serializers.DictField):
    """Ids, counts and codes by name: no text in which rows of data could stand."""

    def to_internal_value(self, data: Any) -> Any:
        """Return the details; a value that is no short text, number or truth is refused by name."""
        values = super().to_internal_value(data)
        if len(values) > MOST_DETAILS:
            raise serializers.ValidationError([f"at most {MOST_DETAILS} details would be right"])
        for name, value in values.items():
            if not NAME.fullmatch(name):
                raise serializers.ValidationError(["a name has 1 to 64 letters, digits and _ . : / -"])
            if not isinstance(value, str | int | float | bool | None) or len(str(value)) > LONGEST_DETAIL:
                message = f"a number, true, false, null or a text of at most {LONGEST_DETAIL} characters would be right"
                raise serializers.ValidationError({name: [message]})
        return values


class NotifyFields(StrictSerializer):
    """An event or alert, in PagerDuty's words."""

    tenant_id = serializers.CharField(max_length=48, required=False)
    event_action = serializers.ChoiceField(ACTIONS, required=False, default="trigger")
    severity = serializers.ChoiceField(SEVERITIES, required=False, default="error")
    category = serializers.ChoiceField(CATEGORIES, required=False, default="alert")
    classification = serializers.ChoiceField(CLASSIFICATIONS, required=False, default="internal")
    summary = serializers.CharField(
        max_length=LONGEST_SUMMARY, required=False, help_text="one sentence; needed for a trigger"
    )
    component = serializers.CharField(max_length=128, required=False, allow_null=True, default=None)
    group = serializers.CharField(max_length=128, required=False, allow_null=True, default=None)
    dedup_key = serializers.CharField(
        max_length=255,
        required=False,
        help_text="what is said under one key, of one module, is one notification until it is resolved; needed to "
        "acknowledge and to resolve: what the trigger answered would be right",
    )
    custom_details = DetailsField(required=False, default=dict, help_text="ids, counts, codes: never rows of data")
    links = LinkFields(many=True, required=False, default=list, max_length=MOST_LINKS)  # type: ignore[call-arg]
    audience = serializers.ListField(
        child=serializers.CharField(max_length=110),
        required=False,
        max_length=8,
        help_text="operators, tenant, module:…, role:…, person:…; the operators and the tenant's people if left out",
    )

    def get_fields(self) -> dict[str, Any]:
        """Return the fields, with those whose names Python and DRF keep for themselves."""
        source = serializers.CharField(max_length=128, required=False, help_text="if left out, the calling module")
        kind = serializers.CharField(max_length=128, required=False, allow_null=True, default=None)
        return {**super().get_fields(), "source": source, "class": kind}

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse a trigger that says nothing, and the end of something that nobody named."""
        if attrs["event_action"] == "trigger":
            if not attrs.get("summary", "").strip():
                raise serializers.ValidationError({"summary": ["needed: a sentence that says what is the matter"]})
        elif "dedup_key" not in attrs:
            raise serializers.ValidationError({"dedup_key": ["needed: the key under which it was triggered"]})
        return attrs


class NotifiedFields(serializers.Serializer[Any]):
    """What a notification is known by."""

    notification_id = serializers.UUIDField()
    dedup_key = serializers.CharField()
    status = serializers.ChoiceField(STATUSES)
    resolved = serializers.BooleanField()


class AlertsTakenFields(serializers.Serializer[Any]):
    """What became of each of Alertmanager's alerts, in their order; null for the end of one that was never told."""

    notifications = NotifiedFields(many=True)


class NotificationFields(serializers.Serializer[Any]):
    """A notification as read."""

    notification_id = serializers.UUIDField()
    tenant_id = serializers.CharField(allow_null=True)
    severity = serializers.ChoiceField(SEVERITIES)
    category = serializers.ChoiceField(CATEGORIES)
    classification = serializers.ChoiceField(CLASSIFICATIONS)
    status = serializers.ChoiceField(STATUSES)
    resolved = serializers.BooleanField()
    component = serializers.CharField(allow_null=True)
    group = serializers.CharField(allow_null=True)
    summary = serializers.CharField()
    dedup_key = serializers.CharField()
    custom_details = serializers.DictField()
    links = LinkFields(many=True)
    audience = serializers.ListField(child=serializers.CharField())
    target = serializers.CharField(help_text="the audience as a text")
    channel = serializers.CharField(allow_null=True, help_text="by which it was delivered first")
    timestamp = serializers.DateTimeField()
    last_at = serializers.DateTimeField(help_text="when it was triggered last")
    repeats = serializers.IntegerField(help_text="how often it was triggered again")
    delivered_at = serializers.DateTimeField(allow_null=True)
    acknowledged_at = serializers.DateTimeField(allow_null=True)
    acknowledged_by = serializers.CharField(allow_null=True)
    resolved_at = serializers.DateTimeField(allow_null=True)
    resolved_by = serializers.CharField(allow_null=True)
    inhibited_by = serializers.CharField(allow_null=True)
    region = serializers.CharField(allow_null=True)

    def get_fields(self) -> dict[str, Any]:
        """Return the fields, with those whose names Python and DRF keep for themselves."""
        kind = serializers.CharField(allow_null=True, help_text="as PagerDuty has it")
        return {**super().get_fields(), "source": serializers.CharField(), "class": kind}


class AttemptFields(serializers.Serializer[Any]):
    """One request to a channel."""

    at = serializers.DateTimeField()
    took_ms = serializers.IntegerField()
    accepted = serializers.BooleanField()
    permanent = serializers.BooleanField(help_text="whether it was refused for good")
    status = serializers.IntegerField(allow_null=True)
    error = serializers.CharField(allow_null=True)
    message_id = serializers.UUIDField(help_text="the message that carried it; several notifications may share one")


class NotificationDeliveryFields(serializers.Serializer[Any]):
    """One channel's part in telling it."""

    delivery_id = serializers.UUIDField()
    channel = serializers.CharField()
    kind = serializers.CharField()
    reason = serializers.ChoiceField(REASONS)
    state = serializers.ChoiceField(STATES)
    note = serializers.CharField(allow_null=True, help_text="why it was skipped, or what was the matter last")
    counts = serializers.BooleanField(help_text="whether its success means that somebody was told")
    tries = serializers.IntegerField()
    due_at = serializers.DateTimeField(allow_null=True, help_text="of a queued one")
    fallback_at = serializers.DateTimeField(allow_null=True, help_text="when its channel's fallback begins")
    created_at = serializers.DateTimeField()
    sent_at = serializers.DateTimeField(allow_null=True)
    attempts = AttemptFields(many=True)


class SignalFields(serializers.Serializer[Any]):
    """One thing that was said about it."""

    action = serializers.ChoiceField(ACTIONS)
    severity = serializers.ChoiceField(SEVERITIES)
    by = serializers.CharField()
    at = serializers.DateTimeField()
    cause_event_id = serializers.UUIDField(allow_null=True)


class DeadlineFields(serializers.Serializer[Any]):
    """The promise."""

    due_at = serializers.DateTimeField()
    met_at = serializers.DateTimeField(allow_null=True)
    breached_at = serializers.DateTimeField(allow_null=True)


class WholeNotificationFields(NotificationFields):
    """A notification with all that was done about it."""

    signals = SignalFields(many=True, help_text="the last hundred, oldest first")
    deadline = DeadlineFields(allow_null=True)
    deliveries = NotificationDeliveryFields(many=True)
    why = serializers.ListField(
        child=serializers.DictField(),
        help_text="which routes it took (for the platform: and did not), what silenced or held it, in order",
    )


class NotificationPageFields(serializers.Serializer[Any]):
    """A page of notifications, newest first."""

    items = NotificationFields(many=True)
    next = serializers.CharField(allow_null=True)

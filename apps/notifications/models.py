"""Notifications, what was said about each, and who was told by which channel. Written only by `operations`."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from apps.core.database import ClockTimestamp
from apps.notifications.channel_models import Channel, Group, Route, Silence
from apps.notifications.lifecycle import Action, Category, Classification, Reason, Severity, State, Status
from apps.tenancy.context import TenantManager
from apps.tenancy.models import Tenant

__all__ = [
    "ACTIONS", "CATEGORIES", "CLASSIFICATIONS", "REASONS", "SEVERITIES", "STATES", "STATUSES", "Attempt", "Channel",
    "Deadline", "Delivery", "Group", "InboxItem", "Notification", "Route", "Signal", "Silence",
]  # fmt: skip

ACTIONS = [each.value for each in Action]
CATEGORIES = [each.value for each in Category]
CLASSIFICATIONS = [each.value for each in Classification]
REASONS = [each.value for each in Reason]
SEVERITIES = [each.value for each in Severity]
STATES = [each.value for each in State]
STATUSES = [each.value for each in Status]


def _words(values: list[str]) -> list[tuple[str, str]]:
    return [(value, value) for value in values]


class Notification(models.Model):
    """What somebody wants told. One that is not resolved gathers whatever else is said under its `dedup_key`."""

    id = models.UUIDField(primary_key=True)
    tenant = models.ForeignKey(Tenant, models.PROTECT, null=True, db_index=False, related_name="+")
    severity = models.CharField(max_length=8, choices=_words(SEVERITIES))
    category = models.CharField(max_length=8, choices=_words(CATEGORIES))
    classification = models.CharField(max_length=12, choices=_words(CLASSIFICATIONS))
    source = models.CharField(max_length=128, help_text="the module it is about, or comes from")
    component = models.CharField(max_length=128, null=True)
    group = models.CharField(max_length=128, null=True)
    kind = models.CharField(max_length=128, null=True, help_text="PagerDuty's `class`")
    summary = models.CharField(max_length=300)
    details = models.JSONField(default=dict, help_text="ids, counts, codes: never rows of data")
    links = models.JSONField(default=dict, help_text="title → address")
    audience = ArrayField(models.CharField(max_length=110))
    target = models.CharField(max_length=1000, help_text="the audience as a text")
    scope = models.CharField(max_length=128, default="", help_text="whose dedup keys: '' the plane's, else a module's")
    dedup_key = models.CharField(max_length=255)
    raised_by = models.CharField(max_length=128)
    timestamp = models.DateTimeField(db_default=ClockTimestamp(), help_text="when it was accepted")
    last_at = models.DateTimeField(db_default=ClockTimestamp(), help_text="when it was last triggered")
    repeats = models.PositiveIntegerField(default=0, help_text="how often it was triggered again while open")
    escalations = models.PositiveIntegerField(default=0, help_text="how often it grew worse while open")
    status = models.CharField(max_length=12, choices=_words(STATUSES), default=Status.PENDING.value)
    channel = models.CharField(max_length=64, null=True, help_text="by which it was delivered first")
    delivered_at = models.DateTimeField(null=True)
    acknowledged_at = models.DateTimeField(null=True)
    acknowledged_by = models.CharField(max_length=128, null=True)
    resolved = models.BooleanField(default=False)
    resolved_at = models.DateTimeField(null=True)
    resolved_by = models.CharField(max_length=128, null=True)
    inhibited_by = models.CharField(max_length=200, null=True, help_text="what is behind it, and is told instead")
    region = models.CharField(max_length=32, null=True, help_text="where it must stay: its tenant's when it was routed")
    why = models.JSONField(default=list, help_text="what was decided about it, in order")

    objects = TenantManager["Notification"]()
    every = models.Manager["Notification"]()

    class Meta:
        db_table = "notifications"
        ordering = ["-id"]
        base_manager_name = "every"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "scope", "dedup_key"],
                condition=Q(resolved=False),
                nulls_distinct=False,
                name="notification_open_once",
            ),
            models.CheckConstraint(condition=Q(severity__in=SEVERITIES), name="notification_severity_known"),
            models.CheckConstraint(condition=Q(status__in=STATUSES), name="notification_status_known"),
            models.CheckConstraint(
                condition=Q(resolved=False, resolved_at=None) | Q(resolved=True, resolved_at__isnull=False),
                name="notification_resolved_at",
            ),
        ]
        indexes = [
            models.Index(fields=["tenant", "-id"], name="notifications_tenant_newest"),
            models.Index(fields=["dedup_key", "-id"], name="notifications_key_newest"),
            models.Index(
                fields=["id"], name="notifications_suppressed", condition=Q(status="suppressed", resolved=False)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.severity}: {self.summary}"


class Signal(models.Model):
    """One thing that was said about a notification: the notifier's queue, and its history."""

    signal_id = models.UUIDField(primary_key=True)
    tenant = models.ForeignKey(Tenant, models.PROTECT, null=True, db_index=False, related_name="+")
    notification = models.ForeignKey(Notification, models.CASCADE, db_index=False)
    action = models.CharField(max_length=12, choices=_words(ACTIONS))
    severity = models.CharField(max_length=8, choices=_words(SEVERITIES))
    source = models.CharField(max_length=128)
    dedup_key = models.CharField(max_length=255)
    said_by = models.CharField(max_length=128)
    cause_event_id = models.UUIDField(null=True, help_text="the event that it follows from, once each")
    said_at = models.DateTimeField(db_default=ClockTimestamp())
    handled_at = models.DateTimeField(null=True, help_text="when the notifier had decided what follows")

    objects = TenantManager["Signal"]()
    every = models.Manager["Signal"]()

    class Meta:
        db_table = "notification_signals"
        ordering = ["-signal_id"]
        base_manager_name = "every"
        constraints = [
            models.UniqueConstraint(
                fields=["cause_event_id", "source", "action", "dedup_key"],
                condition=Q(cause_event_id__isnull=False),
                name="notification_signal_once",
            ),
        ]
        indexes = [
            models.Index(fields=["notification", "signal_id"], name="signals_of_notification"),
            models.Index(fields=["signal_id"], name="signals_unhandled", condition=Q(handled_at=None)),
        ]

    def __str__(self) -> str:
        return f"{self.action} of {self.notification_id}"


class Delivery(models.Model):
    """One channel's part in telling a notification, once for each reason and round."""

    delivery_id = models.UUIDField(primary_key=True)
    tenant = models.ForeignKey(Tenant, models.PROTECT, null=True, db_index=False, related_name="+")
    notification = models.ForeignKey(Notification, models.CASCADE, db_index=False)
    channel = models.ForeignKey(Channel, models.PROTECT, db_index=False)
    group_key = models.CharField(max_length=64, help_text="what is told together: a digest of route and labels")
    group_wait_s = models.PositiveIntegerField(default=0, help_text="how long its group gathers")
    reason = models.CharField(max_length=12, choices=_words(REASONS))
    round = models.PositiveIntegerField(default=0, help_text="of repeats and escalations: the how-manieth")
    counts = models.BooleanField(default=True, help_text="whether its success means that somebody was told")
    state = models.CharField(max_length=8, choices=_words(STATES), default=State.QUEUED.value)
    note = models.CharField(max_length=200, null=True, help_text="why it was skipped or failed")
    due_at = models.DateTimeField(help_text="when it is sent; while it is being sent, when its lease ends")
    hedge_at = models.DateTimeField(null=True, help_text="when the channel's fallback begins, unless it was sent")
    message_id = models.UUIDField(null=True, help_text="the message that carries it, of the last try")
    claim = models.PositiveIntegerField(default=0, help_text="a fence: how often a notifier took it")
    under_way = models.BooleanField(default=False)
    tries = models.PositiveSmallIntegerField(default=0)
    created_at = models.DateTimeField(db_default=ClockTimestamp())
    sent_at = models.DateTimeField(null=True)
    settled_at = models.DateTimeField(null=True)

    objects = TenantManager["Delivery"]()
    every = models.Manager["Delivery"]()

    class Meta:
        db_table = "notification_deliveries"
        ordering = ["-delivery_id"]
        base_manager_name = "every"
        verbose_name_plural = "deliveries"
        constraints = [
            models.UniqueConstraint(
                fields=["notification", "channel", "reason", "round"], name="notification_delivery_once"
            ),
            models.CheckConstraint(condition=Q(state__in=STATES), name="notification_delivery_state_known"),
        ]
        indexes = [
            models.Index(fields=["channel", "due_at"], name="deliveries_queued", condition=Q(state="queued")),
            models.Index(fields=["hedge_at"], name="deliveries_hedged", condition=Q(hedge_at__isnull=False)),
            models.Index(fields=["channel", "group_key"], name="deliveries_of_group"),
        ]

    def __str__(self) -> str:
        return f"{self.reason} of {self.notification_id}"


class Attempt(models.Model):
    """One request to a channel, as each delivery it carried remembers it. Of what the channel said, only its status."""

    attempt_id = models.UUIDField(primary_key=True)
    tenant = models.ForeignKey(Tenant, models.PROTECT, null=True, db_index=False, related_name="+")
    delivery = models.ForeignKey(Delivery, models.CASCADE, db_index=False)
    message_id = models.UUIDField()
    at = models.DateTimeField(help_text="when it began")
    took_ms = models.PositiveIntegerField()
    accepted = models.BooleanField()
    permanent = models.BooleanField(default=False)
    status = models.IntegerField(null=True, help_text="as the channel says it: HTTP's or SMTP's")
    error = models.CharField(max_length=64, null=True)

    objects = TenantManager["Attempt"]()
    every = models.Manager["Attempt"]()

    class Meta:
        db_table = "notification_attempts"
        ordering = ["-attempt_id"]
        base_manager_name = "every"
        indexes = [models.Index(fields=["delivery", "attempt_id"], name="attempts_of_delivery")]

    def __str__(self) -> str:
        return f"{self.delivery_id} at {self.at}"


class InboxItem(models.Model):
    """A notification as one audience finds it in the app."""

    item_id = models.UUIDField(primary_key=True)
    tenant = models.ForeignKey(Tenant, models.PROTECT, null=True, db_index=False, related_name="+")
    notification = models.ForeignKey(Notification, models.CASCADE, db_index=False)
    audience = models.CharField(max_length=110)
    created_at = models.DateTimeField(db_default=ClockTimestamp())
    read_at = models.DateTimeField(null=True)
    read_by = models.CharField(max_length=128, null=True)

    objects = TenantManager["InboxItem"]()
    every = models.Manager["InboxItem"]()

    class Meta:
        db_table = "inbox_items"
        ordering = ["-item_id"]
        base_manager_name = "every"
        constraints = [models.UniqueConstraint(fields=["notification", "audience"], name="inbox_item_once")]
        indexes = [models.Index(fields=["audience", "tenant", "-item_id"], name="inbox_items_newest")]

    def __str__(self) -> str:
        return f"{self.audience}: {self.notification_id}"


class Deadline(models.Model):
    """The ledger of the promise: until when a notification has to have reached somebody, and whether it did."""

    notification = models.OneToOneField(Notification, models.CASCADE, primary_key=True)
    tenant = models.ForeignKey(Tenant, models.PROTECT, null=True, db_index=False, related_name="+")
    due_at = models.DateTimeField()
    met_at = models.DateTimeField(null=True, help_text="told, or decided not to be")
    breached_at = models.DateTimeField(null=True)

    objects = TenantManager["Deadline"]()
    every = models.Manager["Deadline"]()

    class Meta:
        db_table = "notification_deadlines"
        ordering = ["-notification_id"]
        base_manager_name = "every"
        indexes = [
            models.Index(
                fields=["due_at"], name="deadlines_open", condition=Q(met_at__isnull=True, breached_at__isnull=True)
            )
        ]

    def __str__(self) -> str:
        return f"{self.notification_id} by {self.due_at}"

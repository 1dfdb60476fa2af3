"""Webhooks, and the deliveries owed to each. Written only by `apps.webhooks.operations`."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from apps.core.database import ClockTimestamp
from apps.tenancy.context import TenantManager
from apps.tenancy.models import Tenant
from apps.webhooks.lifecycle import OWED, Reason, State

STATES = [state.value for state in State]
REASONS = [reason.value for reason in Reason]
OWED_NOW = Q(state__in=[state.value for state in OWED])


class Webhook(models.Model):
    """A subscription: which events of its tenant are told to which address. Its secret is in no row."""

    webhook_id = models.UUIDField(primary_key=True)
    tenant = models.ForeignKey(Tenant, models.PROTECT, db_index=False)
    url = models.CharField(max_length=2000)
    host = models.CharField(max_length=255, help_text="the host and port of its address")
    event_types = ArrayField(models.CharField(max_length=64), help_text="types, or beginnings: operations.job.*")
    description = models.CharField(max_length=200, default="", blank=True)
    owner = models.CharField(max_length=128, help_text="who said last what it is told")
    version = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField(db_default=ClockTimestamp())
    deleted_at = models.DateTimeField(null=True)
    secret_id = models.UUIDField(help_text="which secret signs: with the plane's key it makes the secret")
    previous_secret_id = models.UUIDField(null=True)
    previous_until = models.DateTimeField(null=True, help_text="until then the secret before signs as well")
    disabled_at = models.DateTimeField(null=True)
    disabled_reason = models.CharField(max_length=16, choices=[(word, word) for word in REASONS], null=True)
    failures = models.PositiveIntegerField(default=0, help_text="failed requests in a row")
    failing_since = models.DateTimeField(null=True)
    failed_at = models.DateTimeField(null=True, help_text="the last failure, of a row that goes on")
    delivered_at = models.DateTimeField(null=True, help_text="the last success")
    left_alone_until = models.DateTimeField(null=True, help_text="nothing is sent before: it failed, or asked so")
    usual_ms = models.PositiveIntegerField(null=True, help_text="how long its answers take, newer ones weighing more")

    objects = TenantManager["Webhook"]()
    every = models.Manager["Webhook"]()

    class Meta:
        db_table = "webhooks"
        ordering = ["-webhook_id"]
        base_manager_name = "every"
        constraints = [
            models.CheckConstraint(
                condition=Q(disabled_at__isnull=True, disabled_reason__isnull=True)
                | Q(disabled_at__isnull=False, disabled_reason__in=REASONS),
                name="webhook_disabled_for_a_reason",
            ),
            models.CheckConstraint(
                condition=Q(previous_secret_id__isnull=True, previous_until__isnull=True)
                | Q(previous_secret_id__isnull=False, previous_until__isnull=False),
                name="webhook_previous_secret_ends",
            ),
        ]
        indexes = [models.Index(fields=["tenant", "-webhook_id"], name="webhooks_tenant_newest")]

    def __str__(self) -> str:
        return str(self.webhook_id)


class Delivery(models.Model):
    """One event owed to one webhook, once. What is sent is the event's row, so each try says the same."""

    delivery_id = models.UUIDField(primary_key=True)
    tenant = models.ForeignKey(Tenant, models.PROTECT, db_index=False)
    webhook = models.ForeignKey(Webhook, models.PROTECT, db_index=False)
    event_id = models.UUIDField(help_text="the webhook-id of every try")
    event_type = models.CharField(max_length=64)
    occurred_at = models.DateTimeField(help_text="when the event became true")
    state = models.CharField(max_length=12, choices=[(word, word) for word in STATES], default=State.WAITING.value)
    tries = models.PositiveSmallIntegerField(default=0, help_text="of the schedule's; a redelivery begins it anew")
    claim = models.PositiveIntegerField(default=0, help_text="a fence: how often a sender took it")
    due_at = models.DateTimeField(help_text="of a waiting one: when it is sent; of one being sent: its lease's end")
    settled_at = models.DateTimeField(null=True)
    attempts = models.JSONField(default=list, help_text="the last tries: when, how long, what came of each")

    objects = TenantManager["Delivery"]()
    every = models.Manager["Delivery"]()

    class Meta:
        db_table = "webhook_deliveries"
        ordering = ["-delivery_id"]
        base_manager_name = "every"
        constraints = [
            models.UniqueConstraint(fields=["webhook", "event_id"], name="webhook_delivery_once"),
            models.CheckConstraint(condition=Q(state__in=STATES), name="webhook_delivery_state_known"),
        ]
        indexes = [
            models.Index(fields=["webhook", "-delivery_id"], name="webhook_deliveries_newest"),
            models.Index(fields=["webhook", "due_at"], name="webhook_deliveries_owed", condition=OWED_NOW),
        ]

    def __str__(self) -> str:
        return f"{self.event_type} to {self.webhook_id}"

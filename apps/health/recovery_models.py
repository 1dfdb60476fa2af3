"""What is done about components that are not well: policies, receipts, orders to processes; canaries; the watch."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from apps.core.database import ClockTimestamp
from apps.health.remedies import Outcome
from apps.tenancy.context import TenantManager
from apps.tenancy.models import Tenant

OUTCOMES = [each.value for each in Outcome]


class Policy(models.Model):
    """When which recovery action is taken; the plane's own, no tenant's."""

    policy_id = models.SlugField(primary_key=True, max_length=64)
    pattern = models.CharField(max_length=130, help_text="module/component, such as operations/worker-*")
    statuses = ArrayField(models.CharField(max_length=10), help_text="in which it acts: degraded, down, unknown")
    reasons = ArrayField(models.CharField(max_length=64), default=list, blank=True, help_text="codes; empty = any")
    after_s = models.FloatField(default=0, help_text="the condition must have held so long")
    action = models.CharField(max_length=48)
    params = models.JSONField(default=dict, blank=True)
    cooldown_s = models.FloatField(default=60, help_text="between two for the same component")
    budget_per_hour = models.PositiveSmallIntegerField(default=4, help_text="for one component; then a person's turn")
    patience_s = models.FloatField(default=90, help_text="within which it must have helped")
    enabled = models.BooleanField(default=True)
    dry_run = models.BooleanField(default=False, help_text="only rehearse: write the receipt, do nothing")
    changed_by = models.CharField(max_length=128, default="set-up")
    changed_at = models.DateTimeField(db_default=ClockTimestamp())

    class Meta:
        db_table = "recovery_policies"
        ordering = ["policy_id"]
        verbose_name_plural = "policies"
        constraints = [
            models.CheckConstraint(condition=Q(budget_per_hour__gte=1), name="recovery_budget_allows_one"),
        ]

    def __str__(self) -> str:
        return self.policy_id


class Receipt(models.Model):
    """One recovery: the condition that called for it, what was done, and the proof that it helped or did not."""

    receipt_id = models.UUIDField(primary_key=True)
    tenant = models.ForeignKey(Tenant, models.PROTECT, null=True, db_index=False)
    component = models.ForeignKey("health.Component", models.CASCADE, db_index=False)
    policy = models.CharField(max_length=64, help_text="its name then; by hand: by:<person>")
    action = models.CharField(max_length=48)
    params = models.JSONField(default=dict)
    condition = models.JSONField(default=dict, help_text="how the component stood: status, reason, since")
    outcome = models.CharField(max_length=12, choices=[(word, word) for word in OUTCOMES])
    facts = models.JSONField(default=dict, help_text="what the action did, in counts")
    proof = models.JSONField(default=dict, help_text="how the component stands since")
    dry_run = models.BooleanField(default=False)
    begun_at = models.DateTimeField(db_default=ClockTimestamp())
    acted_at = models.DateTimeField(null=True)
    prove_by = models.DateTimeField()
    settled_at = models.DateTimeField(null=True)
    region = models.CharField(max_length=32)
    classification = models.CharField(max_length=16)

    objects = TenantManager["Receipt"]()
    every = models.Manager["Receipt"]()

    class Meta:
        db_table = "recovery_receipts"
        ordering = ["-receipt_id"]
        base_manager_name = "every"
        constraints = [models.CheckConstraint(condition=Q(outcome__in=OUTCOMES), name="recovery_outcome_known")]
        indexes = [
            models.Index(fields=["component", "-receipt_id"], name="recovery_receipts_newest"),
            models.Index(fields=["prove_by"], name="recovery_receipts_running", condition=Q(outcome="running")),
        ]

    def __str__(self) -> str:
        return f"{self.action}: {self.outcome}"


class Order(models.Model):
    """An order to a process, which it reads at its own beat and obeys: the broker orders nobody about."""

    order_id = models.UUIDField(primary_key=True)
    process_id = models.UUIDField()
    kind = models.CharField(max_length=16, choices=[("restart", "restart")])
    reason = models.CharField(max_length=64)
    ordered_by = models.CharField(max_length=128)
    ordered_at = models.DateTimeField(db_default=ClockTimestamp())
    obeyed_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "process_orders"
        ordering = ["-order_id"]
        constraints = [
            models.UniqueConstraint(
                fields=["process_id", "kind"], condition=Q(obeyed_at__isnull=True), name="process_order_open_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.process_id}"


class Canary(models.Model):
    """A small task that went through a queue the way jobs do: when it was enqueued, started and committed."""

    canary_id = models.UUIDField(primary_key=True)
    queue = models.CharField(max_length=64)
    enqueued_at = models.DateTimeField(db_default=ClockTimestamp())
    sent = models.BooleanField(null=True, help_text="whether the broker took it; empty = not known yet")
    started_at = models.DateTimeField(null=True)
    committed_at = models.DateTimeField(null=True)
    process_id = models.UUIDField(null=True, help_text="the worker that took it")
    word = models.CharField(max_length=10, default="waiting")
    settled_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "health_canaries"
        ordering = ["-canary_id"]
        verbose_name_plural = "canaries"
        indexes = [models.Index(fields=["queue", "-canary_id"], name="health_canaries_newest")]

    def __str__(self) -> str:
        return f"{self.queue}: {self.word}"


class Watch(models.Model):
    """The watcher's own mark: when it looked last, and whether it trusts its ears."""

    name = models.CharField(primary_key=True, max_length=16)
    looked_at = models.DateTimeField(null=True, help_text="empty: it left in order")
    distrusted_since = models.DateTimeField(null=True)
    troubled_at = models.DateTimeField(null=True, help_text="the last sign of trouble")
    reason = models.CharField(max_length=64, default="")

    class Meta:
        db_table = "health_watch"

    def __str__(self) -> str:
        return f"{self.name}: {'distrusts' if self.distrusted_since else 'trusts'} its ears"

"""Components with their standing, its history and its measures. Written only by `apps.health.operations`.

A row without a tenant is the platform's own: everybody may read it, only the plane and its operators write it.
"""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from apps.core.database import ClockTimestamp
from apps.health.lifecycle import Status
from apps.health.recovery_models import Canary, Order, Policy, Receipt, Watch
from apps.tenancy.context import TenantManager
from apps.tenancy.models import Tenant

# Django looks for an app's models here; those of recovery stand by their subject.
__all__ = ["Canary", "Component", "Flip", "Impact", "MinuteWindow", "Order", "Policy", "Receipt", "Watch"]

STATUSES = [status.value for status in Status]
KINDS = ["process", "queue", "service", "connector", "module", "http", "tcp", "sql"]
CLASSIFICATIONS = ["public", "internal", "confidential", "restricted"]
PLATFORM = "operations"  # the module whose components are the plane's own parts


class Component(models.Model):
    """The current row of a component: what was agreed of it, and how it stands."""

    component_id = models.UUIDField(primary_key=True)
    tenant = models.ForeignKey(
        Tenant, models.PROTECT, null=True, db_index=False, help_text="empty = the platform's own"
    )
    module = models.CharField(max_length=64)
    component = models.CharField(max_length=64)
    kind = models.CharField(max_length=12, choices=[(word, word) for word in KINDS], default="connector")
    region = models.CharField(max_length=32, default="local")
    classification = models.CharField(
        max_length=16, choices=[(word, word) for word in CLASSIFICATIONS], default="internal"
    )
    declared_by = models.CharField(max_length=128, help_text="inventory, a module, or an operator")
    version = models.CharField(max_length=64, default="", blank=True, help_text="as it last said of itself")
    deleted_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(db_default=ClockTimestamp())
    revision = models.BigIntegerField(
        default=0, help_text="grows with each write; whoever decided on an older one lost"
    )

    interval_s = models.FloatField(
        null=True, blank=True, help_text="it is late after; empty = the clock does not judge"
    )
    grace_s = models.FloatField(default=30, help_text="and too late after so much more")
    failure_threshold = models.PositiveSmallIntegerField(default=3, help_text="failures in a row until it is down")
    success_threshold = models.PositiveSmallIntegerField(default=1, help_text="successes in a row until it is up again")
    expected = models.BooleanField(default=False, help_text="never heard of is an alarm")
    depends_on = ArrayField(
        models.CharField(max_length=130), default=list, blank=True, help_text="module/component; down mutes this one"
    )
    max_error_rate = models.FloatField(null=True, blank=True, help_text="degraded above, over 15 minutes")
    max_latency_ms = models.FloatField(null=True, blank=True, help_text="degraded when the 95th percentile is above")
    probe = models.JSONField(null=True, help_text="what the plane asks it: url; host and port; source and query")
    probe_due_at = models.DateTimeField(null=True)

    status = models.CharField(max_length=10, choices=[(word, word) for word in STATUSES], default=Status.NEW.value)
    since = models.DateTimeField(db_default=ClockTimestamp())
    reason = models.CharField(max_length=64, default="")
    last_check = models.DateTimeField(null=True, help_text="the last sign of it")
    latency = models.FloatField(null=True, help_text="milliseconds, the last one measured")
    checks = models.PositiveIntegerField(default=0, help_text="of the last 15 minutes: the rate's denominator")
    errors = models.PositiveIntegerField(default=0, help_text="of them failed: its numerator")
    error_rate = models.FloatField(null=True)
    awaited_from = models.DateTimeField(
        db_default=ClockTimestamp(), help_text="the clock counts from here at the earliest"
    )
    failures = models.PositiveIntegerField(default=0, help_text="in a row")
    successes = models.PositiveIntegerField(default=0, help_text="in a row")
    alarms = ArrayField(models.DateTimeField(), default=list, help_text="when it went bad lately")
    alarmed_since = models.DateTimeField(null=True, help_text="others were told that it is not well")
    muted_by = ArrayField(models.CharField(max_length=130), default=list, help_text="what it depends on and is down")
    due_at = models.DateTimeField(null=True, help_text="when the clock will change it")
    run_id = models.CharField(max_length=64, null=True, help_text="of the run it said it began")
    run_started_at = models.DateTimeField(null=True)
    instances = models.JSONField(default=dict, help_text="of a process: those that live, by their id")
    affected_tenants = models.PositiveIntegerField(default=0, help_text="with work there, while it is not well")
    affected_jobs = models.PositiveIntegerField(default=0)

    objects = TenantManager["Component"]()
    every = models.Manager["Component"]()

    class Meta:
        db_table = "health_status"
        ordering = ["module", "component"]
        base_manager_name = "every"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "module", "component"], nulls_distinct=False, name="health_component_once"
            ),
            models.CheckConstraint(condition=Q(status__in=STATUSES), name="health_status_known"),
            models.CheckConstraint(condition=Q(kind__in=KINDS), name="health_kind_known"),
            models.CheckConstraint(condition=Q(classification__in=CLASSIFICATIONS), name="health_classification_known"),
            models.CheckConstraint(condition=Q(errors__lte=models.F("checks")), name="health_errors_among_checks"),
        ]
        indexes = [
            models.Index(fields=["due_at"], name="health_due", condition=Q(due_at__isnull=False)),
            models.Index(fields=["probe_due_at"], name="health_probe_due", condition=Q(probe_due_at__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"{self.module}/{self.component}"


class Flip(models.Model):
    """A change of status, dated to when it became true: a deadline that passed, or a signal's time."""

    flip_id = models.UUIDField(primary_key=True)
    tenant = models.ForeignKey(Tenant, models.PROTECT, null=True, db_index=False)
    component = models.ForeignKey(Component, models.CASCADE, db_index=False)
    old = models.CharField(max_length=10, choices=[(word, word) for word in STATUSES])
    new = models.CharField(max_length=10, choices=[(word, word) for word in STATUSES])
    reason = models.CharField(max_length=64)
    at = models.DateTimeField()
    noticed_at = models.DateTimeField(db_default=ClockTimestamp())
    muted_by = ArrayField(models.CharField(max_length=130), default=list)
    region = models.CharField(max_length=32)
    classification = models.CharField(max_length=16)

    objects = TenantManager["Flip"]()
    every = models.Manager["Flip"]()

    class Meta:
        db_table = "health_flips"
        ordering = ["-flip_id"]
        base_manager_name = "every"
        indexes = [models.Index(fields=["component", "-flip_id"], name="health_flips_newest")]

    def __str__(self) -> str:
        return f"{self.old} → {self.new}: {self.reason}"


class MinuteWindow(models.Model):
    """A minute's measures of a component: checks, errors among them, latencies by bucket (`apps.health.windows`)."""

    tenant = models.ForeignKey(Tenant, models.PROTECT, null=True, db_index=False)
    component = models.ForeignKey(Component, models.CASCADE, db_index=False)
    minute = models.DateTimeField()
    checks = models.PositiveIntegerField(default=0)
    errors = models.PositiveIntegerField(default=0)
    latencies = ArrayField(models.PositiveIntegerField(), default=list)

    objects = TenantManager["MinuteWindow"]()
    every = models.Manager["MinuteWindow"]()

    class Meta:
        db_table = "health_windows"
        ordering = ["-minute"]
        base_manager_name = "every"
        constraints = [
            models.UniqueConstraint(fields=["component", "minute"], name="health_window_once"),
            models.CheckConstraint(condition=Q(errors__lte=models.F("checks")), name="health_window_errors_fit"),
        ]
        indexes = [models.Index(fields=["minute"], name="health_windows_oldest")]

    def __str__(self) -> str:
        return f"{self.minute}: {self.errors} of {self.checks}"


class Impact(models.Model):
    """A tenant that has unfinished work where a component is not well, and how much. Each sees its own alone."""

    tenant = models.ForeignKey(Tenant, models.PROTECT, db_index=False)
    component = models.ForeignKey(Component, models.CASCADE, db_index=False)
    jobs = models.PositiveIntegerField()
    seen_at = models.DateTimeField(db_default=ClockTimestamp())

    objects = TenantManager["Impact"]()
    every = models.Manager["Impact"]()

    class Meta:
        db_table = "health_impacts"
        ordering = ["tenant"]
        base_manager_name = "every"
        constraints = [models.UniqueConstraint(fields=["component", "tenant"], name="health_impact_once")]

    def __str__(self) -> str:
        return f"{self.tenant_id}: {self.jobs}"

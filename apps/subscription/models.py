"""The built-in catalogue of Subscription: plans with their entitlements and limits, and who is on which."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Now

from apps.core.rate import LONGEST
from apps.tenancy.context import TenantManager
from apps.tenancy.models import Tenant


class Plan(models.Model):
    """What a tenant on this plan may run, and how much of it."""

    plan_id = models.SlugField(primary_key=True, max_length=48)
    job_types = ArrayField(models.CharField(max_length=64), help_text="patterns such as 'ops.*' or '*'")
    weight = models.PositiveIntegerField(default=100, help_text="share of worker-seconds beside other tenants")
    max_running = models.PositiveIntegerField(default=4, help_text="slots held at any instant; more wait")
    jobs_per_day = models.PositiveIntegerField(null=True, blank=True, help_text="more are refused; empty = no limit")
    backlog_cap = models.PositiveIntegerField(default=100_000, help_text="jobs waiting at once; more are refused")
    audit_debt = models.PositiveIntegerField(
        default=10_000,
        db_default=10_000,
        help_text="evidence records that the sink refuses to accept before more jobs are refused",
    )
    rate = models.CharField(
        max_length=LONGEST, null=True, blank=True, help_text="jobs handed out in a time; more wait; empty = no limit"
    )
    changed_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "plans"
        ordering = ["plan_id"]

    def __str__(self) -> str:
        return self.plan_id


class UsageDaily(models.Model):
    """What a tenant used of a job type on a UTC day; added up from the event log, each event once."""

    tenant = models.ForeignKey(Tenant, models.PROTECT, db_index=False)
    day = models.DateField(help_text="UTC")
    job_type = models.CharField(max_length=64)
    submitted = models.BigIntegerField(db_default=0, help_text="admitted")
    started = models.BigIntegerField(db_default=0, help_text="attempts that ran and ended")
    succeeded = models.BigIntegerField(db_default=0)
    failed = models.BigIntegerField(db_default=0, help_text="failed or timed out, for good")
    cancelled = models.BigIntegerField(db_default=0)
    rejected = models.BigIntegerField(db_default=0)
    worker_seconds = models.FloatField(db_default=0.0, help_text="from claim to end, of attempts that ended")

    objects = TenantManager["UsageDaily"]()
    every = models.Manager["UsageDaily"]()

    class Meta:
        db_table = "usage_daily"
        ordering = ["-day", "tenant_id", "job_type"]
        base_manager_name = "every"
        constraints = [models.UniqueConstraint(fields=["tenant", "day", "job_type"], name="usage_of_a_day_once")]

    def __str__(self) -> str:
        return f"{self.tenant_id} {self.day} {self.job_type}"


class SubscriptionState(models.TextChoices):
    """Whether a subscription entitles."""

    ACTIVE = "active", "active"
    ENDED = "ended", "ended"


class Subscription(models.Model):
    """A tenant's plan."""

    tenant = models.OneToOneField(Tenant, models.PROTECT, primary_key=True)
    plan = models.ForeignKey(Plan, models.PROTECT)
    state = models.CharField(max_length=16, choices=SubscriptionState, default=SubscriptionState.ACTIVE)
    valid_until = models.DateTimeField(null=True, blank=True)
    changed_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "subscriptions"
        constraints = [
            models.CheckConstraint(
                condition=models.Q(state__in=SubscriptionState.values), name="subscription_state_known"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.tenant_id} on {self.plan_id}"

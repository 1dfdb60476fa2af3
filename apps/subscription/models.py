"""The built-in catalogue of Subscription: plans with their entitlements and limits, and who is on which."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Now

from apps.tenancy.models import Tenant


class Plan(models.Model):
    """What a tenant on this plan may run, and how much of it."""

    plan_id = models.SlugField(primary_key=True, max_length=48)
    job_types = ArrayField(models.CharField(max_length=64), help_text="patterns such as 'ops.*' or '*'")
    weight = models.PositiveIntegerField(default=100, help_text="share of worker-seconds beside other tenants")
    max_running = models.PositiveIntegerField(default=4, help_text="slots held at any instant; more wait")
    jobs_per_day = models.PositiveIntegerField(null=True, blank=True, help_text="more are refused; empty = no limit")
    backlog_cap = models.PositiveIntegerField(default=100_000, help_text="jobs waiting at once; more are refused")
    changed_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "plans"
        ordering = ["plan_id"]

    def __str__(self) -> str:
        return self.plan_id


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

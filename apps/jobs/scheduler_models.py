"""What the scheduler keeps beside the jobs: who leads, what rates leave, when gates were shut, what it foretold."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from apps.core.database import ClockTimestamp
from apps.tenancy.context import TenantManager
from apps.tenancy.models import Tenant


class Leader(models.Model):
    """Which leader of a loop is in office: each takes the next epoch, and what an earlier one still tries is void."""

    role = models.CharField(primary_key=True, max_length=32)
    epoch = models.BigIntegerField()
    taken_at = models.DateTimeField(db_default=ClockTimestamp())

    class Meta:
        db_table = "leaders"

    def __str__(self) -> str:
        return f"{self.role}: epoch {self.epoch}"


class RateBucket(models.Model):
    """The tokens left under a rate, as of `refilled_at`: a tenant's (`tenant:acme`) or a type's (`type:ops.noop`)."""

    bucket = models.CharField(primary_key=True, max_length=128)
    tokens = models.FloatField()
    refilled_at = models.DateTimeField(db_default=ClockTimestamp())

    class Meta:
        db_table = "rate_buckets"

    def __str__(self) -> str:
        return f"{self.bucket}: {self.tokens:.1f}"


class GateInterval(models.Model):
    """A time during which a gate was shut, for whomever it concerns; null means whatever. Written each second.

    Kept for each gate, not for each job: a job's waits are found by laying these over its own wait.
    """

    gate = models.CharField(max_length=32)
    environment = models.CharField(max_length=48, null=True)
    tenant_id = models.CharField(max_length=48, null=True)
    type = models.CharField(max_length=64, null=True)
    started_at = models.DateTimeField(db_default=ClockTimestamp())
    ended_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "gate_intervals"
        indexes = [
            models.Index(fields=["ended_at"], name="gate_intervals_ended"),
            models.Index(fields=["gate"], name="gate_intervals_open", condition=Q(ended_at__isnull=True)),
        ]

    def __str__(self) -> str:
        return f"{self.gate} since {self.started_at}"


class StartPrediction(models.Model):
    """When a job was first said to start: kept, so that what is said can be measured against the truth."""

    job_id = models.UUIDField(primary_key=True)
    tenant = models.ForeignKey(Tenant, models.PROTECT, db_index=False)
    environment = models.CharField(max_length=48)
    predicted_at = models.DateTimeField(db_default=ClockTimestamp())
    starts_at = models.DateTimeField()

    objects = TenantManager["StartPrediction"]()
    every = models.Manager["StartPrediction"]()

    class Meta:
        db_table = "start_predictions"
        base_manager_name = "every"
        indexes = [
            models.Index(fields=["tenant", "-predicted_at"], name="start_predictions_newest"),
            models.Index(fields=["predicted_at"], name="start_predictions_oldest"),
        ]

    def __str__(self) -> str:
        return f"{self.job_id}: {self.starts_at}"


class PoolLoad(models.Model):
    """An environment's load as the scheduler saw it, written each second: counts only, no tenant's name."""

    environment = models.CharField(primary_key=True, max_length=48)
    by_type = models.JSONField(default=dict, help_text="leases by job type")
    children = models.PositiveIntegerField(help_text="worker processes that serve it")
    waiting_weight = models.FloatField(help_text="of the tenants that wait, together")
    short_types = models.JSONField(null=True, help_text="types whose jobs travel together; empty = not noted")
    worker_in_s = models.FloatField(null=True, help_text="until the first long job ends, about; empty = none runs")
    seen_at = models.DateTimeField(db_default=ClockTimestamp())

    class Meta:
        db_table = "pool_loads"

    def __str__(self) -> str:
        return f"{self.environment}: {self.by_type}"

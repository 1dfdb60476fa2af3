"""Where jobs run and what keeps them from running: environments, the processes that serve them, pauses, breakers."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from apps.core.database import ClockTimestamp
from apps.tenancy.context import TenantManager
from apps.tenancy.models import Tenant

ENDLESS, TARGET = Q(ended_at__isnull=True), ["environment", "tenant", "type"]


class Environment(models.Model):
    """A pool of workers with its own Celery queue: how many slots it has, for whom, and where."""

    name = models.SlugField(primary_key=True, max_length=48)
    region = models.CharField(max_length=32, default="local")
    queue = models.CharField(max_length=64, unique=True, help_text="the Celery queue its workers consume")
    slots = models.PositiveIntegerField(default=4, help_text="jobs dispatched or running at any instant, at most")
    reserved_slots = models.PositiveIntegerField(
        default=0, help_text="kept from a tenant that already holds one, so that its long jobs cannot take the last"
    )
    allowed_tenants = ArrayField(models.CharField(max_length=48), null=True, blank=True, help_text="empty = every one")
    paused_until = models.DateTimeField(null=True, blank=True)
    pause_reason = models.CharField(max_length=200, null=True, blank=True)

    class Meta:
        db_table = "environments"
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(condition=Q(slots__gte=models.F("reserved_slots")), name="environment_reserve_fits"),
        ]

    def __str__(self) -> str:
        return self.name


class Process(models.Model):
    """A process of the plane that beats. A worker's row is the lease under which its jobs run."""

    process_id = models.UUIDField(primary_key=True)
    role = models.CharField(max_length=32)
    name = models.CharField(max_length=64)
    host = models.CharField(max_length=255)
    pid = models.IntegerField()
    environment = models.CharField(max_length=48, null=True, help_text="a worker's pool")
    capacity = models.PositiveIntegerField(default=0, help_text="jobs a worker runs at once")
    versions = models.JSONField(
        default=dict, help_text="of the modules whose job types it runs, as they call themselves"
    )
    state = models.CharField(max_length=16, default="live", choices=[(s, s) for s in ("live", "draining", "gone")])
    started_at = models.DateTimeField(db_default=ClockTimestamp())
    beat_at = models.DateTimeField(db_default=ClockTimestamp())
    lease_until = models.DateTimeField()

    class Meta:
        db_table = "processes"
        ordering = ["role", "name"]
        verbose_name_plural = "processes"
        indexes = [models.Index(fields=["lease_until"], name="processes_lease", condition=~Q(state="gone"))]

    def __str__(self) -> str:
        return f"{self.name} ({self.pid})"


class Pause(models.Model):
    """An interval, kept when over, in which nothing of its target is dispatched; an empty part means every one."""

    pause_id = models.UUIDField(primary_key=True)
    environment = models.ForeignKey(Environment, models.PROTECT, null=True, db_index=False)
    tenant = models.ForeignKey(Tenant, models.PROTECT, null=True, db_index=False)
    type = models.CharField(max_length=64, null=True)
    reason = models.CharField(max_length=200)
    paused_by = models.CharField(max_length=128)
    started_at = models.DateTimeField(db_default=ClockTimestamp())
    until = models.DateTimeField(null=True, help_text="ends by itself; empty = when somebody resumes")
    ended_at = models.DateTimeField(null=True, help_text="empty = not ended, or not written yet")
    ended_by = models.CharField(max_length=128, null=True, help_text="clock = by itself")

    objects = TenantManager["Pause"]()
    every = models.Manager["Pause"]()

    class Meta:
        db_table = "pauses"
        ordering = ["-pause_id"]
        base_manager_name = "every"
        constraints = [
            models.UniqueConstraint(fields=TARGET, condition=ENDLESS, nulls_distinct=False, name="pause_in_force_once"),
            models.CheckConstraint(
                condition=ENDLESS | Q(ended_at__gte=models.F("started_at")), name="pause_ends_after"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.environment_id or '*'} {self.tenant_id or '*'} {self.type or '*'}"


class Breaker(models.Model):
    """Whether something outside is taken to be away, by its name; the plane's own, no tenant's.

    The one row there is, `broker`, is written by the scheduler and read by every submission. No row = it is there.
    """

    name = models.CharField(primary_key=True, max_length=32)
    opened_at = models.DateTimeField(null=True, help_text="since when it is away; empty = it is there")
    reason = models.CharField(max_length=64, default="", help_text="the kind of error that told so")
    changed_at = models.DateTimeField(db_default=ClockTimestamp())

    class Meta:
        db_table = "breakers"
        ordering = ["name"]

    def __str__(self) -> str:
        return f"{self.name}: {'open' if self.opened_at else 'closed'}"

"""Schedules and triggers with what each of them came to. Written only by `apps.schedules.operations`."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from apps.core.database import ClockTimestamp
from apps.tenancy.context import TenantManager
from apps.tenancy.models import Tenant

CATCH_UP = ("none", "last", "all")
OVERLAP = ("allow", "skip", "wait", "cancel_running")
FIRE_STATES = ("waiting", "submitted", "refused", "skipped")


def _words(words: tuple[str, ...]) -> list[tuple[str, str]]:
    return [(word, word) for word in words]


class Schedule(models.Model):
    """A job by cron, in a time zone. `next_fire_at` is the first fire time that has no row yet."""

    schedule_id = models.UUIDField(primary_key=True)
    tenant = models.ForeignKey(Tenant, models.PROTECT, db_index=False)
    name = models.CharField(max_length=100)
    cron = models.CharField(max_length=120)
    time_zone = models.CharField(max_length=64, default="UTC")
    job = models.JSONField(help_text="the job it submits, as a submission's body has it")
    catch_up = models.CharField(max_length=8, choices=_words(CATCH_UP), default="last")
    catch_up_window_s = models.PositiveIntegerField(default=86_400)
    overlap = models.CharField(max_length=16, choices=_words(OVERLAP), default="allow")
    jitter_s = models.PositiveIntegerField(default=0)
    starts_at = models.DateTimeField(null=True)
    ends_at = models.DateTimeField(null=True)
    owner = models.CharField(max_length=128, help_text="who said last what it submits, and is its jobs' submitter")
    version = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField(db_default=ClockTimestamp())
    paused_at = models.DateTimeField(null=True)
    paused_by = models.CharField(max_length=128, null=True)
    pause_reason = models.CharField(max_length=200, null=True)
    deleted_at = models.DateTimeField(null=True)
    next_fire_at = models.DateTimeField(null=True, help_text="empty = it does not fire again")

    objects = TenantManager["Schedule"]()
    every = models.Manager["Schedule"]()

    class Meta:
        db_table = "schedules"
        ordering = ["-schedule_id"]
        base_manager_name = "every"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "name"], condition=Q(deleted_at__isnull=True), name="schedule_name_once"
            ),
            models.CheckConstraint(condition=Q(catch_up__in=CATCH_UP), name="schedule_catch_up_known"),
            models.CheckConstraint(condition=Q(overlap__in=OVERLAP), name="schedule_overlap_known"),
        ]
        indexes = [
            models.Index(fields=["tenant", "-schedule_id"], name="schedules_tenant_newest"),
            models.Index(fields=["next_fire_at"], name="schedules_due", condition=Q(next_fire_at__isnull=False)),
        ]

    def __str__(self) -> str:
        return self.name


class Fire(models.Model):
    """One fire time of a schedule, once: the job that came of it, or why there is none."""

    fire_id = models.UUIDField(primary_key=True)
    schedule = models.ForeignKey(Schedule, models.PROTECT, db_index=False)
    tenant = models.ForeignKey(Tenant, models.PROTECT, db_index=False)
    fire_at = models.DateTimeField(help_text="the time the cron expression names")
    due_at = models.DateTimeField(help_text="when it is submitted: later by the jitter")
    backfill = models.BooleanField(default=False)
    state = models.CharField(max_length=12, choices=_words(FIRE_STATES), default="waiting")
    reason_code = models.CharField(max_length=64, null=True)
    job_id = models.UUIDField(null=True)
    settled_at = models.DateTimeField(null=True)

    objects = TenantManager["Fire"]()
    every = models.Manager["Fire"]()

    class Meta:
        db_table = "schedule_fires"
        ordering = ["-fire_at"]
        base_manager_name = "every"
        constraints = [
            models.UniqueConstraint(fields=["schedule", "fire_at"], name="fire_once"),
            models.CheckConstraint(condition=Q(state__in=FIRE_STATES), name="fire_state_known"),
            models.CheckConstraint(
                condition=~Q(state="submitted") | Q(job_id__isnull=False), name="fire_submitted_has_job"
            ),
        ]
        indexes = [
            models.Index(fields=["due_at"], name="fires_waiting", condition=Q(state="waiting")),
            models.Index(fields=["schedule", "-fire_id"], name="fires_submitted", condition=Q(state="submitted")),
        ]

    def __str__(self) -> str:
        return f"{self.schedule_id} {self.fire_at}"


class Trigger(models.Model):
    """A rule: an event of this type, under these conditions, submits this job."""

    trigger_id = models.UUIDField(primary_key=True)
    tenant = models.ForeignKey(Tenant, models.PROTECT, db_index=False)
    name = models.CharField(max_length=100)
    event_type = models.CharField(max_length=64, help_text="a type, or a beginning: operations.job.*")
    conditions = models.JSONField(default=dict, help_text="attribute -> the value it must have, or a list of such")
    job = models.JSONField(help_text="the job it submits; params and concurrency key may hold ${event.…}")
    owner = models.CharField(max_length=128, help_text="its jobs' submitter")
    enabled = models.BooleanField(default=True)
    version = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField(db_default=ClockTimestamp())
    deleted_at = models.DateTimeField(null=True)

    objects = TenantManager["Trigger"]()
    every = models.Manager["Trigger"]()

    class Meta:
        db_table = "triggers"
        ordering = ["-trigger_id"]
        base_manager_name = "every"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "name"], condition=Q(deleted_at__isnull=True), name="trigger_name_once"
            ),
        ]
        indexes = [models.Index(fields=["tenant", "-trigger_id"], name="triggers_tenant_newest")]

    def __str__(self) -> str:
        return self.name


class Firing(models.Model):
    """An event that met a trigger, once: the job that came of it, or why there is none."""

    firing_id = models.UUIDField(primary_key=True)
    trigger = models.ForeignKey(Trigger, models.PROTECT, db_index=False)
    tenant = models.ForeignKey(Tenant, models.PROTECT, db_index=False)
    event_id = models.UUIDField()
    event_type = models.CharField(max_length=64)
    event_subject = models.CharField(max_length=64)
    job = models.JSONField(null=True, help_text="the job to submit, its placeholders filled")
    depth = models.PositiveSmallIntegerField(help_text="triggers in a row that led here, this one counted")
    state = models.CharField(max_length=12, choices=_words(FIRE_STATES), default="waiting")
    reason_code = models.CharField(max_length=64, null=True)
    job_id = models.UUIDField(null=True)
    created_at = models.DateTimeField(db_default=ClockTimestamp())
    settled_at = models.DateTimeField(null=True)

    objects = TenantManager["Firing"]()
    every = models.Manager["Firing"]()

    class Meta:
        db_table = "trigger_firings"
        ordering = ["-firing_id"]
        base_manager_name = "every"
        constraints = [
            models.UniqueConstraint(fields=["trigger", "event_id"], name="firing_once"),
            models.CheckConstraint(condition=Q(state__in=FIRE_STATES), name="firing_state_known"),
        ]
        indexes = [
            models.Index(fields=["created_at"], name="firings_waiting", condition=Q(state="waiting")),
            models.Index(fields=["trigger", "-firing_id"], name="firings_newest"),
            models.Index(fields=["job_id"], name="firings_job", condition=Q(job_id__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"{self.trigger_id} {self.event_id}"

"""Admin pages of schedules and triggers and of what came of them. Only to be read: their owners change them."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from unfold.contrib.filters.admin import AutocompleteSelectFilter

from apps.core.admin.markup import as_json, mono
from apps.core.admin.pages import RecordAdmin, column
from apps.schedules.models import Fire, Firing, Schedule, Trigger

COLOURS = {"submitted": "success", "refused": "danger", "skipped": "default", "waiting": "info"}


@admin.register(Schedule)
class ScheduleAdmin(RecordAdmin[Schedule]):
    """Schedules, newest first."""

    list_display = ("name", "of_tenant", "cron", "time_zone", "catch_up", "overlap", "next_fire_at", "standing")
    list_filter = (("tenant", AutocompleteSelectFilter),)
    search_fields = ("schedule_id",)
    ordering = ("-schedule_id",)
    fields = (
        "schedule_id", "name", "of_tenant", "cron", "time_zone", "shown_job", "catch_up", "catch_up_window_s",
        "overlap", "jitter_s", "starts_at", "ends_at", "owner", "version", "created_at", "paused_at", "paused_by",
        "pause_reason", "deleted_at", "next_fire_at",
    )  # fmt: skip

    @column("Tenant")
    def of_tenant(self, row: Schedule) -> str:
        """Return the tenant's id."""
        return row.tenant_id

    @column("State", label={"live": "success", "paused": "warning", "deleted": "default"})
    def standing(self, row: Schedule) -> str:
        """Return whether it fires."""
        return "deleted" if row.deleted_at else "paused" if row.paused_at else "live"

    @column("Job")
    def shown_job(self, row: Schedule) -> Any:
        """Return the job it submits."""
        return as_json(row.job)


@admin.register(Fire)
class FireAdmin(RecordAdmin[Fire]):
    """Fire times and what they came to, the newest row first."""

    list_display = ("fire_at", "of_tenant", "shown_schedule", "shown_state", "reason_code", "job_id", "backfill")
    list_filter = (("tenant", AutocompleteSelectFilter),)
    search_fields = ("fire_id", "schedule_id")
    ordering = ("-fire_id",)
    fields = (
        "fire_id", "shown_schedule", "of_tenant", "fire_at", "due_at", "backfill", "shown_state", "reason_code",
        "job_id", "settled_at",
    )  # fmt: skip

    @column("Tenant")
    def of_tenant(self, row: Fire) -> str:
        """Return the tenant's id."""
        return row.tenant_id

    @column("Schedule")
    def shown_schedule(self, row: Fire) -> Any:
        """Return the schedule's id."""
        return mono(row.schedule_id)

    @column("State", label=COLOURS)
    def shown_state(self, row: Fire) -> str:
        """Return its state."""
        return row.state


@admin.register(Trigger)
class TriggerAdmin(RecordAdmin[Trigger]):
    """Triggers, newest first."""

    list_display = ("name", "of_tenant", "event_type", "enabled", "owner", "created_at", "deleted_at")
    list_filter = (("tenant", AutocompleteSelectFilter),)
    search_fields = ("trigger_id",)
    ordering = ("-trigger_id",)
    fields = (
        "trigger_id", "name", "of_tenant", "event_type", "shown_conditions", "shown_job", "enabled", "owner", "version",
        "created_at", "deleted_at",
    )  # fmt: skip

    @column("Tenant")
    def of_tenant(self, row: Trigger) -> str:
        """Return the tenant's id."""
        return row.tenant_id

    @column("Conditions")
    def shown_conditions(self, row: Trigger) -> Any:
        """Return its conditions."""
        return as_json(row.conditions)

    @column("Job")
    def shown_job(self, row: Trigger) -> Any:
        """Return the job it submits."""
        return as_json(row.job)


@admin.register(Firing)
class FiringAdmin(RecordAdmin[Firing]):
    """Events that met triggers, newest first."""

    list_display = ("created_at", "of_tenant", "event_type", "event_subject", "depth", "shown_state", "reason_code")
    list_filter = (("tenant", AutocompleteSelectFilter),)
    search_fields = ("firing_id", "trigger_id", "job_id")
    ordering = ("-firing_id",)
    fields = (
        "firing_id", "shown_trigger", "of_tenant", "event_id", "event_type", "event_subject", "depth", "shown_job",
        "shown_state", "reason_code", "job_id", "created_at", "settled_at",
    )  # fmt: skip

    @column("Tenant")
    def of_tenant(self, row: Firing) -> str:
        """Return the tenant's id."""
        return row.tenant_id

    @column("Trigger")
    def shown_trigger(self, row: Firing) -> Any:
        """Return the trigger's id."""
        return mono(row.trigger_id)

    @column("State", label=COLOURS)
    def shown_state(self, row: Firing) -> str:
        """Return its state."""
        return row.state

    @column("Job")
    def shown_job(self, row: Firing) -> Any:
        """Return the job as it was submitted."""
        return as_json(row.job)

"""What is kept beside migrations: approvals, waves, targets and steps. Only to be read."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from unfold.contrib.filters.admin import AutocompleteSelectFilter, ChoicesDropdownFilter

from apps.core.admin.lists import SinceFilter
from apps.core.admin.markup import as_json, bar, link, mono
from apps.core.admin.pages import RecordAdmin, column
from apps.jobs.models import Job
from apps.migrations.admin.story import standing_badge
from apps.migrations.models import Approval, Migration, Step, Target, Wave


class OfMigration:
    """The columns of what belongs to a migration."""

    @column("Migration")
    def shown_migration(self, row: Any) -> Any:
        """Return the way to its migration."""
        return link(Migration, row.migration_id)

    @column("State")
    def shown_state(self, row: Any) -> Any:
        """Return where it stands."""
        return standing_badge(row.state)

    @column("Tenant")
    def of_tenant(self, row: Any) -> str:
        """Return whose it is."""
        return str(row.tenant_id)


@admin.register(Approval)
class ApprovalAdmin(OfMigration, RecordAdmin[Approval]):
    """Who agreed to which plan, newest first."""

    list_display = ("approver", "at", "of_tenant", "shown_migration")
    list_filter = (("tenant", AutocompleteSelectFilter),)
    search_fields = ("migration_id",)
    search_help_text = "A whole migration id"
    ordering = ("-approval_id",)
    fields = ("shown_migration", "of_tenant", "approver", "at", "note", "plan_checksum")


@admin.register(Wave)
class WaveAdmin(OfMigration, RecordAdmin[Wave]):
    """Waves, of the newest migrations first."""

    list_display = ("number", "shown_state", "verdict", "of_tenant", "started_at", "finished_at", "shown_migration")
    list_filter = (("tenant", AutocompleteSelectFilter), ("state", ChoicesDropdownFilter))
    search_fields = ("migration_id",)
    search_help_text = "A whole migration id"
    ordering = ("-migration_id", "number")
    heavy = ("facts",)
    fields = (
        "shown_migration", "of_tenant", "number", "shown_state", "drill", "verdict", "started_at", "baking_since",
        "held_since", "finished_at", "shown_facts",
    )  # fmt: skip

    @column("What its gates saw")
    def shown_facts(self, row: Wave) -> Any:
        """Return its gates' figures."""
        return as_json(row.facts or None)


@admin.register(Target)
class TargetAdmin(OfMigration, RecordAdmin[Target]):
    """Targets of migrations, newest first, found by their migration's id."""

    list_display = (
        "key",
        "kind",
        "shown_state",
        "wave",
        "of_tenant",
        "version_before",
        "version_after",
        "shown_migration",
    )
    list_filter = (("tenant", AutocompleteSelectFilter), ("state", ChoicesDropdownFilter), SinceFilter)
    search_fields = ("migration_id", "target_id")
    search_help_text = "A whole migration id, or a target's"
    ordering = ("-target_id",)
    heavy = ("differs",)
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("key", "kind", "shown_state"),
                    ("shown_migration", "of_tenant", "module"),
                    ("wave", "position", "holds"),
                    ("reason_code", "reason"),
                    ("version_before", "version_after"),
                    ("digest_before", "digest_after"),
                    ("started_at", "finished_at"),
                    ("shown_differs",),
                ),
            },
        ),
    )  # fmt: skip

    @column("What differs")
    def shown_differs(self, row: Target) -> Any:
        """Return the objects that are not as in the others' schemas."""
        return as_json(row.differs or None)


@admin.register(Step)
class StepAdmin(OfMigration, RecordAdmin[Step]):
    """Steps at targets, newest first, found by their migration's or target's id."""

    list_display = ("name", "phase", "shown_state", "direction", "shown_progress", "of_tenant", "shown_target")
    list_filter = (
        ("tenant", AutocompleteSelectFilter),
        ("state", ChoicesDropdownFilter),
        ("phase", ChoicesDropdownFilter),
    )
    search_fields = ("migration_id", "target_id")
    search_help_text = "A whole migration id, or a target's"
    ordering = ("-step_id",)
    fields = (
        "shown_migration", "shown_target", "of_tenant", "number", "name", "phase", "kind", "shown_state", "direction",
        "run", "shown_job", "cursor", "done", "total", "error_code", "error", "started_at", "finished_at",
        "shown_checksum",
    )  # fmt: skip

    @column("Target")
    def shown_target(self, row: Step) -> Any:
        """Return the way to its target."""
        return link(Target, row.target_id)

    @column("Job")
    def shown_job(self, row: Step) -> Any:
        """Return the way to its newest job."""
        return link(Job, row.job_id) if row.job_id else None

    @column("Progress")
    def shown_progress(self, row: Step) -> Any:
        """Return how far it came."""
        return bar(row.done / row.total) if row.done is not None and row.total else None

    @column("Checksum")
    def shown_checksum(self, row: Step) -> Any:
        """Return what tells it from another form of itself."""
        return mono(row.checksum)

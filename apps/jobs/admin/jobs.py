"""A job's pages: the list, and one job with its whole story. Only to be read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from unfold.contrib.filters.admin import AutocompleteSelectFilter, ChoicesDropdownFilter, RelatedDropdownFilter

from apps.core.admin.lists import SinceFilter
from apps.core.admin.markup import as_json, badge, mono, span
from apps.core.admin.pages import RecordAdmin, column
from apps.jobs.admin.story import story_of
from apps.jobs.lifecycle import Priority
from apps.jobs.models import Job
from apps.jobs.types import REGISTRY

if TYPE_CHECKING:
    from django.contrib.admin import SimpleListFilter as DropdownFilter
else:
    from unfold.contrib.filters.admin import DropdownFilter

STATUS_COLOURS = {
    "scheduled": "default",
    "blocked": "default",
    "queued": "info",
    "deferred": "warning",
    "dispatched": "primary",
    "running": "primary",
    "retrying": "warning",
    "waiting_children": "default",
    "succeeded": "success",
    "failed": "danger",
    "cancelled": "default",
    "timed_out": "danger",
    "rejected": "warning",
    "pending_audit": "warning",
}


class TypeFilter(DropdownFilter):
    """Jobs of one of the types that can run here."""

    title = "type"
    parameter_name = "type"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the installed types; asking the table for its types would read all of it."""
        return [(each.name, each.name) for each in sorted(REGISTRY, key=lambda each: each.name)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Job]) -> QuerySet[Job]:
        """Return the jobs of the type."""
        return queryset.filter(type=self.value()) if self.value() else queryset


@admin.register(Job)
class JobAdmin(RecordAdmin[Job]):
    """Jobs, newest first, found by id."""

    list_display = (
        "shown_id", "shown_status", "type", "of_tenant", "in_environment", "shown_priority", "shown_attempt",
        "submitted_at", "took", "reason_code",
    )  # fmt: skip
    list_filter = (
        ("tenant", AutocompleteSelectFilter),
        ("status", ChoicesDropdownFilter),
        TypeFilter,
        ("environment", RelatedDropdownFilter),
        SinceFilter,
    )
    search_fields = ("job_id",)
    search_help_text = "A whole job id"
    ordering = ("-job_id",)
    heavy = ("params", "result", "error", "progress", "obligations")
    compressed_fields = False
    change_form_outer_after_template = "admin/jobs/story.html"
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("shown_id", "shown_status", "reason_code"),
                    ("type", "of_tenant", "submitted_by"),
                    ("in_environment", "region", "shown_priority"),
                    ("contract", "contract_digest", "trigger"),
                ),
            },
        ),
        (
            "Run",
            {
                "fields": (
                    ("shown_attempt", "fence", "took"),
                    ("submitted_at", "queued_at", "dispatched_at"),
                    ("started_at", "finished_at", "cancel_requested_at"),
                    ("run_at", "due_at", "timeout_s"),
                    ("worker_id", "worker_pid", "concurrency_key"),
                ),
            },
        ),
        (
            "Content",
            {
                "fields": (
                    ("shown_error", "shown_progress"),
                    ("shown_params", "shown_result"),
                    ("params_digest", "shown_obligations"),
                ),
            },
        ),
    )  # fmt: skip

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the job and what is kept about it elsewhere: timeline, attempts, decisions, log lines, evidence."""
        job = self.get_object(request, object_id)
        story = {} if job is None else {"story": story_of(job)}
        return super().change_view(request, object_id, form_url, {**story, **(extra_context or {})})

    @column("Job")
    def shown_id(self, row: Job) -> Any:
        """Return its id."""
        return mono(row.job_id)

    @column("Status")
    def shown_status(self, row: Job) -> Any:
        """Return where it stands, and how it ended where that is another word."""
        stands = badge(row.status, STATUS_COLOURS.get(row.status, "default"))
        if row.outcome in {None, row.status}:
            return stands
        return format_html("{} {}", stands, badge(str(row.outcome), STATUS_COLOURS.get(str(row.outcome), "default")))

    @column("Tenant")
    def of_tenant(self, row: Job) -> str:
        """Return the tenant's id."""
        return row.tenant_id

    @column("Environment")
    def in_environment(self, row: Job) -> str:
        """Return the environment's name."""
        return row.environment_id

    @column("Priority")
    def shown_priority(self, row: Job) -> str:
        """Return the priority as the API speaks it."""
        return Priority(row.priority).word

    @column("Attempt")
    def shown_attempt(self, row: Job) -> str:
        """Return claimed attempts and how many there may be."""
        return f"{row.attempt} of {row.max_attempts}"

    @column("Took")
    def took(self, row: Job) -> str | None:
        """Return how long the last attempt ran, once the job ended."""
        if row.started_at is None or row.finished_at is None:
            return None
        return span(row.finished_at - row.started_at)

    @column("Params")
    def shown_params(self, row: Job) -> Any:
        """Return the params."""
        return as_json(row.params)

    @column("Progress")
    def shown_progress(self, row: Job) -> Any:
        """Return the progress."""
        return as_json(row.progress)

    @column("Result")
    def shown_result(self, row: Job) -> Any:
        """Return the result."""
        return as_json(row.result)

    @column("Error")
    def shown_error(self, row: Job) -> Any:
        """Return the error."""
        return as_json(row.error)

    @column("Obligations")
    def shown_obligations(self, row: Job) -> Any:
        """Return what the decisions oblige to."""
        return as_json(row.obligations or None)

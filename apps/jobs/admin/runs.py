"""What is kept beside a job: its attempts, the decisions about it, its log chunks. Only to be read, found by job id."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from unfold.contrib.filters.admin import AutocompleteSelectFilter, ChoicesDropdownFilter

from apps.core.admin.lists import SinceFilter
from apps.core.admin.markup import as_json, badge, link, log_lines, mono, span
from apps.core.admin.pages import RecordAdmin, Row, column
from apps.jobs.admin.story import WHAT_COLOURS, error_in_brief
from apps.jobs.models import Attempt, Decision, Job, LogChunk


class BesideJob(RecordAdmin[Row]):
    """Rows that name their job."""

    search_fields = ("job_id",)
    search_help_text = "A whole job id"

    @column("Job")
    def of_job(self, row: Any) -> Any:
        """Return a link to the job's page."""
        return link(Job, row.job_id)

    @column("Tenant")
    def of_tenant(self, row: Any) -> str:
        """Return the tenant's id."""
        return str(row.tenant_id)


@admin.register(Attempt)
class AttemptAdmin(BesideJob[Attempt]):
    """What each dispatch came to, newest first."""

    list_display = (
        "id",
        "of_job",
        "of_tenant",
        "fence",
        "number",
        "shown_ending",
        "took",
        "finished_at",
        "what_failed",
    )
    list_display_links = ("id",)
    list_filter = (("tenant", AutocompleteSelectFilter), ("ending", ChoicesDropdownFilter))
    ordering = ("-id",)
    heavy = ("result",)
    fieldsets = (
        (None, {"fields": ("of_job", "of_tenant", "fence", "number", "shown_ending", "worker_id", "worker_pid")}),
        ("Times", {"fields": ("dispatched_at", "started_at", "finished_at", "took", "retry_at")}),
        ("What came of it", {"fields": ("shown_error", "shown_result", "log_lines", "log_digest")}),
        ("After it was fenced off", {"fields": ("late_ending", "late_at")}),
    )

    @column("Ending")
    def shown_ending(self, row: Attempt) -> Any:
        """Return how it ended."""
        return badge(row.ending, WHAT_COLOURS.get(row.ending, "default"))

    @column("Took")
    def took(self, row: Attempt) -> str | None:
        """Return how long it ran; nothing for what was never claimed."""
        return None if row.started_at is None else span(row.finished_at - row.started_at)

    @column("Error")
    def what_failed(self, row: Attempt) -> str:
        """Return the error's class and code."""
        return error_in_brief(row.error)

    @column("Error")
    def shown_error(self, row: Attempt) -> Any:
        """Return the error."""
        return as_json(row.error)

    @column("Result")
    def shown_result(self, row: Attempt) -> Any:
        """Return the result."""
        return as_json(row.result)


@admin.register(Decision)
class DecisionAdmin(BesideJob[Decision]):
    """What Governance and Subscription answered, newest first."""

    list_display = ("shown_id", "decided_at", "point", "action", "answer", "reason_code", "of_tenant", "of_job")
    list_display_links = ("shown_id",)
    list_filter = (("tenant", AutocompleteSelectFilter), ("point", ChoicesDropdownFilter), SinceFilter)
    ordering = ("-id",)
    heavy = ("context",)
    fields = (
        "decision_id", "of_job", "of_tenant", "point", "action", "answer", "reason_code", "reason", "policy_revision",
        "decided_at", "shown_context",
    )  # fmt: skip

    @column("Decision")
    def shown_id(self, row: Decision) -> Any:
        """Return the end of its id, which is enough to tell it from its neighbours."""
        return mono(str(row.decision_id)[-12:])

    @column("Answer")
    def answer(self, row: Decision) -> Any:
        """Return the answer."""
        return badge("allowed", "success") if row.allowed else badge("refused", "warning")

    @column("Context")
    def shown_context(self, row: Decision) -> Any:
        """Return limits and obligations as answered."""
        return as_json(row.context or None)


@admin.register(LogChunk)
class LogChunkAdmin(BesideJob[LogChunk]):
    """Log lines in the batches they were written in, newest first."""

    list_display = ("id", "written_at", "of_job", "of_tenant", "fence", "first_line")
    list_display_links = ("id",)
    list_filter = (("tenant", AutocompleteSelectFilter),)
    ordering = ("-id",)
    heavy = ("lines",)
    fields = ("of_job", "of_tenant", "fence", "first_line", "written_at", "shown_lines")

    @column("Lines")
    def shown_lines(self, row: LogChunk) -> Any:
        """Return the lines as a terminal would show them."""
        return log_lines(row.lines)

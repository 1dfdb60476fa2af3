"""A migration's pages: the list, one migration with its plan, waves and targets, and what may be asked of it."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from unfold.contrib.filters.admin import AutocompleteSelectFilter, ChoicesDropdownFilter

from apps.core.admin.lists import SinceFilter
from apps.core.admin.markup import bar, mono
from apps.core.admin.pages import RecordAdmin, column
from apps.migrations.admin.acting import APPROVE, COMMANDS, LONGEST_REASON, REFUSALS, act, may, offered
from apps.migrations.admin.story import COLOURS, standing_badge, story_of
from apps.migrations.models import Migration


@admin.register(Migration)
class MigrationAdmin(RecordAdmin[Migration]):
    """Migrations, newest first, found by id. What is asked here is asked as the API asks it, by whoever signed in."""

    list_display = (
        "shown_what", "shown_status", "shown_progress", "module", "shown_risk", "of_tenant", "requested_by",
        "requested_at",
    )  # fmt: skip
    list_filter = (
        ("tenant", AutocompleteSelectFilter),
        ("status", ChoicesDropdownFilter),
        ("risk", ChoicesDropdownFilter),
        SinceFilter,
    )
    search_fields = ("id",)
    search_help_text = "A whole migration id"
    ordering = ("-id",)
    heavy = ("plan", "asked")
    # Before the facts that stand: how it stands now and what may be asked of it is what a person comes for.
    change_form_outer_before_template = "admin/migrations/story.html"
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("shown_id",),
                    ("shown_what", "module", "of_tenant"),
                    ("description",),
                    ("dry_run", "drill", "shown_risk"),
                    ("requested_by", "requested_at", "planned_at"),
                    ("shown_definition",),
                    ("shown_plan",),
                ),
            },
        ),
    )  # fmt: skip

    def get_urls(self) -> list[URLPattern]:
        """Return the pages' addresses, and the one where something is asked."""
        view = self.admin_site.admin_view(self.ask_view)
        return [
            path("<path:object_id>/ask/<slug:command>/", view, name="migrations_migration_ask"),
            *super().get_urls(),
        ]

    def ask_view(self, request: HttpRequest, object_id: str, command: str) -> HttpResponse:
        """Ask for a reason, then do it; what is refused comes back as a message."""
        migration = self.get_object(request, object_id) if command in COMMANDS else None
        if migration is None:
            raise Http404
        if not may(command, request=request):
            raise PermissionDenied
        if request.method == "GET":
            return self._confirm(request, migration, command)
        if request.method != "POST":
            return HttpResponseNotAllowed(["GET", "POST"])
        try:
            act(migration, command, asked=request.POST.dict(), by=request.user.get_username())
            messages.success(request, f"{COMMANDS[command].title}: done.")
        except REFUSALS as refusal:
            messages.error(request, f"Not done: {refusal}.")
        return HttpResponseRedirect(reverse("admin:migrations_migration_change", args=[object_id]))

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the migration with its story, and what may be asked of it."""
        migration = self.get_object(request, object_id)
        more: dict[str, Any] = {}
        if migration is not None:
            mine = migration.requested_by.casefold() == request.user.get_username().casefold()
            more = {"story": story_of(migration), "offered": offered(migration, request=request), "is_mine": mine}
        return super().change_view(request, object_id, form_url, {**more, **(extra_context or {})})

    def _confirm(self, request: HttpRequest, migration: Migration, command: str) -> HttpResponse:
        asked = COMMANDS[command]
        context = {
            **self.admin_site.each_context(request),
            "title": f"{asked.title} {migration}?",
            "opts": self.opts,
            "original": migration,
            "command": asked,
            "word": "note" if command == APPROVE else "reason",
            "longest": LONGEST_REASON,
            "standing": migration.status.replace("_", " "),
        }
        return TemplateResponse(request, "admin/migrations/ask.html", context)

    @column("Migration")
    def shown_id(self, row: Migration) -> Any:
        """Return its id."""
        return mono(row.id)

    @column("What")
    def shown_what(self, row: Migration) -> str:
        """Return which definition it runs."""
        return f"{row}{' (dry run)' if row.dry_run else ''}"

    @column("Status")
    def shown_status(self, row: Migration) -> Any:
        """Return where it stands."""
        return standing_badge(row.status)

    @column("Progress")
    def shown_progress(self, row: Migration) -> Any:
        """Return how far it came."""
        return bar(row.progress, COLOURS[row.status])

    @column("Risk", label={"low": "success", "medium": "warning", "high": "danger"})
    def shown_risk(self, row: Migration) -> str | None:
        """Return how much can go wrong."""
        return row.risk

    @column("Definition")
    def shown_definition(self, row: Migration) -> Any:
        """Return the checksum of the folder that it is run by."""
        return mono(row.definition_checksum)

    @column("Plan")
    def shown_plan(self, row: Migration) -> Any:
        """Return the checksum of what people agree to."""
        return mono(row.plan_checksum) if row.plan_checksum else None

    @column("Account")
    def of_tenant(self, row: Migration) -> str:
        """Return on whose account it runs."""
        return row.tenant_id

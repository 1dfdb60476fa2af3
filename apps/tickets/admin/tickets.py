"""A ticket's pages: the list, and one ticket with its story, its clocks, what was different, and what may be asked."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from unfold.contrib.filters.admin import AutocompleteSelectFilter, ChoicesDropdownFilter

from apps.core.admin.lists import SinceFilter
from apps.core.admin.markup import as_json, badge, link, mono
from apps.core.admin.pages import RecordAdmin, column
from apps.jobs.models import Job
from apps.tickets.admin.acting import COMMANDS, REFUSALS, act
from apps.tickets.admin.story import story_of
from apps.tickets.models import Team, Ticket

STATUS_COLOURS = {
    "open": "danger",
    "acknowledged": "warning",
    "in_progress": "primary",
    "waiting": "info",
    "resolved": "success",
    "closed": "default",
}
SEVERITY_COLOURS = {"info": "info", "warning": "warning", "error": "danger", "critical": "danger"}


@admin.register(Ticket)
class TicketAdmin(RecordAdmin[Ticket]):
    """Tickets, newest first, found by id. What is asked here is asked as the API asks it, with the version shown."""

    list_display = (
        "shown_issue", "shown_status", "shown_severity", "of_tenant", "module", "occurrences", "whose", "opened_at",
    )  # fmt: skip
    list_filter = (
        ("tenant", AutocompleteSelectFilter),
        ("status", ChoicesDropdownFilter),
        ("severity", ChoicesDropdownFilter),
        ("source", ChoicesDropdownFilter),
        SinceFilter,
    )
    search_fields = ("id", "first_job_id")
    search_help_text = "A whole ticket id, or the first job's"
    ordering = ("-id",)
    heavy = ("description", "about", "promise", "chain", "successes")
    change_form_outer_after_template = "admin/tickets/story.html"
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("shown_id", "shown_status", "shown_severity"),
                    ("issue", "of_tenant", "module"),
                    ("source", "kind", "occurrences"),
                    ("whose", "opened_by", "opened_at"),
                    ("last_seen_at", "resolved_at", "closed_at"),
                    ("resolution", "shown_merged", "shown_storm"),
                    ("shown_job", "fingerprint", "version"),
                    ("description", "shown_about"),
                ),
            },
        ),
    )  # fmt: skip

    def get_urls(self) -> list[URLPattern]:
        """Return the pages' addresses, and the one that commands are posted to."""
        asked = path("<path:object_id>/act/", self.admin_site.admin_view(self.act_view), name="tickets_ticket_act")
        return [asked, *super().get_urls()]

    def act_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Do what a form of the page asks; what is refused comes back as a message."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not request.user.has_perm("tickets.change_ticket"):
            raise PermissionDenied
        ticket = self.get_object(request, object_id)
        if ticket is None:
            raise Http404
        try:
            act(ticket, asked=request.POST.dict(), by=request.user.get_username())
            messages.success(request, "Done.")
        except REFUSALS as refusal:
            messages.error(request, f"Not done: {refusal}.")
        return HttpResponseRedirect(reverse("admin:tickets_ticket_change", args=[object_id]))

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the ticket with its story, and what may be asked."""
        ticket = self.get_object(request, object_id)
        more: dict[str, Any] = {}
        if ticket is not None:
            teams = list(Team.objects.values_list("name", flat=True))
            more = {"story": story_of(ticket), "commands": COMMANDS, "teams": teams}
        return super().change_view(request, object_id, form_url, {**more, **(extra_context or {})})

    @column("Ticket")
    def shown_id(self, row: Ticket) -> Any:
        """Return its id."""
        return mono(row.id)

    @column("Issue")
    def shown_issue(self, row: Ticket) -> str:
        """Return what is wrong."""
        return row.issue

    @column("Status")
    def shown_status(self, row: Ticket) -> Any:
        """Return where it stands."""
        return badge("merged" if row.merged_into_id else row.status, STATUS_COLOURS[row.status])

    @column("Severity")
    def shown_severity(self, row: Ticket) -> Any:
        """Return how much it hurts."""
        return badge(row.severity, SEVERITY_COLOURS[row.severity])

    @column("Tenant")
    def of_tenant(self, row: Ticket) -> str:
        """Return whose it is."""
        return row.tenant_id or "the platform"

    @column("Whose")
    def whose(self, row: Ticket) -> str | None:
        """Return to whom it is assigned."""
        return ", ".join(each for each in (row.assignee, row.team_id) if each) or None

    @column("Merged into")
    def shown_merged(self, row: Ticket) -> Any:
        """Return the way to the ticket that speaks for it."""
        return link(Ticket, row.merged_into_id) if row.merged_into_id else None

    @column("Storm")
    def shown_storm(self, row: Ticket) -> Any:
        """Return the way to its storm."""
        return link(Ticket, row.parent_id) if row.parent_id else None

    @column("First job")
    def shown_job(self, row: Ticket) -> Any:
        """Return the way to the first job whose failure it was."""
        return link(Job, row.first_job_id) if row.first_job_id else None

    @column("About")
    def shown_about(self, row: Ticket) -> Any:
        """Return what is known of the failure."""
        return as_json(row.about or None)

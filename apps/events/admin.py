"""Admin pages of the event log and of those who follow it. Only to be read."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import BigIntegerField, ExpressionWrapper, F, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from unfold.contrib.filters.admin import AutocompleteSelectFilter

from apps.core.admin.lists import SinceFilter
from apps.core.admin.markup import as_json, brief, mono
from apps.core.admin.pages import RecordAdmin, column
from apps.events import operations
from apps.events.models import Consumer, Event, FailedReaction


@admin.register(Event)
class EventAdmin(RecordAdmin[Event]):
    """The event log, newest first: what is not numbered yet, then by number. A job's events are found by its id."""

    list_display = ("place", "occurred_at", "type", "of_tenant", "shown_subject", "told")
    list_filter = (("tenant", AutocompleteSelectFilter), SinceFilter)
    search_fields = ("subject",)
    search_help_text = "A whole job id"
    ordering = ("-sequence",)
    fields = ("event_id", "place", "type", "of_tenant", "shown_subject", "occurred_at", "shown_data")

    @column("Sequence")
    def place(self, row: Event) -> str | None:
        """Return the event's number in the log."""
        return "not yet numbered" if row.sequence is None else str(row.sequence)

    @column("Tenant")
    def of_tenant(self, row: Event) -> str | None:
        """Return the tenant's id."""
        return row.tenant_id

    @column("Subject")
    def shown_subject(self, row: Event) -> Any:
        """Return the id of what it is about."""
        return mono(row.subject)

    @column("Says")
    def told(self, row: Event) -> str:
        """Return its status and reason, where it has them."""
        told = row.data if isinstance(row.data, dict) else {}
        return brief({name: told[name] for name in ("status", "reason_code", "attempt") if told.get(name) is not None})

    @column("Data")
    def shown_data(self, row: Event) -> Any:
        """Return the event's data."""
        return as_json(row.data)


@admin.register(Consumer)
class ConsumerAdmin(RecordAdmin[Consumer]):
    """Followers of the log, and how far behind its end each is."""

    list_display = ("name", "position", "behind", "moved_at")
    list_filter: ClassVar[tuple[Any, ...]] = ()
    ordering = ("name",)
    fields = ("name", "position", "behind", "moved_at")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Consumer]:
        """Return the followers with their distance from the last number given."""
        last = Event.objects.filter(sequence__isnull=False).order_by("-sequence").values("sequence")[:1]
        behind = ExpressionWrapper(Coalesce(Subquery(last), F("position")) - F("position"), BigIntegerField())
        return super().get_queryset(request).annotate(events_behind=behind)

    @column("Events behind")
    def behind(self, row: Consumer) -> int:
        """Return how many numbered events it has not been delivered."""
        return int(row.events_behind)  # type: ignore[attr-defined]  # annotated above


@admin.register(FailedReaction)
class FailedReactionAdmin(RecordAdmin[FailedReaction]):
    """Reactions that failed at an event for good: the defect repaired, have them tried again."""

    list_display = ("failed_at", "reaction", "of_event", "of_tenant", "error_class", "error_at", "tries", "again_at")
    list_filter = ("reaction", ("tenant", AutocompleteSelectFilter))
    list_select_related = ("event",)
    ordering = ("-failed_at",)
    fields = ("reaction", "of_event", "of_tenant", "error_class", "error_at", "tries", "failed_at", "again_at")
    actions = ("try_again",)  # type: ignore[assignment]  # records have none, as a rule

    @column("Event")
    def of_event(self, row: FailedReaction) -> str:
        """Return what it failed at."""
        return str(row.event)

    @column("Tenant")
    def of_tenant(self, row: FailedReaction) -> str | None:
        """Return the tenant's id."""
        return row.tenant_id

    @admin.action(description="Try again")
    def try_again(self, request: HttpRequest, queryset: QuerySet[FailedReaction]) -> None:
        """Have the reactor try them once more."""
        asked = operations.ask_again(failed_reaction_ids=queryset.values_list("pk", flat=True))
        self.message_user(request, f"{asked} will be tried again within a second.")

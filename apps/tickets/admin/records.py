"""What is kept beside tickets: every line of their logs, watchers and links. Only to be read."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from unfold.contrib.filters.admin import AutocompleteSelectFilter, ChoicesDropdownFilter

from apps.core.admin.markup import as_json, link
from apps.core.admin.pages import RecordAdmin, column
from apps.tickets.models import Entry, Link, Ticket, Watcher


class OfTicket:
    """The columns of what belongs to a ticket."""

    @column("Tenant")
    def of_tenant(self, row: Any) -> str:
        """Return whose it is."""
        return row.tenant_id or "the platform"

    @column("Ticket")
    def shown_ticket(self, row: Any) -> Any:
        """Return the way to its ticket."""
        return link(Ticket, row.ticket_id)


@admin.register(Entry)
class EntryAdmin(OfTicket, RecordAdmin[Entry]):
    """Lines of tickets' logs, newest first."""

    list_display = ("at", "kind", "by", "of_tenant", "shown_ticket")
    list_filter = (("tenant", AutocompleteSelectFilter), ("kind", ChoicesDropdownFilter))
    search_fields = ("ticket_id",)
    search_help_text = "A whole ticket id"
    ordering = ("-id",)
    heavy = ("data",)
    fields = ("shown_ticket", "of_tenant", "at", "kind", "by", "shown_data")

    @column("Detail")
    def shown_data(self, row: Entry) -> Any:
        """Return what it says beside its kind."""
        return as_json(row.data)


@admin.register(Watcher)
class WatcherAdmin(OfTicket, RecordAdmin[Watcher]):
    """Who is told of what becomes of which ticket."""

    list_display = ("person", "since", "of_tenant", "shown_ticket")
    list_filter = (("tenant", AutocompleteSelectFilter),)
    search_fields = ("ticket_id",)
    search_help_text = "A whole ticket id"
    ordering = ("-id",)
    fields = ("shown_ticket", "of_tenant", "person", "since")


@admin.register(Link)
class LinkAdmin(OfTicket, RecordAdmin[Link]):
    """What tickets are about, beside themselves."""

    list_display = ("kind", "ref", "at", "of_tenant", "shown_ticket")
    list_filter = (("tenant", AutocompleteSelectFilter), ("kind", ChoicesDropdownFilter))
    search_fields = ("ticket_id",)
    search_help_text = "A whole ticket id"
    ordering = ("-id",)
    fields = ("shown_ticket", "of_tenant", "kind", "ref", "at")

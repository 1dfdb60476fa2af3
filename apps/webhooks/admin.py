"""Admin pages of webhooks and of what became of each event owed to them. Only to be read: their owners change them."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from unfold.contrib.filters.admin import AutocompleteSelectFilter, ChoicesDropdownFilter

from apps.core.admin.lists import SinceFilter
from apps.core.admin.markup import as_json, link, listing, mono
from apps.core.admin.pages import RecordAdmin, column
from apps.webhooks.models import Delivery, Webhook

COLOURS = {"waiting": "info", "sending": "info", "delivered": "success", "failed": "danger", "held": "warning"}


@admin.register(Webhook)
class WebhookAdmin(RecordAdmin[Webhook]):
    """Webhooks, newest first."""

    list_display = (
        "shown_id", "of_tenant", "host", "shown_types", "standing", "disabled_reason", "failing_since", "delivered_at",
    )  # fmt: skip
    list_filter = (("tenant", AutocompleteSelectFilter),)
    search_fields = ("webhook_id",)
    ordering = ("-webhook_id",)
    fields = (
        "webhook_id", "of_tenant", "url", "shown_types", "description", "standing", "disabled_at", "disabled_reason",
        "failures", "failing_since", "delivered_at", "left_alone_until", "usual_ms", "secret_id", "previous_secret_id",
        "previous_until", "owner", "version", "created_at", "deleted_at", "its_deliveries",
    )  # fmt: skip

    @column("Webhook")
    def shown_id(self, row: Webhook) -> Any:
        """Return its id."""
        return mono(row.webhook_id)

    @column("Tenant")
    def of_tenant(self, row: Webhook) -> str:
        """Return the tenant's id."""
        return row.tenant_id

    @column("Events")
    def shown_types(self, row: Webhook) -> str:
        """Return what it asks for."""
        return ", ".join(row.event_types)

    @column("State", label={"live": "success", "failing": "warning", "disabled": "danger", "deleted": "default"})
    def standing(self, row: Webhook) -> str:
        """Return whether it is told."""
        if row.deleted_at or row.disabled_at:
            return "deleted" if row.deleted_at else "disabled"
        return "failing" if row.failures else "live"

    @column("Deliveries")
    def its_deliveries(self, row: Webhook) -> Any:
        """Return the way to its deliveries."""
        return listing(Delivery, "Deliveries of this webhook", webhook__webhook_id__exact=row.webhook_id)


@admin.register(Delivery)
class DeliveryAdmin(RecordAdmin[Delivery]):
    """Deliveries, newest first."""

    list_display = ("occurred_at", "of_tenant", "shown_webhook", "event_type", "shown_state", "tries", "last_answer")
    list_filter = (
        ("tenant", AutocompleteSelectFilter),
        ("webhook", AutocompleteSelectFilter),
        ("state", ChoicesDropdownFilter),
        SinceFilter,
    )
    search_fields = ("delivery_id", "event_id", "webhook_id")
    ordering = ("-delivery_id",)
    fields = (
        "delivery_id", "of_tenant", "shown_webhook", "event_id", "event_type", "occurred_at", "shown_state", "tries",
        "claim", "due_at", "settled_at", "shown_attempts",
    )  # fmt: skip

    @column("Tenant")
    def of_tenant(self, row: Delivery) -> str:
        """Return the tenant's id."""
        return row.tenant_id

    @column("Webhook")
    def shown_webhook(self, row: Delivery) -> Any:
        """Return the way to its webhook."""
        return link(Webhook, row.webhook_id)

    @column("State", label=COLOURS)
    def shown_state(self, row: Delivery) -> str:
        """Return its state."""
        return row.state

    @column("Last answer")
    def last_answer(self, row: Delivery) -> str | None:
        """Return what came of the last try."""
        last = row.attempts[-1] if row.attempts else {}
        told = last.get("status") or last.get("error")
        return None if told is None else str(told)

    @column("Tries")
    def shown_attempts(self, row: Delivery) -> Any:
        """Return what came of each try."""
        return as_json(row.attempts)

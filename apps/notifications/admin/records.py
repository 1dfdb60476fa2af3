"""Records: notifications, what was said about them, deliveries, attempts, the inbox, the ledger of promises."""

from __future__ import annotations

from typing import Any

import unfold.decorators
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.contrib.filters.admin import AutocompleteSelectFilter, ChoicesDropdownFilter

from apps.core.admin.lists import SinceFilter
from apps.core.admin.markup import as_json, badge, link, listing, mono
from apps.core.admin.pages import RecordAdmin, column
from apps.core.database import ClockTimestamp
from apps.notifications.explaining import explain
from apps.notifications.lifecycle import Action
from apps.notifications.models import Attempt, Deadline, Delivery, Group, InboxItem, Notification, Signal
from apps.notifications.operations import notify
from apps.tenancy.context import acting_for

SEVERITY_COLOURS = {"info": "info", "warning": "warning", "error": "danger", "critical": "danger"}
STATUS_COLOURS = {"pending": "info", "delivered": "success", "undelivered": "danger", "suppressed": "default"}
STATE_COLOURS = {"queued": "info", "sent": "success", "failed": "danger", "skipped": "warning"}


class OfTenant:
    """A record that may be a tenant's."""

    @column("Tenant")
    def of_tenant(self, row: Any) -> str | None:
        """Return the tenant's id; none for the platform's own."""
        tenant_id: str | None = row.tenant_id
        return tenant_id


class OfNotification(OfTenant):
    """A record that belongs to a notification."""

    @column("Notification")
    def shown_notification(self, row: Any) -> Any:
        """Return the way to its notification."""
        return link(Notification, row.notification_id)


@admin.register(Notification)
class NotificationAdmin(OfTenant, RecordAdmin[Notification]):
    """Notifications, newest first; those that are chosen can be acknowledged and resolved."""

    list_display = (
        "timestamp", "of_tenant", "shown_severity", "source", "component", "summary", "shown_status", "channel",
        "shown_end", "repeats",
    )  # fmt: skip
    list_display_links = ("timestamp",)
    list_filter = (
        ("tenant", AutocompleteSelectFilter),
        ("severity", ChoicesDropdownFilter),
        ("status", ChoicesDropdownFilter),
        ("category", ChoicesDropdownFilter),
        SinceFilter,
    )
    search_fields = ("id",)
    ordering = ("-id",)
    heavy = ("why", "details", "links")
    actions = ("acknowledge", "resolve")  # type: ignore[assignment]
    fields = (
        "id", "of_tenant", "shown_severity", "category", "classification", "shown_status", "shown_end", "source",
        "component", "group", "kind", "summary", "target", "dedup_key", "raised_by", "timestamp", "last_at", "repeats",
        "escalations", "channel", "delivered_at", "acknowledged_at", "acknowledged_by", "resolved_at", "resolved_by",
        "inhibited_by", "region", "shown_details", "shown_links", "its_story", "its_deliveries", "its_signals",
    )  # fmt: skip

    @column("Severity", label=SEVERITY_COLOURS)
    def shown_severity(self, row: Notification) -> str:
        """Return how bad it is."""
        return row.severity

    @column("Status", label=STATUS_COLOURS)
    def shown_status(self, row: Notification) -> str:
        """Return whether somebody was told."""
        return row.status

    @column("Open", label={"open": "warning", "acknowledged": "info", "resolved": "success"})
    def shown_end(self, row: Notification) -> str:
        """Return whether it is over."""
        return "resolved" if row.resolved else "acknowledged" if row.acknowledged_at else "open"

    @column("Details")
    def shown_details(self, row: Notification) -> Any:
        """Return ids, counts and codes."""
        return as_json(row.details)

    @column("Links")
    def shown_links(self, row: Notification) -> Any:
        """Return where one can read more."""
        return as_json(row.links)

    @column("Who was told, and why")
    def its_story(self, row: Notification) -> Any:
        """Return its story."""
        return as_json(explain(row.id))

    @column("Deliveries")
    def its_deliveries(self, row: Notification) -> Any:
        """Return the way to its deliveries."""
        return listing(Delivery, "Deliveries of this notification", notification__id__exact=row.id)

    @column("Signals")
    def its_signals(self, row: Notification) -> Any:
        """Return the way to what was said about it."""
        return listing(Signal, "What was said about it", notification__id__exact=row.id)

    @unfold.decorators.action(description="Acknowledge: it is not repeated any more")  # type: ignore[untyped-decorator]
    def acknowledge(self, request: HttpRequest, rows: QuerySet[Notification]) -> None:
        """Take on what was chosen."""
        self._say(request, rows, action=Action.ACKNOWLEDGE)

    @unfold.decorators.action(description="Resolve: those who were told hear of its end")  # type: ignore[untyped-decorator]
    def resolve(self, request: HttpRequest, rows: QuerySet[Notification]) -> None:
        """End what was chosen."""
        self._say(request, rows, action=Action.RESOLVE)

    def _say(self, request: HttpRequest, rows: QuerySet[Notification], *, action: Action) -> None:
        chosen = list(rows.filter(resolved=False)[:200])
        for row in chosen:
            if row.tenant_id is None:
                self._said(row, action=action, by=request.user.get_username())
            else:
                with acting_for(row.tenant_id):
                    self._said(row, action=action, by=request.user.get_username())
        messages.success(request, f"{action} of {len(chosen)} notifications")

    @staticmethod
    def _said(row: Notification, *, action: Action, by: str) -> None:
        notify(
            tenant_id=row.tenant_id,
            action=action,
            severity=row.severity,
            category=row.category,
            source=row.source,
            component=row.component,
            summary=row.summary,
            dedup_key=row.dedup_key,
            scope=row.scope,
            by=by,
        )


@admin.register(Signal)
class SignalAdmin(OfNotification, RecordAdmin[Signal]):
    """What was said about notifications."""

    list_display = (
        "said_at",
        "of_tenant",
        "action",
        "severity",
        "source",
        "said_by",
        "handled_at",
        "shown_notification",
    )
    list_filter = (("notification", AutocompleteSelectFilter), ("action", ChoicesDropdownFilter))
    search_fields = ("signal_id", "cause_event_id", "notification_id")
    ordering = ("-signal_id",)
    fields = (
        "signal_id", "of_tenant", "shown_notification", "action", "severity", "source", "dedup_key", "said_by",
        "cause_event_id", "said_at", "handled_at",
    )  # fmt: skip


@admin.register(Delivery)
class DeliveryAdmin(OfNotification, RecordAdmin[Delivery]):
    """Deliveries, newest first."""

    list_display = (
        "created_at", "of_tenant", "channel", "reason", "shown_state", "note", "tries", "sent_at", "shown_notification",
    )  # fmt: skip
    list_select_related = ("channel",)
    list_filter = (
        ("tenant", AutocompleteSelectFilter),
        ("notification", AutocompleteSelectFilter),
        ("state", ChoicesDropdownFilter),
        ("reason", ChoicesDropdownFilter),
    )
    search_fields = ("delivery_id", "notification_id", "message_id")
    ordering = ("-delivery_id",)
    fields = (
        "delivery_id", "of_tenant", "shown_notification", "channel", "reason", "round", "counts", "shown_state", "note",
        "tries", "due_at", "hedge_at", "under_way", "claim", "message_id", "group_key", "created_at", "sent_at",
        "settled_at", "its_attempts",
    )  # fmt: skip

    @column("State", label=STATE_COLOURS)
    def shown_state(self, row: Delivery) -> str:
        """Return its state."""
        return row.state

    @column("Attempts")
    def its_attempts(self, row: Delivery) -> Any:
        """Return the way to its attempts."""
        return listing(Attempt, "Attempts of this delivery", delivery__delivery_id__exact=row.delivery_id)


@admin.register(Attempt)
class AttemptAdmin(OfTenant, RecordAdmin[Attempt]):
    """Attempts, newest first."""

    list_display = ("at", "of_tenant", "took_ms", "accepted", "status", "error", "permanent", "shown_delivery")
    list_filter = (("delivery", AutocompleteSelectFilter),)
    search_fields = ("attempt_id", "delivery_id", "message_id")
    ordering = ("-attempt_id",)
    fields = (
        "attempt_id", "of_tenant", "shown_delivery", "message_id", "at", "took_ms", "accepted", "permanent", "status",
        "error",
    )  # fmt: skip

    @column("Delivery")
    def shown_delivery(self, row: Attempt) -> Any:
        """Return the way to its delivery."""
        return link(Delivery, row.delivery_id)


@admin.register(InboxItem)
class InboxItemAdmin(OfNotification, RecordAdmin[InboxItem]):
    """The inboxes, newest first; what is chosen can be marked as read."""

    list_display = ("created_at", "audience", "of_tenant", "severity", "summary", "shown_read", "shown_notification")
    list_select_related = ("notification",)
    list_filter = (("tenant", AutocompleteSelectFilter),)
    search_fields = ("item_id", "notification_id")
    ordering = ("-item_id",)
    actions = ("mark_read",)  # type: ignore[assignment]
    fields = ("item_id", "of_tenant", "audience", "shown_notification", "created_at", "read_at", "read_by")

    @column("Severity", label=SEVERITY_COLOURS)
    def severity(self, row: InboxItem) -> str:
        """Return how bad it is."""
        return row.notification.severity

    @column("Summary")
    def summary(self, row: InboxItem) -> str:
        """Return what it says."""
        return row.notification.summary

    @column("Read")
    def shown_read(self, row: InboxItem) -> Any:
        """Return who read it."""
        return badge(f"by {row.read_by}", "default") if row.read_at else badge("unread", "info")

    @unfold.decorators.action(description="Mark as read")  # type: ignore[untyped-decorator]
    def mark_read(self, request: HttpRequest, rows: QuerySet[InboxItem]) -> None:
        """Mark what was chosen as read."""
        ids = list(rows.filter(read_at=None).values_list("pk", flat=True)[:200])
        unread = InboxItem.objects.filter(pk__in=ids, read_at=None)
        count = unread.update(read_at=ClockTimestamp(), read_by=request.user.get_username())
        messages.success(request, f"{count} marked as read")


@admin.register(Deadline)
class DeadlineAdmin(OfNotification, RecordAdmin[Deadline]):
    """The ledger of promises: until when somebody had to be told."""

    list_display = ("due_at", "of_tenant", "standing", "met_at", "breached_at", "shown_notification")
    search_fields = ("notification_id",)
    ordering = ("-notification_id",)
    fields = ("of_tenant", "shown_notification", "due_at", "standing", "met_at", "breached_at")

    @column("Promise", label={"kept": "success", "broken": "danger", "open": "info", "kept late": "warning"})
    def standing(self, row: Deadline) -> str:
        """Return what became of it."""
        if row.breached_at:
            return "kept late" if row.met_at else "broken"
        return "kept" if row.met_at else "open"


@admin.register(Group)
class GroupAdmin(RecordAdmin[Group]):
    """What each channel was told last of each group."""

    list_display = ("told_at", "channel", "shown_key", "interval_s", "repeat_s", "repeats")
    list_select_related = ("channel",)
    search_fields = ("group_id",)
    ordering = ("-told_at",)
    fields = ("group_id", "channel", "group_key", "told_at", "interval_s", "repeat_s", "repeats")

    @column("Group")
    def shown_key(self, row: Group) -> Any:
        """Return the beginning of its key."""
        return mono(row.group_key[:16])

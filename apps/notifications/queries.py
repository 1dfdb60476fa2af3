"""Every read of notifications that others may use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection

from apps.notifications.models import Deadline, Notification, Signal

MOST_SIGNALS = 100
DELIVERIES = """
SELECT d.delivery_id, c.name, c.kind, d.reason, d.state, d.note, d.counts, d.tries, d.due_at, d.hedge_at, d.created_at,
       d.sent_at
  FROM notification_deliveries d JOIN notification_channels c ON c.channel_id = d.channel_id
 WHERE d.notification_id = %s ORDER BY d.created_at, d.delivery_id
"""
ATTEMPTS = """
SELECT a.delivery_id, a.at, a.took_ms, a.accepted, a.permanent, a.status, a.error, a.message_id
  FROM notification_attempts a JOIN notification_deliveries d ON d.delivery_id = a.delivery_id
 WHERE d.notification_id = %s ORDER BY a.at, a.attempt_id
"""


@dataclass(frozen=True, kw_only=True)
class Filters:
    """Which notifications; None is all. `tenant_id` is for whoever reads across tenants."""

    tenant_id: str | None = None
    severity: str | None = None
    category: str | None = None
    status: str | None = None
    source: str | None = None
    dedup_key: str | None = None
    resolved: bool | None = None
    since: datetime | None = None
    until: datetime | None = None

    def conditions(self) -> dict[str, Any]:
        """Return the filters that are set, as lookups."""
        names = {"since": "timestamp__gte", "until": "timestamp__lt"}
        return {names.get(name, name): value for name, value in vars(self).items() if value is not None}


def page(*, before: UUID | None, limit: int, filters: Filters) -> Sequence[Notification]:
    """Return the current context's notifications, newest first."""
    rows = Notification.objects.filter(**filters.conditions())
    if before is not None:
        rows = rows.filter(pk__lt=before)
    return list(rows.order_by("-pk").defer("why")[:limit])


def one(notification_id: UUID, *, tenant_id: str | None = None) -> Notification | None:
    """Return a notification of the current context, or of `tenant_id` in it; None where there is none."""
    rows = Notification.objects.filter(pk=notification_id)
    return (rows if tenant_id is None else rows.filter(tenant_id=tenant_id)).first()


def signals_of(notification_id: UUID) -> list[Signal]:
    """Return what was said about a notification last, oldest first."""
    return list(Signal.objects.filter(notification_id=notification_id).order_by("-said_at")[:MOST_SIGNALS])[::-1]


def deadline_of(notification_id: UUID) -> Deadline | None:
    """Return the promise about a notification."""
    return Deadline.objects.filter(pk=notification_id).first()


def caused_by(event_id: UUID) -> list[UUID]:
    """Return the notifications that an event was about, of the current context."""
    found = Signal.objects.filter(cause_event_id=event_id).order_by("said_at")
    return list(dict.fromkeys(found.values_list("notification_id", flat=True)))


def deliveries_of(notification_id: UUID) -> list[Mapping[str, Any]]:
    """Return a notification's deliveries, oldest first, each with its attempts."""
    with connection.cursor() as cursor:
        cursor.execute(ATTEMPTS, [notification_id])
        attempts: dict[UUID, list[dict[str, Any]]] = {}
        for delivery_id, *values in cursor.fetchall():
            names = ("at", "took_ms", "accepted", "permanent", "status", "error", "message_id")
            attempts.setdefault(delivery_id, []).append(dict(zip(names, values, strict=True)))
        cursor.execute(DELIVERIES, [notification_id])
        columns = (
            "delivery_id", "channel", "kind", "reason", "state", "note", "counts", "tries", "due_at", "fallback_at",
            "created_at", "sent_at",
        )  # fmt: skip
        return [
            {**dict(zip(columns, row, strict=True)), "attempts": attempts.get(row[0], [])} for row in cursor.fetchall()
        ]

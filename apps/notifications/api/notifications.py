"""Notifications over HTTP: who was told what, by which route, and why."""

from __future__ import annotations

from typing import Any, ClassVar

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core import asked as query
from apps.core import problems
from apps.core.ids import BadIdError, parse_id
from apps.notifications import fields, queries
from apps.notifications.models import CATEGORIES, SEVERITIES, STATUSES, Notification
from apps.notifications.queries import Filters
from apps.tenancy.authentication import principal_of
from apps.tenancy.principals import AllTenants
from apps.tenancy.reading import contexts
from apps.tenancy.rows import IN_TENANT, PAGED

TAGS = ["notifications"]
SHOWN = (
    "tenant_id", "severity", "category", "classification", "status", "resolved", "source", "component", "group",
    "summary", "dedup_key", "audience", "target", "channel", "timestamp", "last_at", "repeats", "delivered_at",
    "acknowledged_at", "acknowledged_by", "resolved_at", "resolved_by", "inhibited_by", "region",
)  # fmt: skip
FILTERS = ("severity", "category", "status", "source", "dedup_key", "resolved", "since", "until")


class Notifications(APIView):
    """The notifications."""

    required_scopes: ClassVar[dict[str, str]] = {"GET": "notify:read"}

    @extend_schema(
        operation_id="notifications_list",
        parameters=[
            *PAGED,
            OpenApiParameter("severity", str, enum=SEVERITIES),
            OpenApiParameter("category", str, enum=CATEGORIES),
            OpenApiParameter("status", str, enum=STATUSES),
            OpenApiParameter("source", str, description="the module it is about"),
            OpenApiParameter("dedup_key", str),
            OpenApiParameter("resolved", str, enum=["true", "false"]),
            OpenApiParameter("since", str, description="accepted from this time on"),
            OpenApiParameter("until", str, description="accepted before this time"),
        ],
        responses=fields.NotificationPageFields,
        tags=TAGS,
        description="Notifications, newest first; kept for 90 days after they are over.",
    )
    def get(self, request: Request) -> Response:
        """List notifications."""
        asked = query.query(request, known={"tenant_id", "limit", "cursor", *FILTERS})
        limit, before = query.limit(asked.get("limit")), query.cursor(asked.get("cursor"))
        resolved = query.word(asked, "resolved", among=["true", "false"])
        filters = Filters(
            severity=query.word(asked, "severity", among=SEVERITIES),
            category=query.word(asked, "category", among=CATEGORIES),
            status=query.word(asked, "status", among=STATUSES),
            source=asked.get("source"),
            dedup_key=asked.get("dedup_key"),
            resolved=None if resolved is None else resolved == "true",
            since=query.instant(asked, "since"),
            until=query.instant(asked, "until"),
        )
        rows: list[Notification] = []
        for context in contexts(principal_of(request), tenant_id=asked.get("tenant_id")):
            with context:
                rows += queries.page(before=before, limit=limit + 1, filters=filters)
        rows.sort(key=lambda row: row.pk, reverse=True)
        more = str(rows[limit - 1].pk) if len(rows) > limit else None
        return Response({"items": [shown(row) for row in rows[:limit]], "next": more})


class OneNotification(APIView):
    """One notification."""

    required_scopes: ClassVar[dict[str, str]] = {"GET": "notify:read"}

    @extend_schema(
        operation_id="notifications_read",
        parameters=[IN_TENANT],
        responses=fields.WholeNotificationFields,
        tags=TAGS,
        description="One notification: what was said about it, which routes were asked and why, each channel's "
        "delivery and each attempt.",
    )
    def get(self, request: Request, notification_id: str) -> Response:
        """Read a notification."""
        asked = query.query(request, known={"tenant_id"})
        try:
            wanted = parse_id(notification_id)
        except BadIdError as error:
            raise problems.NotFound from error
        principal = principal_of(request)
        for context in contexts(principal, tenant_id=asked.get("tenant_id")):
            with context:
                row = queries.one(wanted)
                if row is not None:
                    return Response(whole(row, to_all=isinstance(principal.tenants, AllTenants)))
        raise problems.NotFound


def shown(row: Notification) -> dict[str, Any]:
    """Return a notification as it is read in a list."""
    return {
        "notification_id": str(row.id),
        "class": row.kind,
        "custom_details": row.details,
        "links": [{"text": text, "href": href} for text, href in row.links.items()],
        **{name: getattr(row, name) for name in SHOWN},
    }


def whole(row: Notification, *, to_all: bool) -> dict[str, Any]:
    """Return a notification with all that was done about it; in its context.

    `to_all`: its reader is the platform's. Others are not told of routes that it did not take: those say for whom.
    """
    deadline = queries.deadline_of(row.id)
    return {
        **shown(row),
        "signals": [
            {
                "action": each.action,
                "severity": each.severity,
                "by": each.said_by,
                "at": each.said_at,
                "cause_event_id": None if each.cause_event_id is None else str(each.cause_event_id),
            }
            for each in queries.signals_of(row.id)
        ],
        "deadline": deadline
        and {"due_at": deadline.due_at, "met_at": deadline.met_at, "breached_at": deadline.breached_at},
        "deliveries": queries.deliveries_of(row.id),
        "why": [each for each in row.why if to_all or each.get("matched") is not False],
    }

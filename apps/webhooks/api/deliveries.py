"""Deliveries of a webhook over HTTP."""

from __future__ import annotations

from typing import Any, ClassVar

from django.http import HttpResponse
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core import asked as query
from apps.core import problems
from apps.core.ids import BadIdError, parse_id
from apps.tenancy.rows import ACTING, PAGED, acted, found, page
from apps.webhooks import fields
from apps.webhooks.api.shared import TAGS, disabled, shown
from apps.webhooks.lifecycle import OWED
from apps.webhooks.models import STATES, Delivery, Webhook
from apps.webhooks.operations import deliveries
from apps.webhooks.operations.webhooks import WebhookDisabledError

SHOWN = ("event_type", "occurred_at", "state", "tries", "settled_at", "attempts")


class Deliveries(APIView):
    """What became of the events owed to a webhook."""

    required_scopes: ClassVar[dict[str, str]] = {"GET": "events:read"}

    @extend_schema(
        operation_id="webhooks_deliveries",
        parameters=[*PAGED, OpenApiParameter("state", str, enum=STATES)],
        responses=fields.DeliveryPageFields,
        tags=TAGS,
        description="A webhook's deliveries, newest first, each with its tries; kept for 30 days.",
    )
    def get(self, request: Request, webhook_id: str) -> Response:
        """List deliveries."""
        with found(request, webhook_id, model=Webhook, known=("limit", "cursor", "state")) as webhook:
            asked = query.query(request, known={"tenant_id", "limit", "cursor", "state"})
            rows = Delivery.objects.filter(webhook_id=webhook.webhook_id)
            state = query.word(asked, "state", among=STATES)
            if state is not None:
                rows = rows.filter(state=state)
            return page(rows, asked=asked, before=query.cursor(asked.get("cursor")), render=_shown)


class Redeliver(APIView):
    """Send one again."""

    required_scopes: ClassVar[dict[str, str]] = {"POST": "webhooks:write"}

    @extend_schema(
        operation_id="webhooks_redeliver",
        parameters=ACTING,
        request=None,
        responses={202: fields.DeliveryFields},
        tags=TAGS,
        description="Send a delivery now, whatever became of it, under the same webhook-id. 409 `being_sent`, "
        "`webhook_disabled`.",
    )
    def post(self, request: Request, webhook_id: str, delivery_id: str) -> HttpResponse:
        """Redeliver."""
        try:
            wanted = parse_id(delivery_id)
        except BadIdError as error:
            raise problems.NotFound from error

        def act(row: Webhook) -> Response:
            mine = Delivery.objects.filter(webhook_id=row.webhook_id, delivery_id=wanted)
            if not mine.exists():
                raise problems.NotFound
            try:
                deliveries.redeliver(webhook_id=row.webhook_id, delivery_id=wanted)
            except deliveries.BeingSentError as error:
                raise problems.Conflict("The delivery is being sent just now.", code="being_sent") from error
            except WebhookDisabledError as error:
                raise disabled() from error
            return Response(_shown(mine.get()), status=status.HTTP_202_ACCEPTED)

        return acted(request, webhook_id, model=Webhook, render=shown, act=act)


class RedeliverSince(APIView):
    """Send a span of the past again."""

    required_scopes: ClassVar[dict[str, str]] = {"POST": "webhooks:write"}

    @extend_schema(
        operation_id="webhooks_redeliver_since",
        parameters=ACTING,
        request=fields.SpanFields,
        responses={202: fields.RedeliveredFields},
        tags=TAGS,
        description="Send again what failed or was held of a span of time, or with `delivered_too` all of it; "
        f"{deliveries.MOST_AT_ONCE} at most: ask for a shorter span at a time. 409 `webhook_disabled`.",
    )
    def post(self, request: Request, webhook_id: str) -> HttpResponse:
        """Redeliver a span."""

        def act(row: Webhook) -> Response:
            asked = fields.SpanFields(data=request.data)
            asked.is_valid(raise_exception=True)
            span = asked.validated_data
            if span["until"] is not None and span["until"] <= span["since"]:
                raise query.bad_field("until", "a time after `since` would be right")
            try:
                count = deliveries.redeliver_since(webhook_id=row.webhook_id, **span)
            except deliveries.TooManyDeliveriesError as error:
                said = f"more than {deliveries.MOST_AT_ONCE} deliveries: ask for a shorter span at a time"
                raise query.bad_field("since", said) from error
            except WebhookDisabledError as error:
                raise disabled() from error
            return Response({"redelivered": count}, status=status.HTTP_202_ACCEPTED)

        return acted(request, webhook_id, model=Webhook, render=shown, act=act)


def _shown(row: Delivery) -> dict[str, Any]:
    ids = {"delivery_id": str(row.delivery_id), "event_id": str(row.event_id)}
    due = row.due_at if row.state in OWED else None
    return ids | {name: getattr(row, name) for name in SHOWN} | {"next_try_at": due}

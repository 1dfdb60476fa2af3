"""The event log over HTTP: by cursor, or as a stream that goes on."""

from __future__ import annotations

from typing import Any, ClassVar

from django.http import HttpResponse, StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core import asked as query
from apps.core import sse
from apps.core.clock import system_now
from apps.events import queries
from apps.events.cloudevents import envelope
from apps.events.live import EventSource
from apps.events.queries import Filters
from apps.tenancy.authentication import principal_of
from apps.tenancy.principals import ServicePrincipal
from apps.tenancy.reading import Scope, contexts_of, scope_of

MAX_PAGE = 1000
PAGE = 100
LATEST = "latest"
POSITION_DIGITS = 18


class EventPageFields(serializers.Serializer[Any]):
    """Events after a position, oldest first; `next` is the position to ask after, always there."""

    items = serializers.ListField(child=serializers.DictField(), help_text="CloudEvents 1.0: docs/asyncapi.yaml")
    next = serializers.CharField()


class EventLog(APIView):
    """The event log."""

    required_scopes: ClassVar[dict[str, str]] = {"GET": "events:read"}
    renderer_classes = (JSONRenderer, sse.EventStreamRenderer)

    @extend_schema(
        operation_id="events_list",
        parameters=[
            OpenApiParameter(
                "after",
                str,
                description="`next` of the page before, or an event's `id` in the stream; `latest`: only what comes"
                " from now on; left out: from the beginning",
            ),
            OpenApiParameter("type", str),
            OpenApiParameter("subject", str, description="the id of what it is about"),
            OpenApiParameter("tenant_id", str),
            OpenApiParameter("limit", int, description=f"1 to {MAX_PAGE}; {PAGE} if left out; not for streams"),
            OpenApiParameter(
                "Last-Event-ID", str, location=OpenApiParameter.HEADER, description="streams: goes before `after`"
            ),
        ],
        responses={
            (200, "application/json"): EventPageFields,
            (200, sse.MEDIA_TYPE): OpenApiTypes.STR,
        },
        tags=["events"],
        description="The event log, oldest first. With `Accept: text/event-stream` it goes on as server-sent events:"
        " `id` is the cursor, `event` the type, `data` the CloudEvent; an event `end` says why the stream ends.",
    )
    def get(self, request: Request) -> Response | HttpResponse | StreamingHttpResponse:
        """Read the event log."""
        streaming = sse.wanted(request)
        asked = query.query(
            request, known={"after", "type", "subject", "tenant_id", *(() if streaming else ("limit",))}
        )
        principal = principal_of(request)
        scope = scope_of(principal, tenant_id=asked.get("tenant_id"))
        filters = Filters(type=asked.get("type"), subject=asked.get("subject"))
        if streaming:
            return _stream(request, principal=principal, scope=scope, filters=filters, after=asked.get("after"))
        position = _position(asked.get("after"), scope=scope)
        limit = query.limit(asked.get("limit"), default=PAGE, most=MAX_PAGE)
        events = queries.page(scope, position=position, upto=queries.head_of_all(), limit=limit, filters=filters)
        end = events[-1].sequence if events else position
        return Response({"items": [envelope(event) for event in events], "next": str(end)})


def _stream(
    request: Request, *, principal: ServicePrincipal, scope: Scope, filters: Filters, after: str | None
) -> HttpResponse | StreamingHttpResponse:
    """Answer with a stream that lasts as long as the token."""
    position = _position(request.headers.get("Last-Event-ID") or after, scope=scope)
    return sse.respond(
        request,
        source=lambda: EventSource(scope=scope, filters=filters, position=position),
        caller=principal.caller,
        lifetime_s=(principal.expires_at - system_now()).total_seconds(),
        # Said at once, so that who began at `latest` and is cut off before the first event comes back to this place.
        begin=f"id: {position}\n\n".encode(),
    )


def _position(text: str | None, *, scope: Scope) -> int:
    """Return the number a reader has come to; raise 400 for what no answer of ours could have said."""
    if text is None:
        return 0
    if text == LATEST:
        return _latest(scope)
    if not text.isascii() or not text.isdigit() or len(text) > POSITION_DIGITS:
        raise query.bad_field("after", f"`next` of the answer before, or '{LATEST}', would be right")
    return int(text)


def _latest(scope: Scope) -> int:
    """Return the last number that the reader itself may know of: not how much others have to tell."""
    heads = []
    for context in contexts_of(scope):
        with context:
            heads.append(queries.head())
    return max(heads, default=0)

"""Migrations over HTTP: list them, read one or follow it, and see what can be run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar
from uuid import UUID

from django.http import HttpResponse, StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core import asked as query
from apps.core import sse
from apps.core.asked import bad_field
from apps.core.clock import system_now
from apps.core.ids import BadIdError, parse_id
from apps.migrations import fields, registry, representation, standing
from apps.migrations.api.shared import TAGS, found
from apps.migrations.models import STATES, Migration, Target, Wave
from apps.migrations.tail import MigrationSource
from apps.tenancy.authentication import principal_of
from apps.tenancy.context import operator_reading
from apps.tenancy.principals import AllTenants, Tenants
from apps.tenancy.reading import contexts
from apps.tenancy.rows import IN_TENANT, PAGED

TARGETS = 100
MOST_FOUND = 1000  # migrations that one target was in, the newest


class Migrations(APIView):
    """The migrations."""

    required_scopes: ClassVar[dict[str, str]] = {"GET": "migrations:read"}

    @extend_schema(
        operation_id="migrations_list",
        parameters=[
            *PAGED,
            OpenApiParameter("status", str, enum=STATES),
            OpenApiParameter("definition", str, description="its name"),
            OpenApiParameter("module", str),
            OpenApiParameter("target", str, description="a tenant, module or environment that it was planned for"),
        ],
        responses=fields.MigrationPageFields,
        tags=TAGS,
        description="Migrations on the accounts of the token's tenants, newest first.",
    )
    def get(self, request: Request) -> Response:
        """List migrations."""
        known = {"tenant_id", "limit", "cursor", "status", "definition", "module", "target"}
        asked = query.query(request, known=known)
        limit, lookups = query.limit(asked.get("limit")), _lookups(request, asked)
        shown: list[tuple[UUID, dict[str, Any]]] = []
        for context in contexts(principal_of(request), tenant_id=asked.get("tenant_id")):
            with context:
                rows = list(Migration.objects.filter(**lookups).defer("plan")[: limit + 1])
                shown += zip([row.id for row in rows], representation.migrations(rows), strict=True)
        shown.sort(key=lambda each: each[0], reverse=True)
        more = str(shown[limit - 1][0]) if len(shown) > limit else None
        items = _unnamed([each for _, each in shown[:limit]], seen=principal_of(request).tenants)
        return Response({"items": items, "next": more})


class OneMigration(APIView):
    """One migration."""

    required_scopes: ClassVar[dict[str, str]] = {"GET": "migrations:read"}
    renderer_classes = (JSONRenderer, sse.EventStreamRenderer)

    @extend_schema(
        operation_id="migrations_read",
        parameters=[
            IN_TENANT,
            OpenApiParameter("targets", str, description="`targets_next` of the page of targets before"),
            OpenApiParameter("limit", int, description=f"how many targets: 1 to {query.MAX_PAGE}; {TARGETS}"),
        ],
        responses={(200, "application/json"): fields.WholeMigrationFields, (200, sse.MEDIA_TYPE): OpenApiTypes.STR},
        tags=TAGS,
        description="One migration with its plan, waves and targets. Targets of tenants outside the token are counted,"
        " never named. With `Accept: text/event-stream` it is told (`event` migration) each time that something moved:"
        " status, progress, eta_s and its waves, until it is over: an event `end` says so.",
    )
    def get(self, request: Request, migration_id: str) -> Response | HttpResponse | StreamingHttpResponse:
        """Read a migration, or follow it."""
        principal = principal_of(request)
        limit = query.limit(request.query_params.get("limit"), default=TARGETS)
        after = _target(request.query_params.get("targets"))
        streaming = sse.wanted(request)
        with found(request, migration_id, known={"targets", "limit"}) as row:
            waves = [] if streaming else list(Wave.objects.filter(migration_id=row.id))
            shown = {} if streaming else representation.migrations([row])[0]
        if streaming:
            return sse.respond(
                request,
                source=lambda: MigrationSource(migration_id=row.id, seen=principal.tenants),
                caller=principal.caller,
                lifetime_s=(principal.expires_at - system_now()).total_seconds(),
            )
        try:
            crowd = standing.crowd(row.id, seen=principal.tenants, after=after, limit=limit)
        except standing.NoSuchTargetError as error:
            raise bad_field("targets", "`targets_next` of the page before would be right") from error
        return Response(representation.whole(shown, row, waves=waves, crowd=crowd))


class Definitions(APIView):
    """What can be run."""

    required_scopes: ClassVar[dict[str, str]] = {"GET": "migrations:read"}

    @extend_schema(
        operation_id="migration_definitions_list",
        responses=fields.DefinitionsFields,
        tags=TAGS,
        description="The migrations that can be run here, by name and version.",
    )
    def get(self, request: Request) -> Response:
        """List the definitions."""
        query.query(request, known=set())
        every = sorted(registry.every(), key=lambda each: (each.name, each.version_from, each.version_to))
        return Response({"items": [representation.definition(each) for each in every], "next": None})


def _lookups(request: Request, asked: Mapping[str, str]) -> dict[str, Any]:
    """Return the filters that are set, as lookups."""
    lookups = {
        "id__lt": query.cursor(asked.get("cursor")),
        "status": query.word(asked, "status", among=STATES),
        "name": asked.get("definition"),
        "module": asked.get("module"),
    }
    found = {name: value for name, value in lookups.items() if value is not None}
    return found | ({"id__in": _of_target(request, asked["target"])} if "target" in asked else {})


def _of_target(request: Request, key: str) -> list[UUID]:
    """Return the migrations that a target was planned for; one that is not the caller's to see was in none."""
    ids: list[UUID] = []
    for context in contexts(principal_of(request)):
        with context:
            rows = Target.objects.filter(key=key).order_by("-target_id")
            ids += rows.values_list("migration_id", flat=True)[:MOST_FOUND]
    return ids


def _unnamed(items: list[dict[str, Any]], *, seen: Tenants) -> list[dict[str, Any]]:
    """Return the migrations without others' names in what people and gates wrote about them."""
    said = [UUID(each["id"]) for each in items if each["reason"] or each["approvals"]["given"]]
    if isinstance(seen, AllTenants) or not said:
        return items
    with operator_reading():
        hidden = standing.unseen(said, seen=seen)
    return [representation.told(each, hidden=hidden.get(UUID(each["id"]), frozenset())) for each in items]


def _target(text: str | None) -> UUID | None:
    try:
        return None if text is None else parse_id(text)
    except BadIdError as error:
        raise bad_field("targets", "`targets_next` of the page before would be right") from error

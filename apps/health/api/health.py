"""The map of health over HTTP, and one component with its history."""

from __future__ import annotations

from collections import Counter
from contextlib import AbstractContextManager
from typing import Any, ClassVar

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core import asked, problems
from apps.health import fields, queries, representation
from apps.health.api.shared import TAGS, tenant_of, visible, withheld
from apps.health.models import CLASSIFICATIONS, STATUSES
from apps.tenancy.context import in_tenant, operator_reading

OF_TENANT = OpenApiParameter("tenant_id", str, description="needed when the token names several tenants")


class Health(APIView):
    """The map."""

    required_scopes: ClassVar[dict[str, str]] = {"GET": "health:read"}

    @extend_schema(
        operation_id="health_read",
        parameters=[OF_TENANT],
        responses=fields.HealthFields,
        tags=TAGS,
        description="Every component the caller may see: the platform's own parts and its tenant's. Of other tenants "
        "it tells counts, never names. A platform token that names no tenant sees all.",
    )
    def get(self, request: Request) -> Response:
        """Read the map."""
        tenant_id = tenant_of(request, named=asked.query(request, known={"tenant_id"}).get("tenant_id"))
        with _context(tenant_id):
            watched = queries.watched()
            found = queries.components(visible(tenant_id))
            hidden = withheld(tenant_id, CLASSIFICATIONS)
            mine = None if tenant_id is None else queries.jobs_hit(tenant_id=tenant_id)
        shown = [row for row in found if row.classification not in hidden]
        counts = Counter(row.status for row in shown)
        return Response(
            {
                "status": representation.worst(shown),
                "trusted": watched.distrusted_since is None and not watched.stale,
                "distrusted_since": watched.distrusted_since,
                "looked_at": watched.looked_at,
                "stale": watched.stale,
                "counts": {status: counts[status] for status in STATUSES},
                "withheld": len(found) - len(shown),
                "modules": representation.modules(shown),
                "components": [representation.component(row, now=watched.now, mine=mine) for row in shown],
            }
        )


class OneComponent(APIView):
    """One component."""

    required_scopes: ClassVar[dict[str, str]] = {"GET": "health:read"}

    @extend_schema(
        operation_id="health_component_read",
        parameters=[OF_TENANT],
        responses=fields.OneComponentFields,
        tags=TAGS,
        description="One component with its last flips, latencies and recoveries; the tenant's own where both it and "
        "the platform have one of that name.",
    )
    def get(self, request: Request, module: str, component: str) -> Response:
        """Read a component."""
        tenant_id = tenant_of(request, named=asked.query(request, known={"tenant_id"}).get("tenant_id"))
        with _context(tenant_id):
            row = queries.one(visible(tenant_id), module=module, component=component)
            if row is None or row.classification in withheld(tenant_id, [row.classification]):
                raise problems.NotFound
            now = queries.watched().now
            mine = None if tenant_id is None else queries.jobs_hit(tenant_id=tenant_id)
            found: dict[str, Any] = representation.component(row, now=now, mine=mine) | representation.history(
                row,
                by_tenant=queries.hit(row.component_id) if tenant_id is None else None,
                hour=queries.last_hour(row.component_id, now=now),
                flips=queries.flips(row.component_id),
                receipts=queries.receipts(row.component_id),
            )
        return Response(found)


def _context(tenant_id: str | None) -> AbstractContextManager[None]:
    return operator_reading() if tenant_id is None else in_tenant(tenant_id)

"""A module's own signal over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core import problems
from apps.governance.queries import prohibitions
from apps.health import fields, queries, representation
from apps.health.api.shared import REPORT, TAGS, refused, tenant_of
from apps.health.lifecycle import Signal
from apps.health.operations import heartbeats
from apps.health.operations.heartbeats import Beat
from apps.tenancy import idempotency
from apps.tenancy.authentication import principal_of
from apps.tenancy.context import operator_reading
from apps.tenancy.idempotency import answer_once
from apps.tenancy.queries import region_of


class Heartbeats(APIView):
    """Signals of modules."""

    required_scopes: ClassVar[dict[str, str]] = {"POST": "health:report"}

    @extend_schema(
        operation_id="health_heartbeat",
        parameters=[idempotency.PARAMETER],
        request=fields.HeartbeatFields,
        responses={202: fields.ComponentFields},
        tags=TAGS,
        description="Say that a component lives and how it does. The first signal registers it, under the module that "
        "sent it: another module's is refused (403 `not_your_component`). `terms` says what is agreed of it. The "
        "database's clock dates a signal. A platform token that names no tenant reports the platform's own components "
        "(then without an Idempotency-Key); the module `operations` reports by itself (403 `reserved_module`). "
        f"At most {heartbeats.MOST_OF_A_TENANT} components a tenant: 409 `too_many_components`.",
    )
    def post(self, request: Request) -> HttpResponse:
        """Take a signal."""
        asked = fields.HeartbeatFields(data=request.data)
        asked.is_valid(raise_exception=True)
        said: Mapping[str, Any] = asked.validated_data
        tenant_id = tenant_of(request, named=said.get("tenant_id"))
        by = principal_of(request).subject
        if tenant_id is not None:
            return answer_once(request, tenant_id=tenant_id, act=lambda: _take(said, tenant_id=tenant_id, by=by))
        idempotency.refuse_key(request, reason="a key belongs to one tenant, and this is the platform's")
        with operator_reading():
            return _take(said, tenant_id=None, by=by)


def _take(said: Mapping[str, Any], *, tenant_id: str | None, by: str) -> Response:
    beat = _beat(said, tenant_id=tenant_id, by=by)
    try:
        row = heartbeats.report(beat)
    except heartbeats.ReservedError as error:
        said_so = "The plane's own parts report by themselves."
        raise problems.Forbidden(said_so, code="reserved_module") from error
    except heartbeats.NotYoursError as error:
        raise problems.Forbidden("Another module speaks for this component.", code="not_your_component") from error
    except heartbeats.TooManyComponentsError as error:
        said_so = f"There are {heartbeats.MOST_OF_A_TENANT} components already."
        raise problems.Conflict(said_so, code="too_many_components") from error
    mine = None if tenant_id is None else queries.jobs_hit(tenant_id=tenant_id)
    shown = representation.component(row, now=queries.watched().now, mine=mine)
    return Response(shown, status=status.HTTP_202_ACCEPTED)


def _beat(said: Mapping[str, Any], *, tenant_id: str | None, by: str) -> Beat:
    counts = said.get("counts") or {}
    return Beat(
        module=said.get("module") or by,
        component=said["component"],
        tenant_id=tenant_id,
        region=_region(said, tenant_id=tenant_id),
        said_by=by,
        signal=Signal(said["signal"]),
        reason=said.get("reason", ""),
        run_id=said.get("run_id"),
        latency_ms=said.get("latency_ms"),
        checks=counts.get("total"),
        errors=counts.get("failed"),
        version=said.get("version"),
        terms=said.get("terms"),
    )


def _region(said: Mapping[str, Any], *, tenant_id: str | None) -> str:
    """Return the region its row belongs to: the tenant's, where records of it must stay; and ask the policies."""
    if tenant_id is None:
        return str(said.get("region", "local"))
    region = region_of(tenant_id)
    if region is None:
        raise problems.NotFound
    forbidden = prohibitions(tenant_id=tenant_id, names=[REPORT])
    if REPORT in forbidden:
        raise refused(forbidden[REPORT])
    if said.get("region", region) != region:
        said_so = f"Records of this tenant stay in region '{region}'."
        raise problems.Forbidden(said_so, code="region_forbidden", region=region)
    return region

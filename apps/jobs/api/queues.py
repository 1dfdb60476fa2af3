"""Environments over HTTP, and what is paused in them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, ClassVar

from django.db import connection
from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core import problems
from apps.core.serializers import StrictSerializer
from apps.jobs import environments, parsing
from apps.jobs.environments import Standing
from apps.jobs.models import Pause
from apps.jobs.operations import pauses
from apps.jobs.pausing import Target
from apps.tenancy import idempotency
from apps.tenancy.authentication import principal_of
from apps.tenancy.context import operator_reading
from apps.tenancy.idempotency import answer_once
from apps.tenancy.permissions import tenant_or_404
from apps.tenancy.principals import AllTenants, ServicePrincipal
from apps.tenancy.queries import region_of

EVERY = "*"


class TargetFields(StrictSerializer):
    """Of an environment, what is resumed: all of it, a tenant's, a type's, or a tenant's of one type."""

    tenant_id = serializers.CharField(max_length=48, required=False, help_text="may be left out; see the description")
    type = serializers.CharField(max_length=64, required=False, allow_null=True, default=None)


class PauseAskedFields(TargetFields):
    """What is paused, why, and until when."""

    reason = serializers.CharField(max_length=200)
    until = serializers.DateTimeField(required=False, allow_null=True, default=None, help_text="null: until resumed")


class PauseFields(serializers.Serializer[Any]):
    """A pause as read."""

    pause_id = serializers.UUIDField()
    environment = serializers.CharField(allow_null=True, help_text="null: every one")
    tenant_id = serializers.CharField(allow_null=True, help_text="null: every tenant")
    type = serializers.CharField(allow_null=True, help_text="null: every type")
    reason = serializers.CharField()
    by = serializers.CharField()
    started_at = serializers.DateTimeField()
    until = serializers.DateTimeField(allow_null=True)
    ended_at = serializers.DateTimeField(allow_null=True)


class EnvironmentFields(serializers.Serializer[Any]):
    """An environment as read."""

    name = serializers.CharField()
    region = serializers.CharField()
    slots = serializers.IntegerField()
    reserved_slots = serializers.IntegerField()
    in_use = serializers.IntegerField(help_text="slots held now, by all who may use it")
    paused = serializers.BooleanField(help_text="it takes nothing at all")
    paused_until = serializers.DateTimeField(allow_null=True)
    pauses = PauseFields(many=True, help_text="in force, of those that may hold the caller's jobs")


class EnvironmentPageFields(serializers.Serializer[Any]):
    """The environments the caller may use."""

    items = EnvironmentFields(many=True)
    next = serializers.CharField(allow_null=True)


class Environments(APIView):
    """The environments."""

    required_scopes: ClassVar[dict[str, str]] = {"GET": "jobs:read"}

    @extend_schema(
        operation_id="environments_list",
        responses=EnvironmentPageFields,
        tags=["environments"],
        description="The environments the token's tenants may use, with their slots and what is paused in them.",
    )
    def get(self, request: Request) -> Response:
        """List environments."""
        parsing.query(request, known=set())
        return Response({"items": _seen_by(principal_of(request)), "next": None})


class OneEnvironment(APIView):
    """One environment."""

    required_scopes: ClassVar[dict[str, str]] = {"GET": "jobs:read"}

    @extend_schema(
        operation_id="environments_read", responses=EnvironmentFields, tags=["environments"], description="One of them."
    )
    def get(self, request: Request, environment: str) -> Response:
        """Read an environment."""
        parsing.query(request, known=set())
        for each in _seen_by(principal_of(request)):
            if each["name"] == environment:
                return Response(each)
        raise problems.NotFound


class PauseQueue(APIView):
    """Hold back what would be dispatched."""

    required_scopes: ClassVar[dict[str, str]] = {"POST": "jobs:control"}

    @extend_schema(
        operation_id="queues_pause",
        parameters=[idempotency.PARAMETER],
        request=PauseAskedFields,
        responses=PauseFields,
        tags=["environments"],
        description="Dispatch nothing of this environment (`*`: of any), of one type in it, of one tenant in it, or of "
        "one tenant's type, until `until` or until resumed. What is dispatched goes on. A tenant's token pauses its "
        "own tenant's; only a platform token, naming no tenant, pauses everybody's. Paused again: its reason and end "
        "are replaced. An Idempotency-Key needs a tenant.",
    )
    def post(self, request: Request, environment: str) -> HttpResponse:
        """Pause."""
        fields = PauseAskedFields(data=request.data)
        fields.is_valid(raise_exception=True)
        asked, by = fields.validated_data, principal_of(request).subject
        _must_be_to_come(asked["until"])

        def act(target: Target) -> Pause:
            return pauses.pause(target, reason=asked["reason"], until=asked["until"], by=by)

        return _answer(request, environment, asked, act=act)


class ResumeQueue(APIView):
    """Let go what a pause holds."""

    required_scopes: ClassVar[dict[str, str]] = {"POST": "jobs:control"}

    @extend_schema(
        operation_id="queues_resume",
        parameters=[idempotency.PARAMETER],
        request=TargetFields,
        responses=PauseFields,
        tags=["environments"],
        description="End the pause of just this target; 409 `not_paused` where none is in force.",
    )
    def post(self, request: Request, environment: str) -> HttpResponse:
        """Resume."""
        fields = TargetFields(data=request.data)
        fields.is_valid(raise_exception=True)
        by = principal_of(request).subject

        def act(target: Target) -> Pause:
            try:
                return pauses.resume(target, by=by)
            except pauses.NotPausedError as error:
                raise problems.Conflict("Nothing with just this target is paused.", code="not_paused") from error

        return _answer(request, environment, fields.validated_data, act=act)


def _answer(
    request: Request, environment: str, asked: dict[str, Any], *, act: Callable[[Target], Pause]
) -> HttpResponse:
    """Do `act` to the target in its tenant's context, or as the platform where it is everybody's."""
    principal = principal_of(request)
    tenant_id = asked.get("tenant_id")
    everybody = tenant_id is None and isinstance(principal.tenants, AllTenants)
    tenant_id = None if everybody else tenant_or_404(principal, tenant_id)
    usable = [] if environment == EVERY else [each["name"] for each in _seen_by(principal)]
    if environment != EVERY and environment not in usable:
        raise problems.NotFound
    target = Target(None if environment == EVERY else environment, tenant_id, asked["type"])

    def of_tenant() -> Response:
        if region_of(str(tenant_id)) is None:
            raise problems.NotFound
        return Response(_pause(act(target)))

    if tenant_id is not None:
        return answer_once(request, tenant_id=tenant_id, act=of_tenant)
    idempotency.refuse_key(request, reason="a key belongs to one tenant, and this is everybody's")
    with operator_reading():
        return Response(_pause(act(target)))


def _must_be_to_come(until: Any) -> None:
    if until is None:
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s > clock_timestamp()", [until])
        (to_come,) = cursor.fetchone() or (False,)
    if not to_come:
        raise parsing.bad_field("until", "a time to come would be right")


def _seen_by(principal: ServicePrincipal) -> list[dict[str, Any]]:
    """Return the environments of the token's tenants. Counts are everybody's, names of tenants nobody else's."""
    tenants: Collection[str] | None = None if isinstance(principal.tenants, AllTenants) else principal.tenants
    with operator_reading():
        seen = environments.pauses_seen_by(tenants=tenants)
        return [_environment(each, pauses=seen) for each in environments.standings(tenants=tenants)]


def _environment(standing: Standing, *, pauses: Sequence[Pause]) -> dict[str, Any]:
    held = [each for each in pauses if each.environment_id in {None, standing.name}]
    whole = [each for each in held if each.tenant_id is None and each.type is None]
    ends = [each.until for each in whole if each.until is not None]
    last = max([*ends, *([standing.paused_until] if standing.paused_until else [])], default=None)
    return {
        "name": standing.name,
        "region": standing.region,
        "slots": standing.slots,
        "reserved_slots": standing.reserved_slots,
        "in_use": standing.in_use,
        "paused": bool(whole) or standing.paused_until is not None,
        "paused_until": None if any(each.until is None for each in whole) else last,
        "pauses": [_pause(each) for each in held],
    }


def _pause(pause: Pause) -> dict[str, Any]:
    return {
        "pause_id": str(pause.pause_id),
        "environment": pause.environment_id,
        "tenant_id": pause.tenant_id,
        "type": pause.type,
        "reason": pause.reason,
        "by": pause.paused_by,
        "started_at": pause.started_at,
        "until": pause.until,
        "ended_at": pause.ended_at,
    }

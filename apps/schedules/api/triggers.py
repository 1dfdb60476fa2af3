"""Triggers over HTTP."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar
from uuid import UUID

from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core import problems
from apps.jobs import parsing
from apps.schedules import fields, matching
from apps.schedules.api.shared import check_template
from apps.schedules.models import Firing, Trigger
from apps.schedules.operations import triggers
from apps.schedules.operations.schedules import ChangedMeanwhileError, NameTakenError
from apps.tenancy import idempotency
from apps.tenancy.authentication import principal_of
from apps.tenancy.idempotency import answer_once
from apps.tenancy.permissions import tenant_or_404
from apps.tenancy.rows import IN_TENANT, PAGED, changes, found, listed

TAGS = ["triggers"]
FILLED = ("params", "concurrency_key")


class Triggers(APIView):
    """The triggers."""

    required_scopes: ClassVar[dict[str, str]] = {"GET": "jobs:read", "POST": "jobs:submit"}

    @extend_schema(
        operation_id="triggers_create",
        parameters=[idempotency.PARAMETER],
        request=fields.TriggerAskedFields,
        responses={201: fields.TriggerFields},
        tags=TAGS,
        description="Make a trigger: each event of its tenant that fits, from now on, submits the job once, in the "
        "caller's name, with the trigger `event`. 409 `name_taken`.",
    )
    def post(self, request: Request) -> HttpResponse:
        """Make a trigger."""
        asked = fields.TriggerAskedFields(data=request.data)
        asked.is_valid(raise_exception=True)
        values = dict(asked.validated_data)
        principal = principal_of(request)
        tenant_id = tenant_or_404(principal, values.pop("tenant_id", None))
        _check(values, tenant_id=tenant_id)

        def act() -> Response:
            try:
                made = triggers.create(values, tenant_id=tenant_id, owner=principal.subject)
            except NameTakenError as error:
                raise _name_taken() from error
            headers = {"Location": f"/operations/triggers/{made.trigger_id}"}
            return Response(_trigger(made), status=status.HTTP_201_CREATED, headers=headers)

        return answer_once(request, tenant_id=tenant_id, act=act)

    @extend_schema(
        operation_id="triggers_list",
        parameters=PAGED,
        responses=fields.TriggerPageFields,
        tags=TAGS,
        description="The triggers, newest first.",
    )
    def get(self, request: Request) -> Response:
        """List triggers."""
        return listed(request, model=Trigger, render=_trigger)


class OneTrigger(APIView):
    """One trigger."""

    required_scopes: ClassVar[dict[str, str]] = {"GET": "jobs:read", "PATCH": "jobs:submit", "DELETE": "jobs:control"}

    @extend_schema(
        operation_id="triggers_read",
        parameters=[IN_TENANT],
        responses=fields.TriggerFields,
        tags=TAGS,
        description="One trigger.",
    )
    def get(self, request: Request, trigger_id: str) -> Response:
        """Read a trigger."""
        with found(request, trigger_id, model=Trigger) as trigger:
            return Response(_trigger(trigger))

    @extend_schema(
        operation_id="triggers_change",
        parameters=[IN_TENANT],
        request=fields.TriggerPatchFields,
        responses=fields.TriggerFields,
        tags=TAGS,
        description="Change a trigger, or switch it off and on by `enabled`; its jobs are the caller's from then on.",
    )
    def patch(self, request: Request, trigger_id: str) -> HttpResponse:
        """Change a trigger."""
        owner = principal_of(request).subject

        def act(trigger: Trigger) -> None:
            asked = fields.TriggerPatchFields(data=request.data, partial=True)
            asked.is_valid(raise_exception=True)
            if "version" not in asked.validated_data:
                raise parsing.bad_field("version", "needed: the version that was read")
            values = changes(asked, request.data)
            whole = {name: getattr(trigger, name) for name in ("event_type", "conditions", "job")}
            _check({**whole, **values}, tenant_id=trigger.tenant_id)
            version = asked.validated_data["version"]
            try:
                triggers.change(values, trigger_id=trigger.trigger_id, version=version, owner=owner)
            except ChangedMeanwhileError as error:
                said = f"{error}.".capitalize()
                raise problems.Conflict(said, code="changed_meanwhile", version=error.version) from error
            except NameTakenError as error:
                raise _name_taken() from error

        return _acted(request, trigger_id, act=act)

    @extend_schema(
        operation_id="triggers_delete",
        parameters=[IN_TENANT],
        responses={204: None},
        tags=TAGS,
        description="Take a trigger away; its jobs stay.",
    )
    def delete(self, request: Request, trigger_id: str) -> HttpResponse:
        """Take a trigger away."""
        _acted(request, trigger_id, act=lambda row: triggers.delete(trigger_id=row.trigger_id))
        return HttpResponse(status=status.HTTP_204_NO_CONTENT)


class Firings(APIView):
    """What became of the events a trigger met."""

    required_scopes: ClassVar[dict[str, str]] = {"GET": "jobs:read"}

    @extend_schema(
        operation_id="triggers_firings",
        parameters=PAGED,
        responses=fields.FiringPageFields,
        tags=TAGS,
        description="A trigger's firings, newest first: the job that came of each event, or why there is none.",
    )
    def get(self, request: Request, trigger_id: str) -> Response:
        """List firings."""
        with found(request, trigger_id, model=Trigger, known=("limit", "cursor")) as trigger:
            asked = parsing.query(request, known={"tenant_id", "limit", "cursor"})
            limit, before = parsing.limit(asked.get("limit")), parsing.cursor(asked.get("cursor"))
            rows = Firing.objects.filter(trigger_id=trigger.trigger_id)
            if before is not None:
                rows = rows.filter(firing_id__lt=before)
            come = list(rows.order_by("-firing_id")[: limit + 1])
        more = str(come[limit - 1].firing_id) if len(come) > limit else None
        return Response({"items": [_firing(each) for each in come[:limit]], "next": more})


def _acted(request: Request, trigger_id: str, *, act: Callable[[Trigger], object]) -> HttpResponse:
    with found(request, trigger_id, model=Trigger) as row:
        tenant_id, wanted = row.tenant_id, row.trigger_id
    return answer_once(request, tenant_id=tenant_id, act=lambda: _act(wanted, act=act))


def _act(trigger_id: UUID, *, act: Callable[[Trigger], object]) -> Response:
    act(Trigger.objects.get(trigger_id=trigger_id))
    return Response(_trigger(Trigger.objects.get(trigger_id=trigger_id)))


def _check(values: Mapping[str, Any], *, tenant_id: str) -> None:
    """Raise the problem that names what cannot be a trigger."""
    if not matching.EVENT_TYPE.fullmatch(values["event_type"]):
        raise parsing.bad_field("event_type", "a type, or a beginning like operations.job.*, would be right")
    for name, wanted in values["conditions"].items():
        if not matching.ATTRIBUTE.fullmatch(name):
            raise parsing.bad_field(f"conditions.{name}", "subject, data.… or job.… would be right")
        if any(isinstance(each, dict | list) for each in (wanted if isinstance(wanted, list) else [wanted])):
            raise parsing.bad_field(f"conditions.{name}", "a plain value, or a list of such, would be right")
    job = values["job"]
    for name, part in job.items():
        if name not in FILLED and matching.has_placeholder(part):
            raise parsing.bad_field(f"job.{name}", "placeholders stand in params and concurrency_key alone")
        bad = matching.bad_placeholders(part) if name in FILLED else []
        if bad:
            raise parsing.bad_field(f"job.{name}", f"'{bad[0]}': an event has id, type, subject, time and data.…")
    if matching.has_placeholder(job):
        return  # what fills the params decides whether they fit: asked when it fires
    check_template(job, tenant_id=tenant_id)


def _name_taken() -> problems.Problem:
    return problems.Conflict("The tenant has another trigger of this name.", code="name_taken")


def _trigger(row: Trigger) -> dict[str, Any]:
    names = ("tenant_id", "name", "event_type", "conditions", "job", "enabled", "owner", "version", "created_at")
    return {"trigger_id": str(row.trigger_id)} | {name: getattr(row, name) for name in names}


def _firing(row: Firing) -> dict[str, Any]:
    names = ("event_type", "event_subject", "depth", "state", "reason_code", "created_at")
    ids = {"firing_id": str(row.firing_id), "event_id": str(row.event_id)}
    return ids | {name: getattr(row, name) for name in names} | {"job_id": str(row.job_id) if row.job_id else None}

"""Triggers over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.jobs import parsing
from apps.jobs.fields import DEFAULT_ENVIRONMENT
from apps.schedules import fields, matching
from apps.schedules.api.shared import check_environment, check_template, of_one_name
from apps.schedules.models import Firing, Trigger
from apps.schedules.operations import triggers
from apps.tenancy import idempotency
from apps.tenancy.authentication import principal_of
from apps.tenancy.rows import IN_TENANT, PAGED, acted, changes_asked, found, listed, made, of_one_version, page

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
        return made(request, fields=fields.TriggerAskedFields, check=_check, make=_make, render=_trigger)

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
            values, version = changes_asked(request, fields.TriggerPatchFields)
            whole = {name: getattr(trigger, name) for name in ("event_type", "conditions", "job")}
            _check({**whole, **values}, tenant_id=trigger.tenant_id)
            with of_one_version(), of_one_name("trigger"):
                triggers.change(values, trigger_id=trigger.trigger_id, version=version, owner=owner)

        return acted(request, trigger_id, model=Trigger, render=_trigger, act=act)

    @extend_schema(
        operation_id="triggers_delete",
        parameters=[IN_TENANT],
        responses={204: None},
        tags=TAGS,
        description="Take a trigger away; its jobs stay.",
    )
    def delete(self, request: Request, trigger_id: str) -> HttpResponse:
        """Take a trigger away."""
        acted(
            request,
            trigger_id,
            model=Trigger,
            render=_trigger,
            act=lambda row: triggers.delete(trigger_id=row.trigger_id),
        )
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
            rows = Firing.objects.filter(trigger_id=trigger.trigger_id)
            return page(rows, asked=asked, before=parsing.cursor(asked.get("cursor")), render=_firing)


def _make(values: Mapping[str, Any], *, tenant_id: str, owner: str) -> Trigger:
    with of_one_name("trigger"):
        return triggers.create(values, tenant_id=tenant_id, owner=owner)


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
    if matching.has_placeholder(job):  # what fills the params decides whether they fit: asked when it fires
        check_environment(str(job.get("environment", DEFAULT_ENVIRONMENT)), tenant_id=tenant_id)
        return
    check_template(job, tenant_id=tenant_id)


def _trigger(row: Trigger) -> dict[str, Any]:
    names = ("tenant_id", "name", "event_type", "conditions", "job", "enabled", "owner", "version", "created_at")
    return {"trigger_id": str(row.trigger_id)} | {name: getattr(row, name) for name in names}


def _firing(row: Firing) -> dict[str, Any]:
    names = ("event_type", "event_subject", "depth", "state", "reason_code", "created_at")
    ids = {"firing_id": str(row.firing_id), "event_id": str(row.event_id)}
    return ids | {name: getattr(row, name) for name in names} | {"job_id": str(row.job_id) if row.job_id else None}

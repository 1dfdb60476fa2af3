"""Schedules over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import Any, ClassVar

from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core.database import clock
from apps.jobs import parsing
from apps.schedules import cron, fields
from apps.schedules.api.shared import check_template, of_one_name
from apps.schedules.models import Fire, Schedule
from apps.schedules.operations import schedules
from apps.tenancy import idempotency
from apps.tenancy.authentication import principal_of
from apps.tenancy.idempotency import answer_once
from apps.tenancy.rows import ACTING, IN_TENANT, PAGED, acted, changes_asked, found, listed, made, of_one_version, page

TAGS = ["schedules"]
MOST_BACKFILLED = 1_000
NEXT_SHOWN = 5


class Schedules(APIView):
    """The schedules."""

    required_scopes: ClassVar[dict[str, str]] = {"GET": "jobs:read", "POST": "jobs:submit"}

    @extend_schema(
        operation_id="schedules_create",
        parameters=[idempotency.PARAMETER],
        request=fields.ScheduleAskedFields,
        responses={201: fields.ScheduleFields},
        tags=TAGS,
        description="Make a schedule: its jobs are submitted in the caller's name, with the trigger `schedule`, and "
        "decided like any other. 409 `name_taken`.",
    )
    def post(self, request: Request) -> HttpResponse:
        """Make a schedule."""
        return made(request, fields=fields.ScheduleAskedFields, check=_check, make=_make, render=_schedule)

    @extend_schema(
        operation_id="schedules_list",
        parameters=PAGED,
        responses=fields.SchedulePageFields,
        tags=TAGS,
        description="The schedules, newest first.",
    )
    def get(self, request: Request) -> Response:
        """List schedules."""
        return listed(request, model=Schedule, render=_schedule)


class OneSchedule(APIView):
    """One schedule."""

    required_scopes: ClassVar[dict[str, str]] = {"GET": "jobs:read", "PATCH": "jobs:submit", "DELETE": "jobs:control"}

    @extend_schema(
        operation_id="schedules_read",
        parameters=[IN_TENANT],
        responses=fields.ScheduleFields,
        tags=TAGS,
        description="One schedule, with its next fire times.",
    )
    def get(self, request: Request, schedule_id: str) -> Response:
        """Read a schedule."""
        with found(request, schedule_id, model=Schedule) as schedule:
            return Response(_schedule(schedule))

    @extend_schema(
        operation_id="schedules_change",
        parameters=[IN_TENANT],
        request=fields.SchedulePatchFields,
        responses=fields.ScheduleFields,
        tags=TAGS,
        description="Change a schedule; its jobs are the caller's from then on. 409 `changed_meanwhile`, `name_taken`.",
    )
    def patch(self, request: Request, schedule_id: str) -> HttpResponse:
        """Change a schedule."""
        owner = principal_of(request).subject

        def act(schedule: Schedule) -> None:
            values, version = changes_asked(request, fields.SchedulePatchFields)
            whole = {name: getattr(schedule, name) for name in ("cron", "time_zone", "starts_at", "ends_at", "job")}
            _check({**whole, **values}, tenant_id=schedule.tenant_id)
            with of_one_version(), of_one_name("schedule"):
                schedules.change(values, schedule_id=schedule.schedule_id, version=version, owner=owner)

        return acted(request, schedule_id, model=Schedule, render=_schedule, act=act)

    @extend_schema(
        operation_id="schedules_delete",
        parameters=[IN_TENANT],
        responses={204: None},
        tags=TAGS,
        description="Take a schedule away; its jobs stay.",
    )
    def delete(self, request: Request, schedule_id: str) -> HttpResponse:
        """Take a schedule away."""
        acted(
            request,
            schedule_id,
            model=Schedule,
            render=_schedule,
            act=lambda row: schedules.delete(schedule_id=row.schedule_id),
        )
        return HttpResponse(status=status.HTTP_204_NO_CONTENT)


class PauseSchedule(APIView):
    """Let a schedule fire no more for now."""

    required_scopes: ClassVar[dict[str, str]] = {"POST": "jobs:control"}

    @extend_schema(
        operation_id="schedules_pause",
        parameters=ACTING,
        request=fields.ReasonFields,
        responses=fields.ScheduleFields,
        tags=TAGS,
        description="Pause a schedule: the times until it is resumed are not caught up.",
    )
    def post(self, request: Request, schedule_id: str) -> HttpResponse:
        """Pause."""
        by = principal_of(request).subject

        def act(schedule: Schedule) -> None:
            asked = fields.ReasonFields(data=request.data)
            asked.is_valid(raise_exception=True)
            schedules.pause(schedule_id=schedule.schedule_id, reason=asked.validated_data["reason"], by=by)

        return acted(request, schedule_id, model=Schedule, render=_schedule, act=act)


class ResumeSchedule(APIView):
    """Let a schedule fire again."""

    required_scopes: ClassVar[dict[str, str]] = {"POST": "jobs:control"}

    @extend_schema(
        operation_id="schedules_resume",
        parameters=ACTING,
        request=None,
        responses=fields.ScheduleFields,
        tags=TAGS,
        description="Resume a schedule, from its next fire time on.",
    )
    def post(self, request: Request, schedule_id: str) -> HttpResponse:
        """Resume."""
        return acted(
            request,
            schedule_id,
            model=Schedule,
            render=_schedule,
            act=lambda row: schedules.resume(schedule_id=row.schedule_id),
        )


class Backfill(APIView):
    """Run a range of a schedule's past."""

    required_scopes: ClassVar[dict[str, str]] = {"POST": "jobs:submit"}

    @extend_schema(
        operation_id="schedules_backfill",
        parameters=ACTING,
        request=fields.RangeFields,
        responses={202: fields.BackfillFields},
        tags=TAGS,
        description=f"Fire at each time of a past range that was not fired yet, {MOST_BACKFILLED} at most, as jobs of "
        "the priority bulk. Asked again, nothing is done twice.",
    )
    def post(self, request: Request, schedule_id: str) -> HttpResponse:
        """Backfill."""
        with found(request, schedule_id, model=Schedule) as row:
            schedule = row
        asked = fields.RangeFields(data=request.data)
        asked.is_valid(raise_exception=True)
        start, end = asked.validated_data["start"], asked.validated_data["end"]
        if end > clock():
            raise parsing.bad_field("end", "a time that has passed would be right")
        if end <= start:
            raise parsing.bad_field("end", "a time after `start` would be right")
        come = cron.within(schedule.cron, zone=schedule.time_zone, start=start, end=end, most=MOST_BACKFILLED)
        if len(come) > MOST_BACKFILLED:
            raise parsing.bad_field("end", f"more than {MOST_BACKFILLED} fire times: ask for a shorter range at a time")

        def act() -> Response:
            added = schedules.backfill(come, schedule_id=schedule.schedule_id, tenant_id=schedule.tenant_id)
            return Response({"times": len(come), "added": added}, status=status.HTTP_202_ACCEPTED)

        return answer_once(request, tenant_id=schedule.tenant_id, act=act)


class Fires(APIView):
    """What became of a schedule's fire times."""

    required_scopes: ClassVar[dict[str, str]] = {"GET": "jobs:read"}

    @extend_schema(
        operation_id="schedules_fires",
        parameters=PAGED,
        responses=fields.FirePageFields,
        tags=TAGS,
        description="A schedule's fires, the latest first: the job that came of each, or why there is none.",
    )
    def get(self, request: Request, schedule_id: str) -> Response:
        """List fires."""
        with found(request, schedule_id, model=Schedule, known=("limit", "cursor")) as schedule:
            asked = parsing.query(request, known={"tenant_id", "limit", "cursor"})
            rows = Fire.objects.filter(schedule_id=schedule.schedule_id)
            before = parsing.instant(asked, "cursor")
            return page(rows, asked=asked, before=before, key="fire_at", text=_text, render=_fire)


def _make(values: Mapping[str, Any], *, tenant_id: str, owner: str) -> Schedule:
    with of_one_name("schedule"):
        return schedules.create(values, tenant_id=tenant_id, owner=owner)


def _check(values: Mapping[str, Any], *, tenant_id: str) -> None:
    """Raise the problem that names what cannot be a schedule."""
    try:
        cron.check(values["cron"], zone=values["time_zone"], now=clock())
    except cron.BadCronError as error:
        raise parsing.bad_field("cron", str(error)) from error
    except cron.BadZoneError as error:
        raise parsing.bad_field("time_zone", str(error)) from error
    starts_at, ends_at = values["starts_at"], values["ends_at"]
    if starts_at is not None and ends_at is not None and ends_at <= starts_at:
        raise parsing.bad_field("ends_at", "a time after `starts_at` would be right")
    check_template(values["job"], tenant_id=tenant_id)


def _text(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _schedule(row: Schedule) -> dict[str, Any]:
    shown: list[datetime] = []
    if row.next_fire_at is not None and row.paused_at is None:
        following = cron.times(row.cron, zone=row.time_zone, after=row.next_fire_at)
        shown = [row.next_fire_at, *islice(following, NEXT_SHOWN - 1)]
    return {
        "schedule_id": str(row.schedule_id),
        "tenant_id": row.tenant_id,
        "name": row.name,
        "cron": row.cron,
        "time_zone": row.time_zone,
        "job": row.job,
        "catch_up": row.catch_up,
        "catch_up_window_s": row.catch_up_window_s,
        "overlap": row.overlap,
        "jitter_s": row.jitter_s,
        "starts_at": row.starts_at,
        "ends_at": row.ends_at,
        "owner": row.owner,
        "version": row.version,
        "created_at": row.created_at,
        "paused_at": row.paused_at,
        "paused_by": row.paused_by,
        "pause_reason": row.pause_reason,
        "next_fires": [each for each in shown if row.ends_at is None or each < row.ends_at],
    }


def _fire(row: Fire) -> dict[str, Any]:
    names = ("fire_at", "due_at", "backfill", "state", "reason_code", "settled_at")
    return {name: getattr(row, name) for name in names} | {"job_id": str(row.job_id) if row.job_id else None}

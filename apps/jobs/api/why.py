"""Why a job does not run, over HTTP."""

from __future__ import annotations

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.jobs.api.reading import IN_TENANT, found
from apps.jobs.why import explain


class HolderFields(serializers.Serializer[Any]):
    """A job of the same tenant that holds what is waited for; `status` of one whose end is."""

    job_id = serializers.UUIDField()
    type = serializers.CharField()
    status = serializers.CharField(required=False, help_text="of those that the job depends on, and of its steps")


class GateFields(serializers.Serializer[Any]):
    """A gate that holds the job."""

    gate = serializers.CharField()
    says = serializers.CharField()
    held_by = HolderFields(many=True)
    others = serializers.IntegerField(help_text="holders that are not named: other tenants', or beyond the first ten")
    clears = serializers.CharField(help_text="what opens it")
    until = serializers.DateTimeField(allow_null=True)


class PositionFields(serializers.Serializer[Any]):
    """A job's place, from 1."""

    in_tenant = serializers.IntegerField()
    overall = serializers.IntegerField(allow_null=True, help_text="estimated by fair shares")


class CalibrationFields(serializers.Serializer[Any]):
    """How far earlier forecasts for this tenant were off."""

    predictions = serializers.IntegerField()
    median_error_s = serializers.FloatField()


class WaitPartFields(serializers.Serializer[Any]):
    """A part of the wait, by the gate that held it; `seconds` leave out when it ran or was over in between."""

    gate = serializers.CharField()
    until = serializers.DateTimeField()
    seconds = serializers.FloatField()

    def get_fields(self) -> dict[str, Any]:
        """Add `from`, which is a word of the language."""
        return {**super().get_fields(), "from": serializers.DateTimeField()}


class WaitFields(serializers.Serializer[Any]):
    """The whole wait so far: the parts add up to it."""

    total_s = serializers.FloatField()
    parts = WaitPartFields(many=True)


class WhyFields(serializers.Serializer[Any]):
    """Why a job does not run."""

    job_id = serializers.UUIDField()
    status = serializers.CharField()
    as_of = serializers.DateTimeField()
    gates = GateFields(many=True)
    position = PositionFields(allow_null=True)
    expected_start = serializers.DateTimeField(allow_null=True)
    calibration = CalibrationFields(allow_null=True)
    waits = WaitFields()


class Why(APIView):
    """Why a job does not run."""

    required_scopes: ClassVar[dict[str, str]] = {"GET": "jobs:read"}

    @extend_schema(
        operation_id="jobs_why",
        parameters=[IN_TENANT],
        responses=WhyFields,
        tags=["jobs"],
        description="Why a job does not run: every gate that holds it, who holds it (the tenant's own jobs by id, "
        "others counted), what clears it; its place and expected start, with how far earlier forecasts were off; what "
        "it waited for so far. A job that is over tells how it ended.",
    )
    def get(self, request: Request, job_id: str) -> Response:
        """Tell why a job does not run."""
        with found(request, job_id) as job:
            return Response(explain(job))

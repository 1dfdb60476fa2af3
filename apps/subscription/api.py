"""Subscription over HTTP: its catalogue as an AuthZEN 1.0 decision point, and what tenants used."""

from __future__ import annotations

import heapq
import re
from datetime import date
from typing import Any, ClassVar

from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core import asked as query
from apps.core.authzen import DecisionPoint
from apps.subscription import queries
from apps.subscription.catalogue import Catalogue
from apps.tenancy import authzen
from apps.tenancy.authentication import principal_of
from apps.tenancy.reading import contexts


@extend_schema_view(post=extend_schema(operation_id="subscription_evaluation"))
class Evaluation(authzen.Evaluation):
    """One question to Subscription."""

    catalogue: ClassVar[DecisionPoint] = Catalogue()


@extend_schema_view(post=extend_schema(operation_id="subscription_evaluations"))
class Evaluations(authzen.Evaluations):
    """Many questions to Subscription."""

    catalogue: ClassVar[DecisionPoint] = Catalogue()


class UsageFields(serializers.Serializer[Any]):
    """What a tenant used of a job type on a UTC day."""

    tenant_id = serializers.CharField()
    day = serializers.DateField()
    job_type = serializers.CharField()
    submitted = serializers.IntegerField()
    started = serializers.IntegerField()
    succeeded = serializers.IntegerField()
    failed = serializers.IntegerField()
    cancelled = serializers.IntegerField()
    rejected = serializers.IntegerField()
    worker_seconds = serializers.FloatField()


class UsagePageFields(serializers.Serializer[Any]):
    """A page of usage, newest day first."""

    items = UsageFields(many=True)
    next = serializers.CharField(allow_null=True)


class Usage(APIView):
    """What tenants used."""

    required_scopes: ClassVar[dict[str, str]] = {"GET": "jobs:read"}

    @extend_schema(
        operation_id="usage_list",
        parameters=[
            OpenApiParameter("tenant_id", str),
            OpenApiParameter("from", str, description="first UTC day, such as 2026-11-01"),
            OpenApiParameter("to", str, description="last UTC day"),
            OpenApiParameter("limit", int),
            OpenApiParameter("cursor", str, description="`next` of the page before"),
        ],
        responses=UsagePageFields,
        tags=["usage"],
        description="What was used, for each tenant, UTC day and job type, newest day first. Added up from the event "
        "log every 15 seconds, each event once.",
    )
    def get(self, request: Request) -> Response:
        """Read the usage."""
        asked = query.query(request, known={"tenant_id", "from", "to", "limit", "cursor"})
        limit = query.limit(asked.get("limit"))
        first, last = _day(asked, "from"), _day(asked, "to")
        after = _cursor(asked.get("cursor"))
        pages = []
        for context in contexts(principal_of(request), tenant_id=asked.get("tenant_id")):
            with context:
                pages.append(queries.usage(first=first, last=last, after=after, limit=limit + 1))
        rows = list(heapq.merge(*pages, key=queries.usage_place))[: limit + 1]
        more = rows[limit - 1] if len(rows) > limit else None
        return Response(
            {
                "items": [UsageFields(row).data for row in rows[:limit]],
                "next": None if more is None else f"{more.day}~{more.tenant_id}~{more.job_type}",
            }
        )


def _day(asked: dict[str, str], name: str) -> date | None:
    text = asked.get(name)
    if text is None:
        return None
    try:
        return _date(text)
    except ValueError as error:
        raise query.bad_field(name, "a day such as 2026-11-01 would be right") from error


def _cursor(text: str | None) -> tuple[date, str, str] | None:
    if text is None:
        return None
    try:
        day, tenant_id, job_type = text.split("~")
        return _date(day), tenant_id, job_type
    except ValueError as error:
        raise query.bad_field("cursor", "`next` of the page before would be right") from error


def _date(text: str) -> date:
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        raise ValueError(text)
    return date.fromisoformat(text)

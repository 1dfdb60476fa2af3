"""The history of jobs, and its beginning: submitting one, or a thousand in one transaction."""

from __future__ import annotations

import heapq
import time
from collections.abc import Mapping, Sequence
from typing import ClassVar

from django.db import transaction
from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core import metrics, problems
from apps.core.strict_json import BatchJSONParser
from apps.jobs import parsing, points, queries, representation
from apps.jobs.api.intake import FIELDS, batch_of, deciding, deciding_points, one_of_batch, refused, submission_of
from apps.jobs.api.reading import render
from apps.jobs.fields import (
    MAX_BATCH,
    TRIGGERS,
    BatchFields,
    BatchResultFields,
    JobFields,
    JobPageFields,
    SubmissionFields,
)
from apps.jobs.lifecycle import OUTCOMES, Priority, State
from apps.jobs.operations.asking import asked_ahead
from apps.jobs.operations.submit import (
    DecisionPoints,
    NotTakenError,
    Submission,
    Submitted,
    UnknownTenantError,
    submit,
    submit_all,
)
from apps.tenancy import idempotency
from apps.tenancy.authentication import principal_of
from apps.tenancy.context import in_tenant
from apps.tenancy.idempotency import answer_once
from apps.tenancy.reading import contexts

LIST_FILTERS = (*parsing.FILTERS, "tenant_id", "limit", "cursor")
MAX_TENANTS_A_BATCH = 20


class Jobs(APIView):
    """Submit a job; read the history."""

    required_scopes: ClassVar[dict[str, str]] = {"GET": "jobs:read", "POST": "jobs:submit"}

    @extend_schema(
        operation_id="jobs_submit",
        parameters=[idempotency.PARAMETER],
        request=SubmissionFields,
        responses={202: JobFields},
        tags=["jobs"],
        description="Submit a job: 202 with the job. A refusal is 403 (over a limit: 429); the job is kept, rejected.",
    )
    def post(self, request: Request) -> HttpResponse:
        """Submit a job."""
        arrived = time.monotonic()
        submission = submission_of(FIELDS.run_validation(request.data), principal=principal_of(request))

        asked = asked_ahead([submission], points=points.in_force())

        def act() -> Response | problems.Problem:
            with deciding():
                made = submit(submission, points=asked)
            return _entered(submission, made=made, arrived=arrived)

        return answer_once(request, tenant_id=submission.tenant_id, act=act)

    @extend_schema(
        operation_id="jobs_list",
        parameters=[
            OpenApiParameter("tenant_id", str),
            OpenApiParameter("type", str),
            OpenApiParameter("status", str, enum=[state.value for state in State]),
            OpenApiParameter("outcome", str, enum=sorted(state.value for state in OUTCOMES)),
            OpenApiParameter("contract", str, description="name@version"),
            OpenApiParameter("environment", str),
            OpenApiParameter("priority", str, enum=[each.word for each in Priority]),
            OpenApiParameter("trigger", str, enum=list(TRIGGERS)),
            OpenApiParameter("submitted_by", str, description="the calling module"),
            OpenApiParameter("concurrency_key", str),
            OpenApiParameter("parent_id", OpenApiTypes.UUID),
            OpenApiParameter("submitted_after", OpenApiTypes.DATETIME, description="at or after"),
            OpenApiParameter("submitted_before", OpenApiTypes.DATETIME, description="before"),
            OpenApiParameter("limit", int, description=f"1 to {parsing.MAX_PAGE}; {parsing.PAGE} if left out"),
            OpenApiParameter("cursor", str, description="`next` of the page before"),
        ],
        responses=JobPageFields,
        tags=["jobs"],
        description="The history, newest first.",
    )
    def get(self, request: Request) -> Response:
        """List jobs, newest first."""
        asked = parsing.query(request, known=LIST_FILTERS)
        limit = parsing.limit(asked.get("limit"))
        wanted = parsing.filters(asked)
        pages = []
        for context in contexts(principal_of(request), tenant_id=asked.get("tenant_id")):
            with context:
                pages.append(render(queries.page(wanted, limit=limit + 1)))
        items = list(heapq.merge(*pages, key=lambda item: item["job_id"], reverse=True))[: limit + 1]
        more = items[limit - 1]["job_id"] if len(items) > limit else None
        return Response({"items": items[:limit], "next": more})


class Batch(APIView):
    """Many jobs at once."""

    required_scopes: ClassVar[dict[str, str]] = {"POST": "jobs:submit"}
    parser_classes = (BatchJSONParser,)

    @extend_schema(
        operation_id="jobs_submit_batch",
        parameters=[idempotency.PARAMETER],
        request=BatchFields,
        responses={202: BatchResultFields},
        tags=["jobs"],
        description=f"Submit up to {MAX_BATCH} jobs in one transaction: 202 with a result for each, in order. What is "
        "wrong with one is told in its place, and the others go in; limits count the batch's own jobs. The jobs may be "
        f"of up to {MAX_TENANTS_A_BATCH} tenants that the token names; with an Idempotency-Key, of one.",
    )
    def post(self, request: Request) -> HttpResponse:
        """Submit many jobs."""
        asked = batch_of(request.data, principal=principal_of(request))
        by_tenant: dict[str, list[int]] = {}
        for place, each in enumerate(asked):
            if isinstance(each, Submission):
                by_tenant.setdefault(each.tenant_id, []).append(place)
        if len(by_tenant) > MAX_TENANTS_A_BATCH:
            raise parsing.bad_field("jobs", f"jobs of {len(by_tenant)} tenants: at most {MAX_TENANTS_A_BATCH} in one")
        submissions = [each for each in asked if isinstance(each, Submission)]
        ahead = asked_ahead(submissions, points=points.in_force())
        if len(by_tenant) == 1:
            (tenant_id,) = by_tenant
            return answer_once(request, tenant_id=tenant_id, act=lambda: _batch(asked, by_tenant, points=ahead))
        idempotency.refuse_key(
            request, reason="a key belongs to one tenant, and this batch has jobs of several or none"
        )
        # One transaction, in which one tenant's context follows another: each is left before the next is entered.
        with transaction.atomic():
            return _batch(asked, by_tenant, points=ahead)


def _batch(
    asked: Sequence[Submission | problems.Problem], by_tenant: Mapping[str, Sequence[int]], *, points: DecisionPoints
) -> Response:
    """Submit what can be, tenant by tenant, and return the answer; call inside a transaction."""
    results = [one_of_batch(each) if isinstance(each, problems.Problem) else {} for each in asked]
    for tenant_id, places in sorted(by_tenant.items()):
        submissions = [each for place in places if isinstance(each := asked[place], Submission)]
        made: Sequence[Submitted | NotTakenError | problems.Problem]
        try:
            with deciding_points(), in_tenant(tenant_id):
                made = submit_all(submissions, points=points)
        except UnknownTenantError:
            made = [problems.NotFound()] * len(places)
        for place, submission, came in zip(places, submissions, made, strict=True):
            results[place] = one_of_batch(came)
            if isinstance(came, Submitted):
                _count(submission, made=came)
    return Response({"results": results}, status=status.HTTP_202_ACCEPTED)


def _entered(submission: Submission, *, made: Submitted, arrived: float) -> Response | problems.Problem:
    """Return the answer to a submission, in its tenant's context: the job, or why it may not be."""
    _count(submission, made=made)
    if made.refusal is not None:
        return refused(made, refusal=made.refusal)
    transaction.on_commit(lambda: metrics.job_scheduled(seconds=time.monotonic() - arrived), robust=True)
    body = representation.entered(made)
    return Response(body, status=status.HTTP_202_ACCEPTED, headers={"Location": body["links"]["self"]})


def _count(submission: Submission, *, made: Submitted) -> None:
    """Count a job that entered, once it is true."""

    def counted() -> None:
        metrics.job_entered(tenant_id=submission.tenant_id, job_type=submission.job_type.name, status=made.status.value)

    transaction.on_commit(counted, robust=True)

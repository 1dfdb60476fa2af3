"""Jobs over HTTP: parse, call one operation or query, render."""

from __future__ import annotations

import heapq
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from django.http import HttpResponse, StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import status
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core import metrics, problems, sse
from apps.core.authzen import DecisionPointAwayError
from apps.core.clock import system_now
from apps.core.ids import BadIdError, parse_id
from apps.evidence.queries import states_of
from apps.jobs import parsing, points, queries, representation
from apps.jobs.fields import JobFields, JobPageFields, LogFields, SubmissionFields, TimelineFields
from apps.jobs.lifecycle import Priority, State
from apps.jobs.models import Job
from apps.jobs.operations.submit import (
    Refusal,
    Submission,
    Submitted,
    UnknownEnvironmentError,
    UnknownTenantError,
    submit,
)
from apps.jobs.tail import LogSource
from apps.jobs.types import REGISTRY, JobType, UnknownJobTypeError
from apps.tenancy.authentication import principal_of
from apps.tenancy.context import in_tenant
from apps.tenancy.permissions import tenant_or_404
from apps.tenancy.principals import ServicePrincipal
from apps.tenancy.reading import MAX_TENANTS_A_LIST, contexts

MAX_LINES = 1000
LIST_FILTERS = ("tenant_id", "type", "status", "submitted_after", "submitted_before", "limit", "cursor")
IN_TENANT = OpenApiParameter(
    "tenant_id", str, description=f"needed when the token names more than {MAX_TENANTS_A_LIST}"
)


class Jobs(APIView):
    """Submit a job; read the history."""

    required_scopes: ClassVar[dict[str, str]] = {"GET": "jobs:read", "POST": "jobs:submit"}

    @extend_schema(
        operation_id="jobs_submit",
        request=SubmissionFields,
        responses={202: JobFields},
        tags=["jobs"],
        description="Submit a job: 202 with the job. A refusal is 403 (over a limit: 429); the job is kept, rejected.",
    )
    def post(self, request: Request) -> Response:
        """Submit a job."""
        arrived = time.monotonic()
        if "Idempotency-Key" in request.headers:
            raise problems.BadRequest(
                "This version does not serve Idempotency-Key; a job submitted with it could be doubled unnoticed.",
                code="idempotency_not_served",
            )
        principal = principal_of(request)
        fields = SubmissionFields(data=request.data)
        fields.is_valid(raise_exception=True)
        submission = _submission(fields.validated_data, principal=principal)
        with deciding(), in_tenant(submission.tenant_id):
            submitted = submit(submission, points=points.in_force())
            body = rendered([Job.objects.get(job_id=submitted.job_id)])[0]
        metrics.job_entered(tenant_id=submission.tenant_id, job_type=submission.job_type.name, status=submitted.status)
        if submitted.refusal is not None:
            raise refused(submitted, refusal=submitted.refusal)
        metrics.job_scheduled(seconds=time.monotonic() - arrived)
        return Response(body, status=status.HTTP_202_ACCEPTED, headers={"Location": body["links"]["self"]})

    @extend_schema(
        operation_id="jobs_list",
        parameters=[
            OpenApiParameter("tenant_id", str),
            OpenApiParameter("type", str),
            OpenApiParameter("status", str, enum=[state.value for state in State]),
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
        wanted = queries.Filters(
            before=parsing.cursor(asked.get("cursor")),
            job_type=asked.get("type"),
            status=parsing.state(asked.get("status")),
            submitted_after=parsing.instant(asked, "submitted_after"),
            submitted_before=parsing.instant(asked, "submitted_before"),
        )
        pages = []
        for context in contexts(principal_of(request), tenant_id=asked.get("tenant_id")):
            with context:
                pages.append(rendered(queries.page(wanted, limit=limit + 1)))
        items = list(heapq.merge(*pages, key=lambda item: item["job_id"], reverse=True))[: limit + 1]
        more = items[limit - 1]["job_id"] if len(items) > limit else None
        return Response({"items": items[:limit], "next": more})


class OneJob(APIView):
    """One job."""

    required_scopes: ClassVar[dict[str, str]] = {"GET": "jobs:read"}

    @extend_schema(
        operation_id="jobs_read", parameters=[IN_TENANT], responses=JobFields, tags=["jobs"], description="One job."
    )
    def get(self, request: Request, job_id: str) -> Response:
        """Read one job."""
        with found(request, job_id) as job:
            body = rendered([job])[0]
        return Response(body)


class Timeline(APIView):
    """A job's story."""

    required_scopes: ClassVar[dict[str, str]] = {"GET": "jobs:read"}

    @extend_schema(
        operation_id="jobs_timeline",
        parameters=[IN_TENANT],
        responses=TimelineFields,
        tags=["jobs"],
        description="A job's story.",
    )
    def get(self, request: Request, job_id: str) -> Response:
        """Read a job's story, oldest first."""
        with found(request, job_id) as job:
            items = representation.timeline(
                job, attempts=queries.attempts_of(job.job_id), decisions=queries.every_decision_of(job.job_id)
            )
        return Response({"job_id": str(job.job_id), "items": items})


class Logs(APIView):
    """A job's log."""

    required_scopes: ClassVar[dict[str, str]] = {"GET": "jobs:read"}
    renderer_classes = (JSONRenderer, sse.EventStreamRenderer)

    @extend_schema(
        operation_id="jobs_logs",
        parameters=[
            IN_TENANT,
            OpenApiParameter("after", str, description="`next` of the answer before: fence.line"),
            OpenApiParameter(
                "Last-Event-ID", str, location=OpenApiParameter.HEADER, description="streams: goes before `after`"
            ),
        ],
        responses={(200, "application/json"): LogFields, (200, sse.MEDIA_TYPE): OpenApiTypes.STR},
        tags=["jobs"],
        description="A job's log lines, oldest first; every dispatch has lines of its own, numbered from 1. With"
        " `Accept: text/event-stream` they come as they are written (`id` fence.line, `event` log), until the job is"
        " over: an event `end` says so.",
    )
    def get(self, request: Request, job_id: str) -> Response | HttpResponse | StreamingHttpResponse:
        """Read a job's log, or follow it."""
        streaming = sse.wanted(request)
        resumed = request.headers.get("Last-Event-ID") if streaming else None
        after = parsing.position(resumed or request.query_params.get("after"))
        with found(request, job_id, known={"after"}) as job:
            lines = [] if streaming else queries.log_lines(job_id=job.job_id, after=after, limit=MAX_LINES)
            attempts = [] if streaming else queries.attempts_of(job.job_id)
        if streaming:
            principal = principal_of(request)
            return sse.respond(
                request,
                source=lambda: LogSource(tenant_id=job.tenant_id, job_id=job.job_id, position=after),
                caller=principal.caller,
                lifetime_s=(principal.expires_at - system_now()).total_seconds(),
            )
        end = (lines[-1].fence, lines[-1].line) if lines else after
        return Response(
            {
                "job_id": str(job.job_id),
                "items": [representation.log_line(line) for line in lines],
                "attempts": [representation.log_of(each) for each in attempts],
                "next": f"{end[0]}.{end[1]}",
            }
        )


class JobTypes(APIView):
    """What can run here."""

    required_scopes: ClassVar[dict[str, str]] = {"GET": "jobs:read"}

    @extend_schema(
        operation_id="job_types_list", responses={200: dict}, tags=["jobs"], description="What can run here."
    )
    def get(self, request: Request) -> Response:
        """List the job types with their params' schemas."""
        parsing.query(request, known=set())
        return Response({"items": [_type(each) for each in REGISTRY], "next": None})


def _submission(values: dict[str, Any], *, principal: ServicePrincipal) -> Submission:
    """Return the submission that a valid body asks for; raise the problem that names what is wrong with it."""
    tenant_id = tenant_or_404(principal, values.get("tenant_id"))
    try:
        job_type = REGISTRY.get(values["type"])
    except UnknownJobTypeError as error:
        raise parsing.bad_field(
            "type", f"there is no job type '{values['type']}': /operations/job-types lists them"
        ) from error
    errors = [
        problems.FieldError(field=f"params{parsing.dotted(wrong.path)}", message=wrong.message)
        for wrong in job_type.problems(values["params"])
    ]
    if job_type.contract == "none" and values["contract"] is not None:
        errors.append(
            problems.FieldError(field="contract", message=f"'{job_type.name}' takes no contract: leave it out")
        )
    if errors:
        raise problems.BadRequest("Some fields are not as they must be.", code="invalid_fields", errors=errors)
    return Submission(
        tenant_id=tenant_id,
        job_type=job_type,
        params=values["params"],
        submitted_by=principal.subject,
        contract=values["contract"],
        priority=Priority[values["priority"].upper()],
        environment=values["environment"],
        trigger=values["trigger"],
        run_at=values["run_at"],
        timeout_s=values["timeout_s"],
        concurrency_key=values["concurrency_key"],
        retry=parsing.retry(values["retry"], of=job_type.retry),
        start_by_s=values["start_by_s"],
        deadline_s=values["deadline_s"],
    )


@contextmanager
def deciding() -> Iterator[None]:
    """Turn what a submission may raise into its problem."""
    try:
        yield
    except UnknownEnvironmentError as error:
        raise parsing.bad_field("environment", f"there is no environment '{error}' for this tenant") from error
    except UnknownTenantError as error:
        raise problems.NotFound from error
    except DecisionPointAwayError as error:
        raise problems.Unavailable(
            f"{error.point} does not answer; nothing was written.",
            code="decision_point_away",
            retry_after_s=error.retry_after_s,
        ) from error


def refused(submitted: Submitted, *, refusal: Refusal) -> problems.Problem:
    """Return the problem of a refused job: 403, or 429 where a limit clears by itself."""
    members: dict[str, Any] = {
        "code": refusal.code,
        "reason": refusal.reason,
        "decision_id": str(refusal.decision_id) if refusal.decision_id else None,
        "job_id": str(submitted.job_id),
        "refused_by": refusal.point,
    }
    if refusal.retry_after_s is None:
        return problems.Forbidden(refusal.reason, **members)
    return problems.TooManyRequests(refusal.reason, retry_after_s=refusal.retry_after_s, **members)


def rendered(jobs: list[Job]) -> list[dict[str, Any]]:
    """Return the jobs as read, inside their tenant's context."""
    decisions = queries.decisions_of([job.job_id for job in jobs]) if jobs else {}
    proofs = [job.evidence_id for job in jobs if job.evidence_id is not None]
    evidence = states_of(proofs) if proofs else {}
    return [representation.job(job, evidence=evidence, decisions=decisions) for job in jobs]


@contextmanager
def found(request: Request, job_id: str, *, known: Collection[str] = ()) -> Iterator[Job]:
    """Yield the job inside the context it was found in; another tenant's does not exist.

    A token that names very many tenants says in which one to look, as for the list.
    """
    asked = parsing.query(request, known={"tenant_id", *known})
    try:
        wanted = parse_id(job_id)
    except BadIdError as error:
        raise problems.NotFound from error
    for context in contexts(principal_of(request), tenant_id=asked.get("tenant_id")):
        with context:
            job = Job.objects.filter(job_id=wanted).first()
            if job is not None:
                yield job
                return
    raise problems.NotFound


def _type(job_type: JobType) -> dict[str, Any]:
    """Return a job type as read."""
    return {
        "type": job_type.name,
        "description": job_type.description,
        "params": dict(job_type.schema),
        "contract": job_type.contract,
        "timeout_s": job_type.timeout_s,
        "max_attempts": job_type.retry.max_attempts,
        "retry": job_type.retry.kept(),
        "heartbeat_s": job_type.heartbeat_s,
        "cancel_grace_s": job_type.cancel_grace_s,
        "diagnostic": job_type.diagnostic,
    }

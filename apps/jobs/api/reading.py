"""One job over HTTP, its story and its log, and what can run."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from django.http import HttpResponse, StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core import problems, sse
from apps.core.clock import system_now
from apps.core.ids import BadIdError, parse_id
from apps.evidence.queries import states_of
from apps.jobs import parsing, queries, representation
from apps.jobs.fields import JobFields, LogFields, TimelineFields
from apps.jobs.lifecycle import State
from apps.jobs.models import Job
from apps.jobs.tail import LogSource
from apps.jobs.types import REGISTRY, JobType
from apps.tenancy.authentication import principal_of
from apps.tenancy.reading import MAX_TENANTS_A_LIST, contexts

MAX_LINES = 1000
IN_TENANT = OpenApiParameter(
    "tenant_id", str, description=f"needed when the token names more than {MAX_TENANTS_A_LIST}"
)


class OneJob(APIView):
    """One job."""

    required_scopes: ClassVar[dict[str, str]] = {"GET": "jobs:read"}

    @extend_schema(
        operation_id="jobs_read", parameters=[IN_TENANT], responses=JobFields, tags=["jobs"], description="One job."
    )
    def get(self, request: Request, job_id: str) -> Response:
        """Read one job."""
        with found(request, job_id) as job:
            body = render([job])[0]
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
        return Response({"items": [_type(each) for each in REGISTRY if not each.internal], "next": None})


def render(jobs: list[Job]) -> list[dict[str, Any]]:
    """Return the jobs as read, inside their tenant's context."""
    decisions = queries.decisions_of([job.job_id for job in jobs]) if jobs else {}
    proofs = [job.evidence_id for job in jobs if job.evidence_id is not None]
    evidence = states_of(proofs) if proofs else {}
    queued = any(job.status == State.QUEUED for job in jobs)
    away = queued and queries.broker_is_away()
    point = queries.point_away() if queued else None
    dependent = [job.job_id for job in jobs if job.depends_rule is not None]
    upstreams = queries.upstreams_of(dependent) if dependent else {}
    return [
        representation.job(
            job, evidence=evidence, decisions=decisions, broker_away=away, upstreams=upstreams, point_away=point
        )
        for job in jobs
    ]


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
        "plan": job_type.plan,
    }

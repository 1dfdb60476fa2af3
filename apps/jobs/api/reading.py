"""One job over HTTP, its story and its log, and what can run."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core import problems
from apps.core.ids import BadIdError, parse_id
from apps.evidence.queries import states_of
from apps.jobs import parsing, queries, representation
from apps.jobs.fields import JobFields, LogFields, TimelineFields
from apps.jobs.lifecycle import State
from apps.jobs.models import Job
from apps.jobs.types import REGISTRY, JobType
from apps.tenancy.authentication import principal_of
from apps.tenancy.context import in_tenant, operator_reading
from apps.tenancy.permissions import tenant_or_404
from apps.tenancy.principals import AllTenants, ServicePrincipal

MAX_LINES = 1000
MAX_TENANTS_A_LIST = 20
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
            decisions = queries.decisions_of([job.job_id]).get(job.job_id, {}).values()
            items = representation.timeline(job, attempts=queries.attempts_of(job.job_id), decisions=decisions)
        return Response({"job_id": str(job.job_id), "items": items})


class Logs(APIView):
    """A job's log."""

    required_scopes: ClassVar[dict[str, str]] = {"GET": "jobs:read"}

    @extend_schema(
        operation_id="jobs_logs",
        parameters=[OpenApiParameter("after", str, description="`next` of the answer before: fence.line")],
        responses=LogFields,
        tags=["jobs"],
        description="A job's log lines, oldest first; every dispatch has lines of its own, numbered from 1.",
    )
    def get(self, request: Request, job_id: str) -> Response:
        """Read a job's log."""
        after = parsing.position(request.query_params.get("after"))
        with found(request, job_id, known={"after"}) as job:
            lines = queries.log_lines(job_id=job.job_id, after=after, limit=MAX_LINES)
        end = (lines[-1].fence, lines[-1].line) if lines else after
        items = [representation.log_line(line) for line in lines]
        return Response({"job_id": str(job.job_id), "items": items, "next": f"{end[0]}.{end[1]}"})


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


def render(jobs: list[Job]) -> list[dict[str, Any]]:
    """Return the jobs as read, inside their tenant's context."""
    decisions = queries.decisions_of([job.job_id for job in jobs]) if jobs else {}
    proofs = [job.evidence_id for job in jobs if job.evidence_id is not None]
    evidence = states_of(proofs) if proofs else {}
    away = any(job.status == State.QUEUED for job in jobs) and queries.broker_is_away()
    return [representation.job(job, evidence=evidence, decisions=decisions, broker_away=away) for job in jobs]


def contexts(principal: ServicePrincipal, *, tenant_id: str | None = None) -> list[Any]:
    """Return the contexts in which a caller may read: its tenants', one by one, or the operator's for all of them."""
    if tenant_id is not None:
        return [in_tenant(tenant_or_404(principal, tenant_id))]
    if isinstance(principal.tenants, AllTenants):
        return [operator_reading()]
    if len(principal.tenants) > MAX_TENANTS_A_LIST:
        raise parsing.bad_field("tenant_id", f"the token names more than {MAX_TENANTS_A_LIST} tenants: say which one")
    return [in_tenant(each) for each in sorted(principal.tenants)]


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
        "diagnostic": job_type.diagnostic,
    }

"""Control of jobs over HTTP: cancel, retry, reprioritize. Each answers 202 with the job as it stands then."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar
from uuid import UUID

from django.db import transaction
from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core import metrics, problems
from apps.jobs import points
from apps.jobs.api.intake import deciding, refused
from apps.jobs.api.reading import IN_TENANT, found, render
from apps.jobs.fields import CancelFields, JobFields, NothingFields, PriorityFields
from apps.jobs.lifecycle import Priority, State
from apps.jobs.models import Job
from apps.jobs.operations import control
from apps.jobs.operations.asking import asked_ahead
from apps.jobs.operations.reopen import reopen
from apps.jobs.operations.submit import Submitted
from apps.jobs.types import REGISTRY, UnknownJobTypeError
from apps.tenancy import idempotency
from apps.tenancy.authentication import principal_of
from apps.tenancy.idempotency import answer_once

PARAMETERS = [IN_TENANT, idempotency.PARAMETER]


class Cancel(APIView):
    """Cancel a job."""

    required_scopes: ClassVar[dict[str, str]] = {"POST": "jobs:control"}

    @extend_schema(
        operation_id="jobs_cancel",
        parameters=PARAMETERS,
        request=CancelFields,
        responses={202: JobFields},
        tags=["jobs"],
        description="Cancel a job: at once if it does not run; otherwise it stays `running`, with "
        "`cancel_requested_at`, until it stops, is killed (after its type's grace) or finishes. 409 `not_cancellable` "
        "for a job that is over.",
    )
    def post(self, request: Request, job_id: str) -> HttpResponse:
        """Cancel a job."""
        by = principal_of(request).subject

        def act(job: Job) -> problems.Problem | None:
            fields = CancelFields(data=request.data)
            fields.is_valid(raise_exception=True)
            control.cancel(job_id=job.job_id, by=by, why=fields.validated_data["reason"])
            return None

        return _controlled(request, job_id, act=act, code="not_cancellable")


class Retry(APIView):
    """Run a job once more."""

    required_scopes: ClassVar[dict[str, str]] = {"POST": "jobs:control"}

    @extend_schema(
        operation_id="jobs_retry",
        parameters=PARAMETERS,
        request=NothingFields,
        responses={202: JobFields},
        tags=["jobs"],
        description="Queue a job that failed, timed out or was cancelled once more: the same job, with as many "
        "attempts as at first; what it depended on is not asked again. Of a plan, the steps that did not succeed are "
        "tried again, in their order. Decided anew: a refusal is 403 (over a limit: 429), and the job stays as it was. "
        "409 `not_retryable` for any other state, and for a step: it is tried again with its plan.",
    )
    def post(self, request: Request, job_id: str) -> HttpResponse:
        """Run a job once more."""
        by = principal_of(request).subject
        with found(request, job_id) as seen:
            pass  # the context is left: a remote decision point is asked outside of any transaction
        asked = points.in_force()
        if seen.type in REGISTRY:
            asked = asked_ahead([control.asked_again(seen, by=by, job_type=REGISTRY.get(seen.type))], points=asked)

        def act(job: Job) -> problems.Problem | None:
            NothingFields(data=request.data).is_valid(raise_exception=True)
            try:
                job_type = REGISTRY.get(job.type)
            except UnknownJobTypeError as error:
                raise problems.Conflict(f"{error}; it cannot run.", code="type_not_installed") from error
            if job_type.internal:
                raise problems.Conflict("The plane submits it: retry what it is part of.", code="not_retryable")
            with deciding():
                again = control.resubmit if job.plan is None else reopen
                refusal = again(job_id=job.job_id, by=by, job_type=job_type, points=asked)
            if refusal is not None:
                kept = Submitted(job_id=job.job_id, status=State(job.status), refusal=refusal)
                return refused(kept, refusal=refusal)
            began = State.QUEUED if job.plan is None else State.WAITING_CHILDREN
            transaction.on_commit(
                lambda: metrics.job_entered(tenant_id=job.tenant_id, job_type=job.type, status=began),
                robust=True,
            )
            return None

        return _controlled(request, job_id, act=act, code="not_retryable")


class Reprioritize(APIView):
    """Serve a waiting job earlier or later."""

    required_scopes: ClassVar[dict[str, str]] = {"POST": "jobs:control"}

    @extend_schema(
        operation_id="jobs_reprioritize",
        parameters=PARAMETERS,
        request=PriorityFields,
        responses={202: JobFields},
        tags=["jobs"],
        description="Give a waiting job another priority among its tenant's. 409 `not_waiting` for any other.",
    )
    def post(self, request: Request, job_id: str) -> HttpResponse:
        """Serve a waiting job earlier or later."""
        by = principal_of(request).subject

        def act(job: Job) -> problems.Problem | None:
            fields = PriorityFields(data=request.data)
            fields.is_valid(raise_exception=True)
            priority = Priority[fields.validated_data["priority"].upper()]
            control.reprioritize(job_id=job.job_id, priority=priority, by=by)
            return None

        return _controlled(request, job_id, act=act, code="not_waiting")


def _controlled(
    request: Request, job_id: str, *, act: Callable[[Job], problems.Problem | None], code: str
) -> HttpResponse:
    """Find the job, do `act` to it in its own tenant's context, and answer with it; a refusal by its state is 409.

    `act` reads the body too: what is wrong with it is told only to those for whom the job exists. A problem that it
    returns is the answer, although what was decided is kept.
    """
    with found(request, job_id) as job:
        tenant_id, wanted = job.tenant_id, job.job_id
    return answer_once(request, tenant_id=tenant_id, act=lambda: _act(wanted, act=act, code=code))


def _act(job_id: UUID, *, act: Callable[[Job], problems.Problem | None], code: str) -> Response | problems.Problem:
    try:
        refusal = act(Job.objects.get(job_id=job_id))
    except control.ControlRefusedError as error:
        raise problems.Conflict(f"{error}.".capitalize(), code=code, job_status=error.state.value) from error
    if refusal is not None:
        return refusal
    (body,) = render([Job.objects.get(job_id=job_id)])
    return Response(body, status=status.HTTP_202_ACCEPTED)

"""Tickets over HTTP: open one, list them, read one."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from django.http import HttpResponse
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core import asked as query
from apps.core import problems
from apps.core.asked import bad_field
from apps.core.ids import BadIdError, parse_id
from apps.jobs import queries as job_queries
from apps.jobs.fingerprint import fingerprint, of_failure
from apps.jobs.lifecycle import State
from apps.tenancy import idempotency
from apps.tenancy.authentication import principal_of
from apps.tenancy.permissions import tenant_or_404
from apps.tenancy.principals import AllTenants
from apps.tenancy.queries import region_of
from apps.tenancy.reading import contexts
from apps.tenancy.rows import IN_TENANT, PAGED
from apps.tickets import fields, queries, representation
from apps.tickets.api.shared import TAGS, found, in_context
from apps.tickets.lifecycle import Severity
from apps.tickets.models import SEVERITIES, SOURCES, STATES, Team, Ticket
from apps.tickets.operations.opening import Became, report
from apps.tickets.trouble import Trouble

BOOLEANS = ("true", "false")
TEXTS = ("module", "kind", "assignee", "team", "fingerprint")
LISTED = [
    *PAGED,
    OpenApiParameter("status", str, enum=STATES),
    OpenApiParameter("open", str, enum=BOOLEANS, description="whether it still owes somebody something"),
    OpenApiParameter("severity", str, enum=SEVERITIES),
    OpenApiParameter("source", str, enum=SOURCES),
    *(OpenApiParameter(name, str) for name in TEXTS),
    OpenApiParameter("job_id", str, description="tickets that name this job"),
]


class OpenTicket(APIView):
    """A new ticket."""

    required_scopes: ClassVar[dict[str, str]] = {"POST": "tickets:write"}

    @extend_schema(
        operation_id="tickets_open",
        parameters=[idempotency.PARAMETER],
        request=fields.TicketAskedFields,
        responses={201: fields.TicketFields, 200: fields.TicketFields},
        tags=TAGS,
        description="Open a ticket: 201. With a `dedup_key`, or the `job_id` of a job that failed, there is one open "
        "ticket about the same: said again, it counts one more occurrence, or opens again what was resolved within "
        "seven days: 200. A platform module that names no tenant opens a ticket of the platform's own.",
    )
    def post(self, request: Request) -> HttpResponse:
        """Open a ticket."""
        asked = fields.TicketAskedFields(data=request.data)
        asked.is_valid(raise_exception=True)
        values = dict(asked.validated_data)
        principal = principal_of(request)
        named = values.pop("tenant_id", None)
        platforms = named is None and isinstance(principal.tenants, AllTenants)
        tenant_id = None if platforms else tenant_or_404(principal, named)

        def act() -> Response:
            if tenant_id is not None and region_of(tenant_id) is None:
                raise problems.NotFound
            made = report(_trouble(values, tenant_id=tenant_id, by=principal.subject))
            fresh = made.became is Became.OPENED
            headers = {"Location": f"/operations/tickets/{made.ticket_id}"}
            shown = representation.ticket(Ticket.objects.get(id=made.ticket_id))
            return Response(shown, status=status.HTTP_201_CREATED if fresh else status.HTTP_200_OK, headers=headers)

        return in_context(request, tenant_id=tenant_id, act=act)


class Tickets(APIView):
    """The tickets."""

    required_scopes: ClassVar[dict[str, str]] = {"GET": "tickets:read"}

    @extend_schema(
        operation_id="tickets_list",
        parameters=LISTED,
        responses=fields.TicketPageFields,
        tags=TAGS,
        description="Tickets, newest first.",
    )
    def get(self, request: Request) -> Response:
        """List tickets."""
        known = {"tenant_id", "limit", "cursor", "status", "open", "severity", "source", "job_id", *TEXTS}
        asked = query.query(request, known=known)
        limit, filters = query.limit(asked.get("limit")), _filters(asked)
        shown: list[tuple[UUID, dict[str, Any]]] = []
        for context in contexts(principal_of(request), tenant_id=asked.get("tenant_id")):
            with context:
                rows = queries.page(filters, limit=limit + 1)
                shown += zip([row.id for row in rows], representation.tickets(rows), strict=True)
        shown.sort(key=lambda each: each[0], reverse=True)
        more = str(shown[limit - 1][0]) if len(shown) > limit else None
        return Response({"items": [each for _, each in shown[:limit]], "next": more})


class OneTicket(APIView):
    """One ticket."""

    required_scopes: ClassVar[dict[str, str]] = {"GET": "tickets:read"}

    @extend_schema(
        operation_id="tickets_read",
        parameters=[IN_TENANT],
        responses=fields.WholeTicketFields,
        tags=TAGS,
        description="One ticket with its log, its clocks as they stand, whom and what it concerns, and of a job's "
        "failure what was different from the last good run.",
    )
    def get(self, request: Request, ticket_id: str) -> Response:
        """Read a ticket."""
        with found(request, ticket_id) as row:
            return Response(representation.whole(row))


def _trouble(values: dict[str, Any], *, tenant_id: str | None, by: str) -> Trouble:
    """Return what a body reports, inside its context; raises 400 that names the field."""
    module = values["module"] if values.get("module") else by[:64]
    if values["team"] is not None and not Team.objects.filter(name=values["team"]).exists():
        raise bad_field("team", "the name of a team would be right")
    if values["job_id"] is not None and values["dedup_key"] is not None:
        raise bad_field("dedup_key", "a job's failure has its own: one of `job_id` and `dedup_key` would be right")
    mark, kind = None, ""
    if values["dedup_key"] is not None:
        mark = fingerprint(
            tenant_id=tenant_id, module=module, kind="dedup_key", error_class=values["dedup_key"], message=""
        )
    job = None if values["job_id"] is None else _job(values["job_id"], tenant_id=tenant_id)
    if job is not None and job.status in {State.FAILED, State.TIMED_OUT}:
        kind = job.type
        mark = of_failure(tenant_id=job.tenant_id, job_type=job.type, error=job.error, reason_code=job.reason_code)
    return Trouble(
        tenant_id=tenant_id,
        module=module,
        issue=values["issue"],
        description=values["description"],
        source="job" if kind else "module",
        kind=kind,
        severity=Severity(values["severity"]),
        fingerprint=mark,
        by=by,
        job_id=values["job_id"],
        links=[(each["kind"], each["ref"]) for each in values["links"]],
        assignee=values["assignee"],
        team=values["team"],
        automatic=mark is not None,
    )


def _job(job_id: UUID, *, tenant_id: str | None) -> Any:
    found_ = job_queries.ended(job_id)
    if found_ is None or found_.tenant_id != tenant_id:
        raise bad_field("job_id", "a job of the ticket's tenant would be right")
    return found_


def _filters(asked: dict[str, str]) -> queries.Filters:
    job_id = None
    if "job_id" in asked:
        try:
            job_id = parse_id(asked["job_id"])
        except BadIdError as error:
            raise bad_field("job_id", str(error)) from error
    is_open = query.word(asked, "open", among=BOOLEANS)
    return queries.Filters(
        before=query.cursor(asked.get("cursor")),
        status=query.word(asked, "status", among=STATES),
        open=None if is_open is None else is_open == "true",
        severity=query.word(asked, "severity", among=SEVERITIES),
        source=query.word(asked, "source", among=SOURCES),
        job_id=job_id,
        **{name: asked[name] for name in TEXTS if name in asked},
    )

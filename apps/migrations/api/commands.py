"""What is asked about one migration over HTTP: a row a command, and the one that is a person's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from django.http import HttpResponse
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework.request import Request
from rest_framework.views import APIView

from apps.core import problems
from apps.migrations import fields
from apps.migrations.api.shared import TAGS, acted, found
from apps.migrations.models import Migration
from apps.migrations.operations import asking
from apps.tenancy.authentication import BearerToken, principal_of
from apps.tenancy.permissions import HasScope
from apps.tenancy.principals import SignedInPerson
from apps.tenancy.rows import ACTING
from apps.tenancy.sessions import PERMISSIONS, SignedIn

APPROVE = "migrations:approve"


class Command(APIView):
    """Something that a module asks about a migration: `do` is the operation, `code` what its refusal is called."""

    required_scopes: ClassVar[dict[str, str]] = {"POST": "migrations:run"}
    do: ClassVar[Callable[..., Migration]]
    code: ClassVar[str]

    def post(self, request: Request, migration_id: str) -> HttpResponse:
        """Do it, and answer with the migration."""

        def act(row: Migration, by: str) -> Migration:
            asked = fields.MigrationCommandFields(data=request.data)
            asked.is_valid(raise_exception=True)
            return type(self).do(migration_id=row.id, by=by, why=asked.validated_data["reason"])

        return acted(request, migration_id, act=act, code=type(self).code)


def _command(verb: str, *, do: Callable[..., Migration], code: str, says: str) -> type[Command]:
    schema = extend_schema(
        operation_id=f"migrations_{verb}",
        parameters=ACTING,
        request=fields.MigrationCommandFields,
        responses={202: fields.MigrationFields},
        tags=TAGS,
        description=f"{says} 409 `{code}` where its state forbids it, with `migration_status`.",
    )
    made: type[Command] = type(verb.title(), (Command,), {"__doc__": says, "do": staticmethod(do), "code": code})
    decorate: Callable[[type[Command]], type[Command]] = extend_schema_view(post=schema)
    return decorate(made)


Pause = _command(
    "pause",
    do=asking.pause,
    code="not_pausable",
    says="Let nothing new begin: backfills stop at their next batch, other steps end. Its clocks stand still.",
)
Resume = _command(
    "resume",
    do=asking.resume,
    code="not_resumable",
    says="Go on where it stopped. Of one that is `inconclusive` this is the verdict that its wave may pass. What failed"
    " stays failed, and stops it again.",
)
Retry = _command(
    "retry", do=asking.retry, code="not_retryable", says="Go on, and try again whatever failed or was brought back."
)
Abort = _command(
    "abort",
    do=asking.abort,
    code="not_abortable",
    says="Stop what runs and leave every target as it is then; it ends `failed`, and may still be reverted.",
)
Revert = _command(
    "revert",
    do=asking.revert,
    code="not_revertable",
    says="Bring every target back that was touched, the last first, each verified at its old version. 409"
    " `contract_begun` once its contract phase has: what that took away is gone.",
)


class Approve(APIView):
    """Agree to a plan."""

    authentication_classes = (BearerToken, SignedIn)
    permission_classes = (HasScope,)
    required_scopes: ClassVar[dict[str, str]] = {"POST": APPROVE}

    def check_permissions(self, request: Request) -> None:
        """Ask for a person before anything else: no scope of a module's would do."""
        caller = principal_of(request)
        if not isinstance(caller, SignedInPerson) and request.method == "POST":
            with found(request, self.kwargs["migration_id"]):
                pass  # another tenant's is not there, for whoever asks
            raise problems.Forbidden(
                "A plan is approved by a person who is signed in, whatever a token may do.", code="person_required"
            )
        if isinstance(caller, SignedInPerson) and not caller.may(APPROVE):
            needed = PERMISSIONS[APPROVE]
            raise problems.Forbidden(
                f"This is for staff with the permission {needed}.", code="missing_permission", permission=needed
            )
        super().check_permissions(request)

    @extend_schema(
        operation_id="migrations_approve",
        parameters=[*ACTING, OpenApiParameter("X-CSRFToken", str, OpenApiParameter.HEADER, description="the cookie's")],
        request=fields.ApproveFields,
        responses={202: fields.MigrationFields},
        tags=TAGS,
        auth=[{"session": []}],
        description="Agree to a migration's plan, as a person who is signed in and has the permission"
        " migrations.approve_migration; it begins once as many people did as its risk asks for. 403 `person_required`"
        " for a token, `author_approves` for whoever asked for the migration; 409 `not_awaiting_approval`, with"
        " `migration_status`, and `plan_changed` where `plan` names another plan than there is. Who agrees twice has"
        " agreed once.",
    )
    def post(self, request: Request, migration_id: str) -> HttpResponse:
        """Agree."""

        def act(row: Migration, by: str) -> Any:
            asked = fields.ApproveFields(data=request.data)
            asked.is_valid(raise_exception=True)
            read = asked.validated_data["plan"]
            if read is not None and row.plan_checksum is not None and read != row.plan_checksum:
                raise problems.Conflict(
                    "Its plan is another one than was read.", code="plan_changed", plan_checksum=row.plan_checksum
                )
            return asking.approve(migration_id=row.id, by=by, note=asked.validated_data["note"])

        return acted(request, migration_id, act=act, code="not_awaiting_approval")

"""A migration asked for over HTTP: what it is, whose it may be, and what is refused at the door."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core import problems
from apps.core.asked import bad_field
from apps.jobs import environments
from apps.migrations import fields, registry
from apps.migrations.api.shared import TAGS, answered
from apps.migrations.definition import Definition, TargetKind
from apps.migrations.folders import strict_yaml, waves
from apps.migrations.folders.fields import Fields
from apps.migrations.folders.problems import Problem
from apps.migrations.models import Migration
from apps.migrations.operations import asking
from apps.tenancy import idempotency
from apps.tenancy.authentication import principal_of
from apps.tenancy.context import operator_reading
from apps.tenancy.idempotency import answer_once
from apps.tenancy.permissions import tenant_or_404
from apps.tenancy.principals import AllTenants, ServicePrincipal
from apps.tenancy.queries import region_of, tenant_ids

# What a definition's kind of targets lets `targets` say.
SAYS: dict[TargetKind, str | None] = {
    TargetKind.TENANT: "tenants",
    TargetKind.ENVIRONMENT: "environments",
    TargetKind.MODULE: None,
}


class Migrate(APIView):
    """A new migration."""

    required_scopes: ClassVar[dict[str, str]] = {"POST": "migrations:run"}

    @extend_schema(
        operation_id="migrations_ask",
        parameters=[idempotency.PARAMETER],
        request=fields.MigrateFields,
        responses={202: fields.MigrationFields},
        tags=TAGS,
        description="Ask for a migration: 202 with a `draft`, whose plan is made next. With `dry_run` the plan is all"
        " there will be. Otherwise it awaits as many people's approval as its risk asks for, and begins. 404 for a"
        " target outside the token; 409 `target_busy` for one that another migration holds, `bad_definition` where the"
        " definition cannot be read.",
    )
    def post(self, request: Request) -> HttpResponse:
        """Ask for a migration."""
        fields_asked = fields.MigrateFields(data=request.data)
        fields_asked.is_valid(raise_exception=True)
        values = dict(fields_asked.validated_data)
        principal = principal_of(request)
        tenant_id = tenant_or_404(principal, values.get("tenant_id"))
        check_waves(values["waves"])
        definition = defined(values)
        targets = targets_of(values["targets"], definition=definition, principal=principal, tenant_id=tenant_id)

        def act() -> Response:
            if region_of(tenant_id) is None:  # a token for every tenant may name one that there is not
                raise problems.NotFound
            row = _asked(values, definition=definition, tenant_id=tenant_id, targets=targets, by=principal.subject)
            return answered(row.id, headers={"Location": f"/operations/migrations/{row.id}"})

        return answer_once(request, tenant_id=tenant_id, act=act)


def check_waves(asked: Any) -> None:
    """Read waves as a definition's are read; raise 400 that names what is wrong in them."""
    if asked is None:
        return
    wrong: list[Problem] = []
    waves.waves(
        Fields(document=strict_yaml.Document(value={"waves": asked}, lines={}), file="the body", problems=wrong)
    )
    if wrong:
        by_field = {each.field: each.message for each in reversed(wrong)}
        raise problems.BadRequest(
            "Some fields are not as they must be.",
            code="invalid_fields",
            errors=[problems.FieldError(field=name, message=said) for name, said in by_field.items()],
        )


def defined(values: Mapping[str, Any]) -> Definition:
    """Return the definition that a body names; raise the problem that says which there are."""
    name, version_from = values["definition"], values["version_from"]
    try:
        return registry.find(name=name, version_to=values["version_to"], version_from=version_from)
    except registry.UnknownDefinitionError as error:
        every = registry.every()
        known = [each for each in every if each.name == name]
        if not known:
            names = ", ".join(sorted({each.name for each in every})) or "none"
            raise bad_field("definition", f"there is no such definition; there are: {names}") from error
        ways = ", ".join(f"{each.version_from} to {each.version_to}" for each in known)
        field = "version_to" if version_from is None else "version_from"
        raise bad_field(field, f"{name} leads from {ways}") from error
    except registry.BadDefinitionError as error:
        said = f"{name} to {values['version_to']} cannot be used: `manage.py migration_lint` says why."
        raise problems.Conflict(said, code="bad_definition") from error


def targets_of(
    asked: Mapping[str, Any], *, definition: Definition, principal: ServicePrincipal, tenant_id: str
) -> dict[str, Any]:
    """Return what a migration is to go through, checked: the caller's own tenants that there are, or environments.

    Raises 400 that names the field, 404 for a tenant outside the token or one that does not exist.
    """
    kind = definition.targets.kind
    wanted = SAYS[kind]
    for name in asked:
        if name != wanted:
            right = "none" if wanted is None else f"`{wanted}`"
            raise bad_field(f"targets.{name}", f"{definition.name} has targets of kind {kind}: {right} would be right")
    if wanted is None:
        return {}
    if wanted not in asked:
        raise bad_field(f"targets.{wanted}", f"needed: {definition.name} has targets of kind {kind}")
    if wanted == "environments":
        return {wanted: _environments(asked[wanted], tenant_id=tenant_id)}
    return {wanted: _tenants(asked[wanted], principal=principal)}


def _tenants(asked: str | list[str], *, principal: ServicePrincipal) -> str | list[str]:
    if isinstance(asked, str):
        if not isinstance(principal.tenants, AllTenants):
            raise bad_field("targets.tenants", '"*" is for a token of every tenant: name the tenants')
        return asked
    if not all(principal.may_act_for(each) for each in asked):
        raise problems.NotFound
    with operator_reading():
        there = tenant_ids()
    if set(asked) - there:
        raise problems.NotFound
    return asked


def _environments(asked: list[str], *, tenant_id: str) -> list[str]:
    with operator_reading():
        there = {each.name for each in environments.standings(tenants=[tenant_id])}
    if unknown := sorted(set(asked) - there):
        known = ", ".join(sorted(there))
        raise bad_field("targets.environments", f"{tenant_id} has no environment {unknown[0]!r}; there are: {known}")
    return list(dict.fromkeys(asked))


def _asked(
    values: Mapping[str, Any], *, definition: Definition, tenant_id: str, targets: Mapping[str, Any], by: str
) -> Migration:
    try:
        return asking.request(
            definition=definition,
            tenant_id=tenant_id,
            targets=targets,
            waves=values["waves"],
            dry_run=values["dry_run"],
            drill=values["drill"],
            baseline=values["baseline"],
            expected_plan=values["plan"],
            by=by,
        )
    except asking.TargetBusyError as error:
        mine = Migration.objects.filter(id=error.migration_id).exists()  # else it is on another's account
        raise problems.Conflict(
            f"Another migration holds {error.target}: one at a time.",
            code="target_busy",
            target=error.target,
            migration_id=str(error.migration_id) if mine else None,
        ) from error

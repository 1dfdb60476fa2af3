"""What all migrations' addresses have in common: how one is found and acted on, and what each refusal is called."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from uuid import UUID

from django.http import HttpResponse
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core import asked as query
from apps.core import problems
from apps.core.ids import BadIdError, parse_id
from apps.migrations import representation, standing
from apps.migrations.lifecycle import ContractBegunError, IllegalMoveError
from apps.migrations.models import Migration
from apps.migrations.operations.asking import AuthorApprovesError, NoMigrationError
from apps.tenancy.authentication import principal_of
from apps.tenancy.context import operator_reading
from apps.tenancy.idempotency import answer_once
from apps.tenancy.principals import AllTenants
from apps.tenancy.reading import contexts

TAGS = ["migrations"]


@contextmanager
def found(request: Request, migration_id: str, *, known: Collection[str] = ()) -> Iterator[Migration]:
    """Yield the migration inside the context it was found in; one on another tenant's account does not exist."""
    asked = query.query(request, known={"tenant_id", *known})
    try:
        wanted = parse_id(migration_id)
    except BadIdError as error:
        raise problems.NotFound from error
    for context in contexts(principal_of(request), tenant_id=asked.get("tenant_id")):
        with context:
            row = Migration.objects.filter(id=wanted).first()
            if row is not None:
                yield row
                return
    raise problems.NotFound


def acted(request: Request, migration_id: str, *, act: Callable[[Migration, str], object], code: str) -> HttpResponse:
    """Find the migration, do `act` (it, who asks) in its account's context, and answer with it as it stands then.

    `act` reads the body too: what is wrong with it is told only to those for whom the migration exists. `code` is what
    a refusal by its state is called.
    """
    with found(request, migration_id) as row:
        tenant_id, wanted = row.tenant_id, row.id
    caller = principal_of(request)
    hidden: Collection[str] = ()
    if not isinstance(caller.tenants, AllTenants):
        with operator_reading():
            hidden = standing.unseen([wanted], seen=caller.tenants).get(wanted, ())

    def answer() -> Response:
        with refusals(code=code):
            act(Migration.objects.get(id=wanted), caller.subject)
        return answered(wanted, hidden=hidden)

    return answer_once(request, tenant_id=tenant_id, act=answer)


def answered(migration_id: UUID, *, hidden: Collection[str] = (), headers: dict[str, str] | None = None) -> Response:
    """Return 202 with the migration, in its account's context, and nobody of `hidden` in it."""
    (body,) = representation.migrations([Migration.objects.get(id=migration_id)])
    return Response(representation.told(body, hidden=hidden), status=status.HTTP_202_ACCEPTED, headers=headers)


@contextmanager
def refusals(*, code: str) -> Iterator[None]:
    """Turn what operations refuse into the problems that callers read."""
    try:
        yield
    except AuthorApprovesError as error:
        raise problems.Forbidden(_said(error), code="author_approves") from error
    except ContractBegunError as error:
        raise problems.Conflict(_said(error), code="contract_begun", migration_status=error.state.value) from error
    except IllegalMoveError as error:
        raise problems.Conflict(_said(error), code=code, migration_status=error.state.value) from error
    except NoMigrationError as error:
        raise problems.NotFound from error


def _said(error: Exception) -> str:
    text = str(error)
    return f"{text[0].upper()}{text[1:]}."

"""What all tickets' addresses have in common: how one is found and acted on, and what each refusal is called."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import UUID

from django.http import HttpResponse
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core import asked as query
from apps.core import problems
from apps.core.asked import bad_field
from apps.core.ids import BadIdError, parse_id
from apps.tenancy import idempotency
from apps.tenancy.authentication import principal_of
from apps.tenancy.context import operator_reading
from apps.tenancy.idempotency import answer_once
from apps.tenancy.reading import contexts
from apps.tenancy.rows import IN_TENANT
from apps.tickets import representation
from apps.tickets.lifecycle import IllegalMoveError, ReopenWindowOverError
from apps.tickets.models import Ticket
from apps.tickets.operations.commands import NoTeamError
from apps.tickets.operations.merging import BadTargetError
from apps.tickets.operations.writing import AlreadyOpenError, NoTicketError, StaleVersionError

TAGS = ["tickets"]
ACTING = [IN_TENANT, idempotency.PARAMETER]
NO_TENANT = "a key belongs to one tenant, and this is the platform's own"


@contextmanager
def found(request: Request, ticket_id: str) -> Iterator[Ticket]:
    """Yield the ticket inside the context it was found in; another tenant's does not exist."""
    asked = query.query(request, known={"tenant_id"})
    try:
        wanted = parse_id(ticket_id)
    except BadIdError as error:
        raise problems.NotFound from error
    for context in contexts(principal_of(request), tenant_id=asked.get("tenant_id")):
        with context:
            row = Ticket.objects.filter(id=wanted).first()
            if row is not None:
                yield row
                return
    raise problems.NotFound


def acted(request: Request, ticket_id: str, *, act: Callable[[UUID, str], Ticket]) -> HttpResponse:
    """Find the ticket, do `act` (its id, who asks) in its own tenant's context, and answer with it."""
    with found(request, ticket_id) as row:
        tenant_id, wanted = row.tenant_id, row.id
    by = principal_of(request).subject

    def answer() -> Response:
        with refusals():
            act(wanted, by)
        return Response(representation.ticket(Ticket.objects.get(id=wanted)))

    return in_context(request, tenant_id=tenant_id, act=answer)


def in_context(request: Request, *, tenant_id: str | None, act: Callable[[], Response]) -> HttpResponse:
    """Act in a tenant's context, once for its key; or as the platform, for what is no tenant's."""
    if tenant_id is not None:
        return answer_once(request, tenant_id=tenant_id, act=act)
    idempotency.refuse_key(request, reason=NO_TENANT)
    with operator_reading():
        return act()


@contextmanager
def refusals() -> Iterator[None]:
    """Turn what operations refuse into the problems that callers read."""
    try:
        yield
    except StaleVersionError as error:
        raise problems.Conflict(_said(error), code="changed_meanwhile", version=error.version) from error
    except IllegalMoveError as error:
        raise problems.Conflict(_said(error), code="illegal_move", ticket_status=error.state.value) from error
    except ReopenWindowOverError as error:
        raise problems.Conflict(_said(error), code="reopen_window_over") from error
    except AlreadyOpenError as error:
        other = None if error.ticket_id is None else str(error.ticket_id)
        raise problems.Conflict(_said(error), code="already_open", ticket_id=other) from error
    except BadTargetError as error:
        raise bad_field("into", str(error)) from error
    except NoTicketError as error:
        raise bad_field("into", "a ticket of the same tenant would be right") from error
    except NoTeamError as error:
        raise bad_field("team", "the name of a team would be right") from error


def _said(error: Exception) -> str:
    return f"{error}.".capitalize()

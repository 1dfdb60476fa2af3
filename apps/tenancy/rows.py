"""What a tenant's rows are asked over HTTP, whatever they are: to be made, found by id, changed, and listed by cursor.

A row has a UUIDv7 as its primary key and a `deleted_at`; one that was taken away does not exist.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from django.db.models import Model, QuerySet
from django.http import HttpResponse
from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core import asked as query
from apps.core import problems
from apps.core.ids import BadIdError, parse_id
from apps.core.versions import ChangedMeanwhileError
from apps.tenancy import idempotency
from apps.tenancy.authentication import principal_of
from apps.tenancy.permissions import tenant_or_404
from apps.tenancy.queries import region_of
from apps.tenancy.reading import contexts

Row = TypeVar("Row", bound=Model)

Fields = type[serializers.Serializer[Any]]
Render = Callable[[Row], dict[str, Any]]

IN_TENANT = OpenApiParameter("tenant_id", str, description="needed when the token names more than 20")
ACTING = [IN_TENANT, idempotency.PARAMETER]
PAGED = [
    OpenApiParameter("tenant_id", str),
    OpenApiParameter("limit", int, description=f"1 to {query.MAX_PAGE}; {query.PAGE} if left out"),
    OpenApiParameter("cursor", str, description="`next` of the page before"),
]


def changes(fields: serializers.Serializer[Any], given: Any) -> dict[str, Any]:
    """Return what a partial body says, without what it leaves out and without the version."""
    said = given if isinstance(given, Mapping) else {}
    return {name: value for name, value in fields.validated_data.items() if name in said and name != "version"}


def changes_asked(request: Request, fields: Fields) -> tuple[dict[str, Any], int]:
    """Return what a PATCH changes, and the version that was read; raise the problem that names what is wrong in it."""
    asked = fields(data=request.data, partial=True)
    asked.is_valid(raise_exception=True)
    if "version" not in asked.validated_data:
        raise query.bad_field("version", "needed: the version that was read")
    return changes(asked, request.data), asked.validated_data["version"]


@contextmanager
def of_one_version() -> Iterator[None]:
    """Tell who changes a row that was changed since it was read: 409, with the version there is."""
    try:
        yield
    except ChangedMeanwhileError as error:
        said = f"{error}.".capitalize()
        raise problems.Conflict(said, code="changed_meanwhile", version=error.version) from error


def made(
    request: Request, *, fields: Fields, check: Callable[..., None], make: Callable[..., Row], render: Render[Row]
) -> HttpResponse:
    """Make a row of what is asked, in the tenant that it names: 201, and where the row is to be read.

    `check(values, tenant_id=)` raises the problem that names what cannot be; `make(values, tenant_id=, owner=)` writes.
    """
    asked = fields(data=request.data)
    asked.is_valid(raise_exception=True)
    values = dict(asked.validated_data)
    principal = principal_of(request)
    tenant_id = tenant_or_404(principal, values.pop("tenant_id", None))
    check(values, tenant_id=tenant_id)

    def act() -> Response:
        if region_of(tenant_id) is None:  # a token for every tenant may name one that there is not
            raise problems.NotFound
        row = make(values, tenant_id=tenant_id, owner=principal.subject)
        return Response(render(row), status=status.HTTP_201_CREATED, headers={"Location": f"{request.path}/{row.pk}"})

    return idempotency.answer_once(request, tenant_id=tenant_id, act=act)


def acted(
    request: Request, row_id: str, *, model: type[Row], act: Callable[[Row], Response | None], render: Render[Row]
) -> HttpResponse:
    """Find the row, do `act` to it in its own tenant's context, and answer with it, or with what `act` answers."""
    with found(request, row_id, model=model) as row:
        tenant_id, wanted = getattr(row, "tenant_id"), row.pk  # noqa: B009 - of every row a tenant owns

    def answer() -> Response:
        rows = model._default_manager
        return act(rows.get(pk=wanted)) or Response(render(rows.get(pk=wanted)))

    return idempotency.answer_once(request, tenant_id=tenant_id, act=answer)


@contextmanager
def found(request: Request, row_id: str, *, model: type[Row], known: tuple[str, ...] = ()) -> Iterator[Row]:
    """Yield the row inside the context it was found in; another tenant's, or one taken away, does not exist."""
    asked = query.query(request, known={"tenant_id", *known})
    try:
        wanted = parse_id(row_id)
    except BadIdError as error:
        raise problems.NotFound from error
    for context in contexts(principal_of(request), tenant_id=asked.get("tenant_id")):
        with context:
            row = model._default_manager.filter(pk=wanted, deleted_at=None).first()
            if row is not None:
                yield row
                return
    raise problems.NotFound


def listed(request: Request, *, model: type[Row], render: Render[Row]) -> Response:
    """Answer with a page of the rows that are there, newest first."""
    asked = query.query(request, known={"tenant_id", "limit", "cursor"})
    limit, before = query.limit(asked.get("limit")), query.cursor(asked.get("cursor"))
    rows: list[Row] = []
    for context in contexts(principal_of(request), tenant_id=asked.get("tenant_id")):
        with context:
            mine = model._default_manager.filter(deleted_at=None, **({"pk__lt": before} if before else {}))
            rows += mine.order_by("-pk")[: limit + 1]
    rows.sort(key=lambda row: row.pk, reverse=True)
    more = str(rows[limit - 1].pk) if len(rows) > limit else None
    return Response({"items": [render(row) for row in rows[:limit]], "next": more})


def page(
    rows: QuerySet[Row],
    *,
    asked: Mapping[str, str],
    before: Any,
    render: Render[Row],
    key: str = "pk",
    text: Callable[[Any], str] = str,
) -> Response:
    """Answer with a page of `rows`, the latest by `key` first; `before` is what the query's cursor means, or None.

    In their tenant's context. `text` writes a key as a cursor.
    """
    limit = query.limit(asked.get("limit"))
    below = rows if before is None else rows.filter(**{f"{key}__lt": before})
    come = list(below.order_by(f"-{key}")[: limit + 1])
    more = text(getattr(come[limit - 1], key)) if len(come) > limit else None
    return Response({"items": [render(row) for row in come[:limit]], "next": more})

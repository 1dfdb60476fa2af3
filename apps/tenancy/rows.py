"""What a tenant's rows are asked over HTTP, whatever they are: to be found by id, and listed by cursor.

A row has a UUIDv7 as its primary key and a `deleted_at`; one that was taken away does not exist.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from django.db.models import Model
from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core import asked as query
from apps.core import problems
from apps.core.ids import BadIdError, parse_id
from apps.tenancy.authentication import principal_of
from apps.tenancy.reading import contexts

Row = TypeVar("Row", bound=Model)

IN_TENANT = OpenApiParameter("tenant_id", str, description="needed when the token names more than 20")
PAGED = [
    OpenApiParameter("tenant_id", str),
    OpenApiParameter("limit", int, description=f"1 to {query.MAX_PAGE}; {query.PAGE} if left out"),
    OpenApiParameter("cursor", str, description="`next` of the page before"),
]


def changes(fields: serializers.Serializer[Any], given: Any) -> dict[str, Any]:
    """Return what a partial body says, without what it leaves out and without the version."""
    said = given if isinstance(given, Mapping) else {}
    return {name: value for name, value in fields.validated_data.items() if name in said and name != "version"}


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


def listed(request: Request, *, model: type[Row], render: Callable[[Row], dict[str, Any]]) -> Response:
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

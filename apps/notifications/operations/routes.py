"""What operators say about routes and silences. In the operator's role."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction

from apps.core.database import ClockTimestamp
from apps.core.ids import uuid7
from apps.notifications.models import Route, Silence


class CircularRouteError(ValueError):
    """A route would lie below itself."""


def lay(values: Mapping[str, Any], *, by: str) -> UUID:
    """Make a route; return its id."""
    route_id = uuid7()
    Route.objects.bulk_create([Route(route_id=route_id, changed_by=by, **values)])
    return route_id


def change(values: Mapping[str, Any], *, route_id: UUID, by: str) -> None:
    """Change a route; raises `CircularRouteError`."""
    with transaction.atomic():
        parents = dict(Route.objects.select_for_update().values_list("pk", "parent_id"))
        parent = values.get("parent_id", parents.get(route_id))
        while parent is not None:
            if parent == route_id:
                raise CircularRouteError("a route cannot lie below itself")
            parent = parents.get(parent)
        Route.objects.filter(pk=route_id).update(**values, changed_by=by)


def take_away(*, route_id: UUID) -> None:
    """Take a route away, and those below it."""
    Route.objects.filter(pk=route_id).delete()


def put_in_force(*, route_id: UUID, by: str) -> None:
    """Put a draft in force: in the place of the route it edits, whose children it takes over."""
    with transaction.atomic():
        draft = Route.objects.select_for_update().get(pk=route_id, draft=True)
        name = draft.name
        if draft.replaces_id is not None:
            Route.objects.filter(parent_id=draft.replaces_id).update(parent_id=route_id)
            name = Route.objects.values_list("name", flat=True).get(pk=draft.replaces_id)
            replaced, draft.replaces_id = draft.replaces_id, None
            Route.objects.filter(pk=route_id).update(replaces=None)
            Route.objects.filter(pk=replaced).delete()
        Route.objects.filter(pk=route_id).update(draft=False, name=name, changed_by=by)


def silence(*, matchers: list[str], starts_at: datetime, ends_at: datetime, comment: str, author: str) -> UUID:
    """Tell nobody of what these matchers meet, for a while; return the silence's id."""
    silence_id = uuid7()
    Silence.objects.bulk_create(
        [
            Silence(
                silence_id=silence_id,
                matchers=matchers,
                starts_at=starts_at,
                ends_at=ends_at,
                comment=comment,
                author=author,
            )
        ]
    )
    return silence_id


def end_silence(*, silence_id: UUID) -> None:
    """End a silence now; what was silenced stays untold."""
    now = ClockTimestamp()
    Silence.objects.filter(pk=silence_id, starts_at__lte=now, ends_at__gt=now).update(ends_at=now)
    Silence.objects.filter(pk=silence_id, starts_at__gt=now).delete()

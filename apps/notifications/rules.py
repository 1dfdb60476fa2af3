"""The rules in force, read out of the database: the tree of routes, channels, silences."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from django.db.models import Q

from apps.core.database import ClockTimestamp
from apps.notifications.lifecycle import Classification
from apps.notifications.matching import parsed
from apps.notifications.models import Channel, Route, Silence
from apps.notifications.pacing import QuietHours
from apps.notifications.routing import Destination, Node, Rules, Silenced

ROOT = "root"
INBOX_NAME = "inbox"


def in_force(*, now: datetime) -> Rules:
    """Return the rules as they are. Where no route says otherwise, everything goes to the in-app inbox."""
    return _rules(Route.objects.filter(draft=False), now=now)


def with_drafts(*, now: datetime) -> Rules:
    """Return the rules as they would be with every draft in force, in the place of what it replaces."""
    replaced = Route.objects.filter(draft=True, replaces__isnull=False).values("replaces")
    return _rules(Route.objects.exclude(pk__in=replaced), now=now)


def destinations(*, now: datetime) -> dict[UUID, Destination]:
    """Return the channels."""
    return {row.channel_id: _destination(row, now=now) for row in Channel.objects.defer("sealed")}


def _rules(routes: Iterable[Route], *, now: datetime) -> Rules:
    channels = destinations(now=now)
    inbox = next((each.channel_id for each in channels.values() if each.name == INBOX_NAME), None)
    at = ClockTimestamp()
    silences = Silence.objects.filter(Q(starts_at__lte=at), Q(ends_at__gt=at))
    return Rules(
        root=Node(name=ROOT, channel=inbox, children=_below(None, list(routes), seen=frozenset())),
        channels=channels,
        silences=tuple(
            Silenced(str(each.silence_id), parsed(each.matchers), each.author, each.comment) for each in silences
        ),
    )


def _below(parent: UUID | None, routes: list[Route], *, seen: frozenset[UUID]) -> tuple[Node, ...]:
    """Return the nodes below a route in their order; a draft that edits a route has that one's children, too."""
    mine = sorted(
        (each for each in routes if each.parent_id == parent and each.route_id not in seen),
        key=lambda each: (each.position, each.name),
    )
    return tuple(_node(each, routes, seen=seen | {each.route_id}) for each in mine)


def _node(row: Route, routes: list[Route], *, seen: frozenset[UUID]) -> Node:
    children = _below(row.route_id, routes, seen=seen)
    if row.replaces_id is not None:
        children += _below(row.replaces_id, routes, seen=seen | {row.replaces_id})
    quiet = None
    if row.quiet_from is not None and row.quiet_until is not None:
        quiet = QuietHours(row.quiet_from, row.quiet_until, row.quiet_zone or "UTC")
    return Node(
        name=row.name,
        matchers=parsed(row.matchers),
        goes_on=row.goes_on,
        channel=row.channel_id,
        by=None if row.group_by is None else tuple(row.group_by),
        wait_s=row.group_wait_s,
        interval_s=row.group_interval_s,
        repeat_s=row.repeat_s,
        quiet=quiet,
        children=children,
    )


def _destination(row: Channel, *, now: datetime) -> Destination:
    return Destination(
        channel_id=row.channel_id,
        name=row.name,
        kind=row.kind,
        provider=row.provider,
        fallback=row.fallback_id,
        enabled=row.enabled,
        passive=row.passive,
        regions=None if row.regions is None else tuple(row.regions),
        clearance=Classification(row.clearance),
        failures=row.failures,
        left_alone=row.left_alone_until is not None and row.left_alone_until > now,
        recent_ms=tuple(row.recent_ms),
    )

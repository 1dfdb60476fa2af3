"""What operators say about channels, routes and silences. In the operator's role; settings are sealed before they are
written, and never read back to anybody but the notifier.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from apps.core.clock import DatabaseClock
from apps.core.ids import uuid7
from apps.notifications import rules
from apps.notifications.kinds import kind_of
from apps.notifications.lifecycle import Classification
from apps.notifications.models import Channel
from apps.notifications.routing import shares_provider
from apps.notifications.secrets import opened, sealed

FRESH: dict[str, Any] = {"failures": 0, "left_alone_until": None, "recent_ms": [], "last_error": None}


class ChangedMeanwhileError(Exception):
    """Somebody else changed the channel since it was read."""


class CircularFallbackError(ValueError):
    """The channels would fall back to each other in a circle."""


def create(
    *,
    name: str,
    kind: str,
    settings: Mapping[str, str],
    by: str,
    fallback: UUID | None = None,
    regions: Sequence[str] | None = None,
    clearance: Classification | str = Classification.CONFIDENTIAL,
    enabled: bool = True,
    per_minute: int | None = None,
    tested_every_s: int | None = None,
) -> UUID:
    """Make a channel; return its id. `regions` None: it may carry what must stay anywhere.

    Raises `apps.notifications.kinds.BadSettingError` and `NoSuchKindError`.
    """
    known = kind_of(kind)
    checked = known.checked(settings)
    channel_id = uuid7()
    Channel.objects.bulk_create(
        [
            Channel(
                channel_id=channel_id,
                name=name,
                kind=kind,
                sealed=sealed(checked, channel_id=channel_id),
                shown=_shown(kind, checked),
                provider=known.provider(checked)[:255],
                passive=known.passive,
                fallback_id=fallback,
                regions=None if regions is None else list(regions),
                clearance=str(clearance),
                enabled=enabled,
                per_minute=per_minute,
                tested_every_s=tested_every_s,
                changed_by=by,
            )
        ]
    )
    return channel_id


def change(
    values: Mapping[str, Any], *, channel_id: UUID, version: int, by: str, settings: Mapping[str, str] | None = None
) -> None:
    """Change a channel at `version`; `settings` replaces those it names, an empty one takes it away. New settings give
    the channel a fresh start.

    Raises `ChangedMeanwhileError`, `CircularFallbackError`, and what `create` raises.
    """
    step = dict(values)
    with transaction.atomic():
        row = Channel.objects.select_for_update().get(pk=channel_id)
        if row.version != version:
            raise ChangedMeanwhileError(f"the channel is at version {row.version} by now")
        if settings:
            known = kind_of(row.kind)
            checked = known.checked({**opened(bytes(row.sealed), channel_id=channel_id), **settings})
            step |= {
                "sealed": sealed(checked, channel_id=channel_id),
                "shown": _shown(row.kind, checked),
                "provider": known.provider(checked)[:255],
                **FRESH,
            }
        if step.get("fallback_id") is not None:
            _not_in_a_circle(channel_id, step["fallback_id"])
        Channel.objects.filter(pk=channel_id).update(**step, version=version + 1, changed_by=by)


def _shown(kind: str, settings: Mapping[str, str]) -> str:
    """Return what may be seen of a channel's settings: those that are no secrets."""
    plain = [
        f"{field.name}: {settings[field.name]}"
        for field in kind_of(kind).fields
        if not field.secret and field.name in settings
    ]
    return "; ".join(plain)[:200]


def warnings_about(*, channel_id: UUID) -> list[str]:
    """Return what an operator should know about a channel: a fallback that fails together with it helps nobody."""
    known = rules.destinations(now=DatabaseClock.ask(connection).now())
    channel = known.get(channel_id)
    fallback = known.get(channel.fallback) if channel and channel.fallback else None
    if channel is None or fallback is None:
        return []
    said = []
    if shares_provider(channel, fallback):
        said.append(
            f"{channel.name} and its fallback {fallback.name} both go by {channel.provider}: they fail together"
        )
    if channel.regions is not None and set(channel.regions) - set(fallback.regions or channel.regions):
        said.append(
            f"the fallback {fallback.name} may not carry everything that {channel.name} does: its regions differ"
        )
    return said


def _not_in_a_circle(channel_id: UUID, fallback: UUID) -> None:
    following: UUID | None = fallback
    chain = dict(Channel.objects.values_list("pk", "fallback_id"))
    seen = {channel_id}
    while following is not None:
        if following in seen:
            raise CircularFallbackError("the channels would fall back to each other in a circle")
        seen.add(following)
        following = chain.get(following)

"""Kinds of channels: what an operator types for one, who stands behind it, and what speaks to it.

A kind is a module with a `KIND` (`workers/channels/`), and one line of `opsplatform/wiring.py`. What it is sent is a
`Message`: everything that is known, so that speaking needs no database.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from apps.notifications.lifecycle import Answer

Settings = Mapping[str, str]
INBOX: Final = "inbox"


class BadSettingError(ValueError):
    """A setting of a channel cannot be used; `field` names it. Never says the value."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


@dataclass(frozen=True, kw_only=True)
class Field:
    """One thing an operator types."""

    name: str
    says: str
    secret: bool = False
    required: bool = True


@dataclass(frozen=True, kw_only=True)
class Item:
    """One notification in a message."""

    notification_id: UUID
    tenant_id: str | None
    severity: str
    category: str
    source: str
    component: str | None
    group: str | None
    kind: str | None
    summary: str
    details: Mapping[str, Any]
    links: Mapping[str, str]
    dedup_key: str
    timestamp: datetime
    resolved: bool
    acknowledged: bool
    repeats: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class Message:
    """What one attempt carries: the same id whenever it is tried again."""

    message_id: UUID
    channel: str
    at: datetime
    items: tuple[Item, ...]
    public_url: str | None = None
    production: bool = False


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of channel. `send` speaks to the outside and to nothing else; it raises nothing that it foresees."""

    name: str
    title: str
    fields: tuple[Field, ...]
    send: Callable[[Message, Settings], Answer]
    provider: Callable[[Settings], str]
    check: Callable[[Settings], None] = lambda _: None
    most: int = 100
    passive: bool = False
    tested_by: str | None = None  # the setting that a test address stands in for

    def checked(self, given: Mapping[str, str]) -> dict[str, str]:
        """Return the settings that were given, whole and known; raises `BadSettingError`."""
        known = {field.name for field in self.fields} | {"test_address"}
        settings = {name: value.strip() for name, value in given.items() if value.strip()}
        for name in sorted(settings.keys() - known):
            raise BadSettingError(name, "there is no such setting")
        for field in self.fields:
            if field.required and field.name not in settings:
                raise BadSettingError(field.name, f"needed: {field.says}")
        self.check(settings)
        if "test_address" in settings:
            self.check(self.for_test(settings))
        return settings

    def for_test(self, settings: Settings) -> dict[str, str]:
        """Return the settings with which a test message is sent."""
        if self.tested_by is None:
            raise BadSettingError("test_address", "this kind of channel has no test message")
        whole = {name: value for name, value in settings.items() if name != "test_address"}
        return {**whole, self.tested_by: settings["test_address"]}


class NoSuchKindError(LookupError):
    """There is no kind of this name."""


_kinds: dict[str, Kind] = {}


def load(modules: Iterable[str]) -> None:
    """Know the kinds of these modules, and no others."""
    _kinds.clear()
    for module in modules:
        kind: Kind = importlib.import_module(module).KIND
        _kinds[kind.name] = kind


def kind_of(name: str) -> Kind:
    """Return a kind; raises `NoSuchKindError`."""
    try:
        return _kinds[name]
    except KeyError:
        raise NoSuchKindError(f"{name!r}: one of {', '.join(sorted(_kinds))} would be right") from None


def names() -> list[str]:
    """Return the kinds' names."""
    return sorted(_kinds)

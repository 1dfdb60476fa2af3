"""What can be done about a component that is not well: actions by name, laid by the composition root.

An action is told what is wrong and does one thing. It returns counts of what it did; `helped` among them settles the
receipt at once, otherwise the component's own recovery is the proof.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.utils.module_loading import import_string


class Order(NamedTuple):
    """What is wrong, and by what words it is to be helped."""

    receipt_id: UUID
    action: str
    tenant_id: str | None
    module: str
    component: str
    condition: Mapping[str, Any]
    since: datetime
    params: Mapping[str, Any]
    by: str

    @property
    def pool(self) -> str:
        """The worker pool that a part of the plane's belongs to: `worker-default` and `queue-default` are `default`."""
        return str(self.params.get("pool") or self.component.partition("-")[2])


Facts = Mapping[str, Any]
Action = Callable[[Order], Facts]


class ActionFailedError(Exception):
    """The action could not be done; the message is a code without secrets."""


class UnknownActionError(LookupError):
    """No action of that name was laid."""


_laid: dict[str, str] = {}


def install(actions: Mapping[str, str]) -> None:
    """Lay the actions there are: name → dotted path of its function."""
    _laid.clear()
    _laid.update(actions)


def names() -> list[str]:
    """Return the names of the actions there are."""
    return sorted(_laid)


def named(name: str) -> Action:
    """Return an action; raises `UnknownActionError`."""
    if name not in _laid:
        raise UnknownActionError(name)
    found: Action = import_string(_laid[name])
    return found

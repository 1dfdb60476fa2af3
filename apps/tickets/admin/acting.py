"""What people ask of a ticket on its admin page: the API's own operations, in the ticket's tenant's context."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any
from uuid import UUID

from django.db import transaction

from apps.core.ids import BadIdError, parse_id
from apps.tenancy.context import acting_for
from apps.tickets.fields import PERSON
from apps.tickets.lifecycle import IllegalMoveError, ReopenWindowOverError
from apps.tickets.models import Ticket
from apps.tickets.operations import commands, merging, watching
from apps.tickets.operations.commands import NoTeamError
from apps.tickets.operations.merging import BadTargetError
from apps.tickets.operations.writing import AlreadyOpenError, NoTicketError, StaleVersionError

MOST_CHARACTERS = 8000


class BadWordsError(ValueError):
    """What was typed cannot be; the message says what would be right."""


REFUSALS = (
    StaleVersionError, IllegalMoveError, ReopenWindowOverError, AlreadyOpenError, BadTargetError, NoTicketError,
    NoTeamError, BadIdError, BadWordsError,
)  # fmt: skip

Asked = Mapping[str, str]


class UnknownCommandError(BadIdError):
    """The page has no such command."""


COMMANDS = (
    "acknowledge", "assign", "start", "wait", "comment", "resolve", "close", "reopen", "merge", "unmerge", "watch",
    "unwatch",
)  # fmt: skip
PLAIN: dict[str, Callable[..., object]] = {
    "acknowledge": commands.acknowledge,
    "start": commands.start,
    "close": commands.close,
    "unmerge": merging.unmerge,
}


def act(ticket: Ticket, *, asked: Asked, by: str) -> None:
    """Do what a form asks, for the version that the page showed; raises one of `REFUSALS`."""
    version = asked.get("version", "")
    if asked.get("command") not in COMMANDS or not re.fullmatch("[0-9]{1,9}", version):
        raise UnknownCommandError("one of the page's own commands, with its version, would be right")
    _check(asked)
    context: AbstractContextManager[Any] = transaction.atomic()
    if ticket.tenant_id is not None:
        context = acting_for(ticket.tenant_id)
    with context:
        _do(asked["command"], ticket.id, asked=asked, version=int(version), by=by)


def _check(asked: Asked) -> None:
    """Raise `BadWordsError` for what the API would refuse by its fields."""
    if any("\x00" in each for each in asked.values()):
        raise BadWordsError("a NUL character stands in it")
    if asked["command"] == "assign" and asked.get("assignee") and not re.fullmatch(PERSON, asked["assignee"]):
        raise BadWordsError("a person's login name would be right")
    if asked["command"] == "comment" and not asked.get("text", "").strip():
        raise BadWordsError("a comment says something")


def _do(command: str, wanted: UUID, *, asked: Asked, version: int, by: str) -> None:
    """Call the operation of a command of `COMMANDS`."""
    text = asked.get("text", "").strip()[:MOST_CHARACTERS]
    common: dict[str, Any] = {"version": version, "by": by}
    if command in PLAIN:
        PLAIN[command](wanted, **common)
    elif command == "assign":
        commands.assign(wanted, assignee=asked.get("assignee") or None, team=asked.get("team") or None, **common)
    elif command == "wait":
        commands.wait(wanted, reason=text[:500], **common)
    elif command == "comment":
        watching.watch(commands.comment(wanted, text=text, version=None, by=by), people=[by], by=by)
    elif command == "resolve":
        commands.resolve(wanted, resolution=text[:2000], **common)
    elif command == "reopen":
        commands.reopen(wanted, reason=text[:500], **common)
    elif command == "merge":
        merging.merge(wanted, into=parse_id(asked.get("into", "").strip()), **common)
    elif command == "watch":
        watching.watch(Ticket.objects.get(id=wanted), people=[by], by=by)
    else:
        watching.unwatch(Ticket.objects.get(id=wanted), person=by)

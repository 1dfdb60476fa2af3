"""What people ask of a migration on its admin page: the API's own operations, in its account's context."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from django.http import HttpRequest

from apps.migrations.lifecycle import TRANSITIONS, IllegalMoveError, Move, State
from apps.migrations.models import Migration
from apps.migrations.operations import asking
from apps.migrations.operations.asking import AuthorApprovesError, NoMigrationError
from apps.tenancy.context import acting_for
from apps.tenancy.sessions import PERMISSIONS

LONGEST_REASON: Final = 500
APPROVE: Final = "approve"
MAY_APPROVE: Final = PERMISSIONS["migrations:approve"]
MAY_RUN: Final = "migrations.change_migration"


class BadWordsError(ValueError):
    """What was typed cannot be; the message says what would be right."""


class PlanChangedError(Exception):
    """The plan is another one than the page showed."""


REFUSALS = (AuthorApprovesError, IllegalMoveError, NoMigrationError, BadWordsError, PlanChangedError)


class Command(NamedTuple):
    """What may be asked: its button, what it does in a sentence, and the colour of how much it changes."""

    title: str
    says: str
    move: Move
    colour: str
    do: Callable[..., Migration]


COMMANDS: Final[dict[str, Command]] = {
    APPROVE: Command(
        "Approve", "Agree to this plan. It begins once enough people did.", Move.START, "success", asking.approve
    ),
    "pause": Command(
        "Pause", "Nothing new begins; backfills stop at their next batch.", Move.PAUSE, "warning", asking.pause
    ),
    "resume": Command(
        "Resume",
        "Go on where it stopped. Of one whose gate could not tell, this is the verdict that its wave may pass.",
        Move.RESUME,
        "primary",
        asking.resume,
    ),
    "retry": Command(
        "Retry", "Go on, and try again whatever failed or was brought back.", Move.RETRY, "primary", asking.retry
    ),
    "abort": Command(
        "Abort", "Stop what runs and leave every target as it is then.", Move.ABORT, "danger", asking.abort
    ),
    "revert": Command(
        "Revert", "Bring every target back that was touched, the last first.", Move.REVERT, "danger", asking.revert
    ),
}


def offered(migration: Migration, *, request: HttpRequest) -> list[tuple[str, Command]]:
    """Return what a person may ask of a migration as it stands; who asked for it is not asked to approve it."""
    state, me = State(migration.status), request.user.get_username()
    return [
        (name, each)
        for name, each in COMMANDS.items()
        if may(name, request=request) and _allows(state, name, migration=migration) and not _own(name, migration, me)
    ]


def may(command: str, *, request: HttpRequest) -> bool:
    """Say whether a person has the permission that a command takes."""
    return bool(request.user.has_perm(MAY_APPROVE if command == APPROVE else MAY_RUN))


def act(migration: Migration, command: str, *, asked: Mapping[str, str], by: str) -> None:
    """Do what a form asks, of the plan that its page showed; raises one of `REFUSALS`."""
    reason = asked.get("reason", "").strip()
    if "\x00" in reason or len(reason) > LONGEST_REASON:
        raise BadWordsError(f"a reason of at most {LONGEST_REASON} characters would be right")
    with acting_for(migration.tenant_id):
        if command != APPROVE:
            COMMANDS[command].do(migration_id=migration.id, by=by, why=reason or None)
            return
        row = Migration.objects.get(id=migration.id)
        if asked.get("plan", "") != (row.plan_checksum or ""):
            raise PlanChangedError("its plan is another one than the page showed")
        asking.approve(migration_id=row.id, by=by, note=reason)


def _allows(state: State, name: str, *, migration: Migration) -> bool:
    if name == APPROVE:
        return state is State.AWAITING_APPROVAL
    if name == "revert" and (migration.contract_begun_at is not None or migration.started_at is None):
        return False
    return state in TRANSITIONS[COMMANDS[name].move].sources


def _own(name: str, migration: Migration, me: Any) -> bool:
    return name == APPROVE and me.casefold() == migration.requested_by.casefold()

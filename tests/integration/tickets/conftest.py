"""What tests of tickets ask for: modules of two tenants, jobs that fail and succeed, the reactor and the clerk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol
from uuid import UUID

import pytest
from django.conf import settings

from apps.core.clock import system_now
from apps.core.ids import uuid7
from apps.events.models import Event
from apps.events.operations import number_committed
from apps.jobs.lifecycle import Ending
from opsplatform import wiring
from tests.integration.conftest import Change, Control, Look
from tests.support.api import Module, said
from tests.support.work import admitted, claimed, finish, worker
from workers.clerk import Clerk
from workers.reactor import Reactor

TICKET, TICKETS = "/operations/ticket", "/operations/tickets"
SCOPES = "tickets:write tickets:read jobs:submit jobs:read evidence:read events:read"
ERROR = {
    "class": "acme_jobs.NoRowsError",
    "code": "no_rows",
    "message": "no rows in partition 17",
    "location": "a.py:1",
}
OTHER = {**ERROR, "message": "the door is shut"}


class Opened(Protocol):
    """Opens a ticket of a tenant; returns it as its opener was told."""

    def __call__(self, issue: str = "it hurts", *, tenant: str = "acme", **more: Any) -> dict[str, Any]: ...


class Asked(Protocol):
    """Asks a command of a ticket; returns the ticket as it is then."""

    def __call__(self, ticket: dict[str, Any], command: str, **body: Any) -> dict[str, Any]: ...


class Ran(Protocol):
    """Runs jobs of a type to their end; returns their ids."""

    def __call__(
        self, *, fails: dict[str, Any] | None = None, times: int = 1, tenant: str = "acme", **more: Any
    ) -> list[UUID]: ...


@pytest.fixture
def acme(db: None) -> Module:
    """Acme's module."""
    return Module("acme", scope=SCOPES)


@pytest.fixture
def globex(db: None) -> Module:
    """Globex' module."""
    return Module("globex", scope=SCOPES)


@pytest.fixture
def platform(db: None) -> Module:
    """A module of the platform's own, which may ask for every tenant."""
    return Module("*", scope=SCOPES)


@pytest.fixture
def opened(acme: Module, globex: Module) -> Opened:
    """Return an opener of tickets."""

    def open_one(issue: str = "it hurts", *, tenant: str = "acme", **more: Any) -> dict[str, Any]:
        module = {"acme": acme, "globex": globex}[tenant]
        return said(module.post({"issue": issue, **more}, path=TICKET), 201)

    return open_one


@pytest.fixture
def asked(acme: Module, globex: Module) -> Asked:
    """Return a giver of commands, each made for the version of the ticket that is handed in."""

    def ask(ticket: dict[str, Any], command: str, **body: Any) -> dict[str, Any]:
        module = {"acme": acme, "globex": globex}[ticket["tenant_id"]]
        version = {} if command == "comment" else {"version": ticket["version"]}
        return said(module.post({**version, **body}, path=f"{TICKETS}/{ticket['id']}/{command}"))

    return ask


@pytest.fixture
def read(acme: Module) -> Callable[[Any], dict[str, Any]]:
    """Return a reader of one of acme's tickets, whole."""

    def one(ticket: Any) -> dict[str, Any]:
        wanted = ticket["id"] if isinstance(ticket, dict) else ticket
        return said(acme.get(f"{TICKETS}/{wanted}"))

    return one


@pytest.fixture
def rows(look: Look) -> Callable[[], list[dict[str, Any]]]:
    """Return a reader of all tickets, oldest first."""
    return lambda: look("SELECT * FROM tickets ORDER BY id")


@pytest.fixture
def kinds(look: Look) -> Callable[[Any], list[str]]:
    """Return a reader of what a ticket's log says, by kind."""

    def of(ticket: Any) -> list[str]:
        wanted = ticket["id"] if isinstance(ticket, dict) else ticket
        found = look("SELECT kind FROM ticket_entries WHERE ticket_id = %s ORDER BY id", wanted)
        return [row["kind"] for row in found]

    return of


@pytest.fixture
def ran(db: None, control: Control) -> Ran:
    """Return a runner of jobs, in this process, by the operations of a worker."""

    def run(*, fails: dict[str, Any] | None = None, times: int = 1, tenant: str = "acme", **more: Any) -> list[UUID]:
        kind = more.pop("type", "ops.noop")
        jobs = [admitted(kind, tenant=tenant, **more) for _ in range(times)]
        with control():
            mine = worker()
            for each in jobs:
                if fails is None:
                    finish(claimed(each, worker_id=mine))
                else:
                    code = fails.get("code")
                    finish(claimed(each, worker_id=mine), Ending.FAILED, permanent=True, error=fails, reason_code=code)
        return jobs

    return run


@pytest.fixture
def reactor(db: None, control: Control) -> Reactor:
    """The reactor with the house's own wiring, from the log's end on."""
    made = Reactor(reactions=wiring.REACTIONS)
    with control():
        made.step()
    return made


@pytest.fixture
def react(reactor: Reactor, control: Control, look: Look) -> Callable[[], None]:
    """Return a way to number what was told and to let the house react, until nothing is left; nothing may fail."""

    def until_quiet() -> None:
        with control():
            while number_committed(limit=1000) or reactor.step() == 0.0:
                pass
        assert look("SELECT * FROM failed_reactions") == []
        assert [each.path for each in reactor.reactions.values() if each.failures] == []

    return until_quiet


@pytest.fixture
def clerk(db: None, control: Control) -> Callable[[], None]:
    """Return a way to let the clerk look until nothing is due."""
    made = Clerk()

    def until_quiet() -> None:
        with control():
            for _ in range(50):
                if made.step() > 0.05:
                    return
        raise AssertionError("the clerk finds something to do for ever")

    return until_quiet


@pytest.fixture
def ago(change: Change) -> Callable[..., None]:
    """Return a way to have everything of a ticket happen so many seconds earlier."""

    def move(ticket: Any, *, seconds: float) -> None:
        wanted = ticket["id"] if isinstance(ticket, dict) else ticket
        back = f"interval '{seconds} seconds'"
        change("ALTER TABLE ticket_entries DISABLE TRIGGER ticket_entries_are_kept")
        change(f"UPDATE ticket_entries SET at = at - {back} WHERE ticket_id = %s", wanted)
        change("ALTER TABLE ticket_entries ENABLE TRIGGER ticket_entries_are_kept")
        change(
            f"UPDATE tickets SET opened_at = opened_at - {back}, last_seen_at = last_seen_at - {back},"
            f" resolved_at = resolved_at - {back}, closed_at = closed_at - {back}, due_at = clock_timestamp()"
            " WHERE id = %s",
            wanted,
        )

    return move


@pytest.fixture
def home() -> Any:
    """Where the plane's keys lie."""
    return settings.ENVIRONMENT.home


def event(kind: str, *, tenant: str | None = "acme", sequence: int = 1, **data: Any) -> Event:
    """Return an event as the reactor hands it over."""
    values: dict[str, Any] = {"sequence": sequence, "tenant_id": tenant, "type": kind, "subject": "s", "data": data}
    return Event(event_id=uuid7(), occurred_at=system_now(), **values)

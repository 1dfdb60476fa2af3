"""What tests of people's pages ask for: people signed in, and a past in two tenants to look at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth import get_user_model
from django.db import transaction
from django.test import Client

from apps.events.models import Event
from apps.events.operations import number_committed
from apps.evidence.heads import Heads
from apps.jobs.lifecycle import Ending
from apps.jobs.operations.run import report
from apps.notifications import reactions as alerting
from apps.notifications.models import Notification
from apps.tenancy import operations
from apps.tenancy.context import operator_reading
from apps.tickets import reactions as ticketing
from apps.tickets.models import Ticket
from tests.integration.conftest import Control
from tests.support.api import client
from tests.support.work import admitted, claimed, finish, naming, submitted, worker
from workers.sealer import Sealer

SignedIn = Callable[..., Client]


def at(tenant: str, rest: str = "") -> str:
    """Return an address of a tenant's pages."""
    return f"/console/{tenant}/{rest}"


def page(browser: Client, address: str, query: Mapping[str, str] | None = None, *, code: int = 200) -> str:
    """Return a page's text."""
    answer = browser.get(address, query)
    assert answer.status_code == code, (answer.status_code, answer.content[:500])
    return answer.content.decode()


@pytest.fixture
def signed_in(db: None) -> SignedIn:
    """Return a maker of browsers in which a person has signed in who belongs to some tenants."""

    def make(username: str, *tenants: str, **more: Any) -> Client:
        browser = client(headers={"Accept": "text/html"})
        with operator_reading():
            person = get_user_model().objects.create_user(username, **more)
            for tenant in tenants:
                operations.put_membership(user_id=person.pk, tenant_id=tenant, role="viewer")
            browser.force_login(person)
        return browser

    return make


@pytest.fixture
def acme(signed_in: SignedIn) -> Client:
    """A browser of one of acme's people."""
    return signed_in("ada", "acme")


@pytest.fixture
def operator(signed_in: SignedIn) -> Client:
    """A browser of an operator's."""
    return signed_in("olga", is_staff=True, is_superuser=True)


@pytest.fixture
def seal(tmp_path: Path, control: Control) -> Callable[[], None]:
    """Return what seals all evidence there is."""

    def run() -> None:
        with control():
            sealer = Sealer(heads=Heads(tmp_path / "heads"))
            while sealer.step() == 0.0:
                pass

    return run


@dataclass(frozen=True)
class Past:
    """Jobs by how they ended and whose they are."""

    succeeded: UUID
    recovered: UUID
    failed: UUID
    refused: UUID
    waiting: UUID
    theirs: UUID
    alert: UUID
    ticket: UUID
    their_alert: UUID
    their_ticket: UUID


def told_and_ticketed() -> dict[str, UUID]:
    """Have every failure alerted and ticketed, as the reactor does; return the newest of each by name and tenant."""
    number_committed(limit=100)
    for event in Event.every.filter(type="operations.job.failed").order_by("sequence"):
        with transaction.atomic():
            alerting.on_job_failed(event)
            ticketing.on_job_failed(event)
    alerts = {f"notification of {row.tenant_id}": row.pk for row in Notification.every.all()}
    return alerts | {f"ticket of {row.tenant_id}": row.pk for row in Ticket.every.all()}


@pytest.fixture
def past(db: None, control: Control, seal: Callable[[], None]) -> Past:
    """What there is to see: jobs of acme's of each kind, and one of globex's."""
    succeeded, recovered, failed = admitted(params={}), admitted(), admitted("ops.fail", params={"times": 1})
    theirs, broken = admitted(tenant="globex"), admitted("ops.fail", tenant="globex", params={"times": 1})
    refused = submitted("kpi.refresh").job_id
    with control():
        mine = worker()
        first = claimed(succeeded, worker_id=mine)
        line = ["2026-01-01T00:00:00Z", "info", "half of it", {"rows": 12}]
        report(**naming(first), progress={"done": 1}, first_line=1, lines=[line])
        finish(first)
        finish(claimed(recovered, worker_id=mine), Ending.HANDED_BACK)
        finish(claimed(recovered, worker_id=mine))
        error = {"class": "Oops", "code": "too_much_rain", "message": "it rained too much"}
        finish(claimed(failed, worker_id=mine), Ending.FAILED, permanent=True, error=error)
        run = claimed(theirs, worker_id=mine)
        report(**naming(run), progress=None, first_line=1, lines=[["2026-01-01T00:00:00Z", "info", "a secret", {}]])
        finish(run)
        secret = {"class": "Oops", "code": "secret", "message": "a secret failure"}
        finish(claimed(broken, worker_id=mine), Ending.FAILED, permanent=True, error=secret)
        made = told_and_ticketed()
    seal()
    return Past(
        succeeded=succeeded,
        recovered=recovered,
        failed=failed,
        refused=refused,
        waiting=admitted(),
        theirs=theirs,
        alert=made["notification of acme"],
        ticket=made["ticket of acme"],
        their_alert=made["notification of globex"],
        their_ticket=made["ticket of globex"],
    )

"""Callers of the API, and the ground on which situations are built."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import psycopg
import pytest
from celery import Celery
from django.conf import settings

from apps.jobs.operations import leadership
from apps.jobs.retry import Limits
from apps.jobs.types import REGISTRY, job_type
from tests.integration.conftest import Change, Control
from tests.support.api import Module
from tests.support.crew import Crew
from tests.support.scene import Scene
from tests.support.work import worker
from workers import selector
from workers.scheduler import Scheduler


@pytest.fixture
def acme(db: None) -> Module:
    """Acme's module."""
    return Module("acme")


@pytest.fixture
def globex(db: None) -> Module:
    """Globex's module: the foreigner."""
    return Module("globex")


@pytest.fixture
def platform(db: None) -> Module:
    """A platform module, whose token names all tenants."""
    return Module("*")


@pytest.fixture
def scene(change: Change, control: Control, superuser: psycopg.Connection) -> Scene:
    """The ground on which situations are built."""
    for name, limits in (
        ("why.limited", Limits(running=2, running_per_tenant=1)),
        ("why.rated", Limits(rate="60/h")),
    ):
        if name not in REGISTRY:

            @job_type(name, limits=limits)
            def handle(ctx: Any, params: Any) -> None:
                """Do nothing."""

    return Scene(session=superuser, change=change, control=control)


@pytest.fixture
def broker() -> Iterator[Celery]:
    """The suite's broker, from which nobody consumes; its queues are empty again when the test is over."""
    app = Celery(broker=settings.ENVIRONMENT.broker_url)
    yield app
    with app.connection_for_write() as connection:
        for name in ("ops.default", "ops.batch"):
            connection.default_channel.queue_purge(name)


@pytest.fixture
def scheduler(control: Control, broker: Celery, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scheduler]:
    """The scheduler in office, with a worker registered and none that consumes; its plans are read anew each look."""
    monkeypatch.setattr(selector, "SHARES_EVERY_S", 0.0)
    with control():
        worker(capacity=64)
        made = Scheduler(app=broker)
        made._epoch = leadership.take_office(role="scheduler")
        made._selector.begin()
        yield made


@pytest.fixture
def crew(
    change: Change, superuser: psycopg.Connection, broker: Celery, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Crew]:
    """Return what makes a scheduler that knows how long jobs take, over so many children."""

    def make(*, children: int, reserved: int, known: Sequence[str], paces: Mapping[str, float]) -> Crew:
        monkeypatch.setattr(selector, "SHARES_EVERY_S", 0.0)
        change("UPDATE environments SET reserved_slots = %s WHERE name = 'default'", reserved)
        worker(capacity=children)
        made = Scheduler(app=broker)
        made._epoch = leadership.take_office(role="scheduler")
        made._selector.begin()
        made._selector._begun = True
        monkeypatch.setattr(made._paces, "known", lambda: dict(paces))
        for tenant in known:
            for kind, pace_s in paces.items():
                made._selector._ledger.learn(tenant_id=tenant, job_type=kind, seconds=pace_s)
        return Crew(superuser, made)

    return make

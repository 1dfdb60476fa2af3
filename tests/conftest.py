"""What every test may ask for: the database (`db`), other database roles, and a whole running plane (`plane`).

Everything is real. The database is an embedded PostgreSQL that is started when the first test asks for it; a test's
rows are committed, as in life, and swept away behind it. The plane is `make up` itself, in a home of its own.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from django.conf import settings
from django.db import connection
from pytest_django import DjangoDbBlocker

from opsplatform import embedded, os_processes
from opsplatform.embedded.server import random_port
from opsplatform.plane import Plane
from tests.environment import HOME
from tests.support.broom import Broom
from tests.support.client import Caller, Truth
from tests.support.database import InRole, entering, swept

logging.getLogger("httpx").setLevel(logging.WARNING)  # a line a request would drown what a failed test has to say

CHECKOUT = Path(__file__).resolve().parents[1]
SWEPT = (
    "jobs, job_dependencies, attempts, decisions, log_chunks, failed_reactions, events, event_consumers, processes,"
    " evidence_records, evidence_nodes, evidence_checkpoints, legal_holds,"
    " evidence_emissions, evidence_outlets, evidence_series, evidence_series_members,"
    " breakers, idempotency_keys, leaders, rate_buckets, pool_loads, gate_intervals, start_predictions,"
    " pauses, schedules, schedule_fires, triggers, trigger_firings, usage_daily, webhooks, webhook_deliveries,"
    " health_status, health_flips, health_windows, health_impacts, health_canaries, health_watch, process_orders,"
    " recovery_receipts,"
    " notifications, notification_signals, notification_deliveries, notification_attempts, notification_deadlines,"
    " inbox_items, notification_channels, notification_routes, notification_silences, notification_groups,"
    " tickets, ticket_entries, ticket_watchers, ticket_links, ticket_teams, escalation_chains, business_calendars,"
    " sla_policies,"
    " migrations, migration_approvals, migration_waves, migration_targets, migration_steps,"
    " django_session, django_admin_log, auth_user"
)


@pytest.fixture(scope="session")
def services() -> Iterator[embedded.Services]:
    """PostgreSQL and Valkey of the suite: a plane without processes, which ends with us whatever ends us."""
    nothing = HOME.with_name("Procfile")
    nothing.touch()
    port, flower_port = _free_ports(2)
    with Plane(home=HOME, port=port, flower_port=flower_port, procfile=nothing):
        started = embedded.find(home=HOME)
        assert started is not None
        yield started
        # Nobody needs what is in it: a stop that first writes it all down takes its ten seconds.
        embedded.stop_postgres(home=HOME, mode="immediate")


@pytest.fixture(scope="session")
def django_db_setup(services: embedded.Services) -> None:
    """Point Django at the suite's services: settings were read before they ran."""
    assert services.database_url is not None
    assert services.broker_url is not None
    settings.ENVIRONMENT = replace(
        settings.ENVIRONMENT,
        database_url=services.database_url,
        broker_url=services.broker_url,
        events_url=services.broker_url,
    )
    connection.settings_dict.update(settings.ENVIRONMENT.database())


@pytest.fixture(scope="session")
def superuser(services: embedded.Services, django_db_setup: None) -> Iterator[psycopg.Connection]:
    """A session that no wall holds, to sweep up and to look behind."""
    assert services.superuser_url is not None
    url = services.superuser_url.rsplit("/", 1)[0] + "/ops"
    with psycopg.connect(url, autocommit=True) as session:
        yield session


@pytest.fixture(scope="session")
def broom(superuser: psycopg.Connection) -> Broom:
    """What sweeps up behind each test."""
    return Broom(session=superuser, tables=SWEPT.split(", "))


@pytest.fixture
def db(django_db_blocker: DjangoDbBlocker, broom: Broom) -> Iterator[None]:
    """The database, as the web process has it (role `ops_app`); what the test commits is swept away behind it."""
    with swept(django_db_blocker, broom):
        yield


@pytest.fixture
def in_role(db: None) -> InRole:
    """Return a context that connects under another database role, as that role's processes do."""

    return entering


@pytest.fixture(scope="session")
def plane() -> Iterator[Plane]:
    """A whole plane on ports of its own; whoever hurts it waits until it is well again."""
    folder = Path(tempfile.mkdtemp(prefix="ops-plane-")).resolve()
    folder.chmod(0o711)
    port, flower_port = _free_ports(2)
    try:
        own = folder / "definitions"  # of tests that write their own
        own.mkdir()
        folders = [CHECKOUT / "tests/support/migrations", CHECKOUT / "tests/journeys/migrations", own]
        variables = {
            "OPS_JOB_TYPES": "tests.support.job_types",
            "OPS_MIGRATIONS": os.pathsep.join(str(each) for each in folders),
        }
        with Plane(home=folder / "home", port=port, flower_port=flower_port, variables=variables) as running:
            yield running
    finally:
        embedded.erase(home=folder / "home")
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def calling(plane: Plane) -> Iterator[Callable[..., Caller]]:
    """Return a maker of callers of the plane, by their tenants."""
    with ExitStack() as made:

        def make(*tenants: str) -> Caller:
            caller = Caller(url=plane.url, home=plane.home, tenants=tenants)
            made.callback(caller.close)
            return caller

        yield make


@pytest.fixture
def caller(calling: Callable[..., Caller]) -> Caller:
    """Acme's module, calling the plane."""
    return calling("acme")


@pytest.fixture
def truth(plane: Plane) -> Truth:
    """The plane's PostgreSQL, read past every wall."""
    found = embedded.find(home=plane.home)
    assert found is not None
    assert found.superuser_url is not None
    return Truth(url=found.superuser_url.rsplit("/", 1)[0] + "/ops")


def _free_ports(count: int) -> list[int]:
    """Return ports that were free a moment ago, and that no outgoing connection of another worker's plane can take."""
    found: list[int] = []
    while len(found) < count:
        port = random_port()
        if port not in found and os_processes.why_not_listen(host="127.0.0.1", port=port) is None:
            found.append(port)
    return found

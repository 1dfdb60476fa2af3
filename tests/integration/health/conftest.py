"""A watcher in this process, looked with by hand; modules that report; time that passes by rows being made older."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

import psycopg
import pytest
from django.conf import settings
from django.db import connection

from apps.core.ids import uuid7
from apps.health.operations.inventory import Inventory, Queue
from apps.jobs.operations.processes import LEAVE, REGISTER, registration
from opsplatform import seeds
from tests.integration.conftest import Control, Look
from tests.support.api import Module, said
from tests.support.receiver import Receiver, receiving
from workers.watcher import Watcher

HEALTH = "/operations/health"
BEATS = f"{HEALTH}/heartbeats"
SCOPES = "health:report health:read jobs:submit jobs:read"
PARTS = ("scheduler", "relay", "web", "worker-default", "watcher")


class Watch(Protocol):
    """Lets the watcher look: once, or until a condition holds."""

    def __call__(self, there: Callable[[], object] | None = None, *, within_s: float = 20) -> None: ...


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The Celery app. Importing it sets a default in the environment, which other tests must not inherit."""
    monkeypatch.setenv("OPS_DATABASE_ROLE", settings.ENVIRONMENT.database_role)
    from opsplatform.celery import app as made  # noqa: PLC0415 - see above

    return made


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
    """A module of the platform's."""
    return Module("*", scope=SCOPES)


@pytest.fixture(autouse=True)
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An operator's file that lets probes and recovery reach this machine."""
    path = tmp_path / "outbound.json"
    path.write_text(json.dumps({tenant: {"networks": ["127.0.0.0/8"]} for tenant in ("acme", "*")}))
    monkeypatch.setenv("OPS_OUTBOUND", str(path))
    return path


@pytest.fixture
def queues() -> list[Queue]:
    """The queues that the watcher is told of: none, but in tests of canaries."""
    return []


@pytest.fixture
def watcher(db: None, app: Any, queues: list[Queue]) -> Iterator[Watcher]:
    """A watcher whose loop is played by `watch`."""
    made = Watcher(app=app, consists_of=lambda: Inventory(processes=PARTS, queues=queues))
    yield made
    for pool in (made._asking, made._errands):
        pool.shutdown(wait=False, cancel_futures=True)


@pytest.fixture
def watch(watcher: Watcher, control: Control) -> Watch:
    """Play the watcher's loop."""

    def looks(there: Callable[[], object] | None = None, *, within_s: float = 20) -> None:
        end = time.monotonic() + within_s
        with control():
            watcher.step()
            while there is not None and not there():
                assert time.monotonic() < end, f"not within {within_s} s"
                time.sleep(0.02)  # the one pause of a wait on a condition
                watcher.step()

    return looks


@pytest.fixture
def component(look: Look) -> Callable[[str], dict[str, Any]]:
    """Return a reader of a component's row."""

    def read(name: str) -> dict[str, Any]:
        (row,) = look("SELECT * FROM health_status WHERE component = %s", name)
        return row

    return read


@pytest.fixture
def flips(look: Look) -> Callable[[str], list[tuple[str, str]]]:
    """Return a reader of a component's changes, oldest first: (new, reason)."""
    query = """SELECT f.new, f.reason FROM health_flips f JOIN health_status c USING (component_id)
                WHERE c.component = %s ORDER BY f.flip_id"""
    return lambda name: [(row["new"], row["reason"]) for row in look(query, name)]


@pytest.fixture
def told(look: Look) -> Callable[..., list[dict[str, Any]]]:
    """Return a reader of the events of a type, oldest first: their data."""
    query = "SELECT data, tenant_id FROM events WHERE type = %s ORDER BY occurred_at, event_id"
    return lambda kind: [row["data"] for row in look(query, f"operations.health.{kind}")]


@pytest.fixture
def older(superuser: psycopg.Connection) -> Callable[..., None]:
    """Return what lets time pass for some components: everything about them happened so many seconds earlier."""

    def make(*names: str, seconds: float) -> None:
        columns = ("since", "awaited_from", "last_check", "due_at", "run_started_at", "probe_due_at")
        steps = ", ".join(f"{name} = {name} - make_interval(secs => %(s)s)" for name in columns)
        superuser.execute(
            f"UPDATE health_status SET {steps} WHERE component = ANY (%(names)s)".encode(),
            {"s": seconds, "names": list(names)},
        )

    return make


class Process:
    """A process of the plane's that beats, as long as a test lets it."""

    def __init__(self, *, session: psycopg.Connection, control: Control) -> None:
        self._session, self._control = session, control

    def begin(
        self, role: str, *, environment: str | None = None, pid: int = 1, host: str = "here", name: str | None = None
    ) -> UUID:
        process_id = uuid7()
        facts = registration(
            process_id=process_id,
            role=role,
            name=name or f"{environment or role}@{host}",
            host=host,
            pid=pid,
            environment=environment,
            capacity=4 if role == "worker" else 0,
        )
        with self._control(), connection.cursor() as cursor:
            cursor.execute(REGISTER, facts)
        return process_id

    def leave(self, process_id: UUID) -> None:
        """Say goodbye, as a process that is told to stop does."""
        with self._control(), connection.cursor() as cursor:
            cursor.execute(LEAVE, {"process_id": process_id})

    def die(self, *process_ids: UUID) -> None:
        """Fall silent until the lease is over."""
        self._session.execute(
            b"UPDATE processes SET beat_at = clock_timestamp() - interval '16 s',"
            b" lease_until = clock_timestamp() - interval '1 s' WHERE process_id = ANY (%s)",
            [list(process_ids)],
        )

    def beat(self, process_id: UUID) -> None:
        self._session.execute(
            b"UPDATE processes SET beat_at = clock_timestamp(), lease_until = clock_timestamp() + interval '15 s'"
            b" WHERE process_id = %s",
            [process_id],
        )


@pytest.fixture
def processes(superuser: psycopg.Connection, control: Control) -> Process:
    """Return what begins and ends processes."""
    return Process(session=superuser, control=control)


@pytest.fixture
def whole(processes: Process, watch: Watch, component: Any) -> dict[str, UUID]:
    """A plane whose every part is up; part → process."""
    made = {
        part: processes.begin("worker", environment="default") if part.startswith("worker-") else processes.begin(part)
        for part in PARTS
    }
    watch()
    assert {component(part)["status"] for part in PARTS} == {"up"}
    return made


@pytest.fixture
def policies(superuser: psycopg.Connection) -> Iterator[Callable[..., None]]:
    """Return what writes a recovery policy; afterwards there are the seeded ones alone."""

    def write(policy_id: str, **values: Any) -> None:
        named = {
            "reasons": [],
            "after_s": 0,
            "params": "{}",
            "cooldown_s": 600,
            "budget_per_hour": 4,
            "patience_s": 60,
            "enabled": True,
            "dry_run": False,
            "changed_by": "test",
            **values,
            "policy_id": policy_id,
        }
        if isinstance(named["params"], dict):
            named["params"] = json.dumps(named["params"])
        columns, marks = ", ".join(named), ", ".join(f"%({name})s" for name in named)
        superuser.execute(
            f"INSERT INTO recovery_policies ({columns}, changed_at) VALUES ({marks}, now())".encode(), named
        )

    yield write
    superuser.execute(b"DELETE FROM recovery_policies WHERE policy_id <> ALL (%s)", [list(seeds.RECOVERY)])


def beat(caller: Module, component: str, **more: Any) -> dict[str, Any]:
    """Report a component."""
    return said(caller.post({"component": component, **more}, path=BEATS), 202)


def names(answer: dict[str, Any]) -> set[str]:
    """Return the components of a map."""
    return {each["component"] for each in answer["components"]}


RECEIPTS = """SELECT r.*, c.component FROM recovery_receipts r JOIN health_status c USING (component_id)
               ORDER BY r.receipt_id"""


@pytest.fixture
def receipts(look: Look) -> Callable[[], list[dict[str, Any]]]:
    """Return a reader of the receipts, oldest first."""
    return lambda: look(RECEIPTS)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver that takes everything."""
    with receiving() as made:
        yield made

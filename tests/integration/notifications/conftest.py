"""A notifier in this process, channels that lead to servers on loopback, and modules that say something."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

import pytest

from apps.core.ids import uuid7
from apps.notifications.operations import channels
from tests.integration.conftest import Control, Look
from tests.support.api import Module, said
from tests.support.receiver import Receiver, receiving
from tests.support.smtp import Post, posting
from workers import notifier as worker
from workers.notifier import Notifier

NOTIFY = "/operations/notify"
NOTIFICATIONS = "/operations/notifications"
SCOPES = "notify:send notify:read"
SECRET = "whsec_" + "c2VjcmV0" * 5


class Notifying(Protocol):
    """Lets the notifier look, until a condition holds."""

    def __call__(self, there: Callable[[], object], *, within_s: float = 20) -> None: ...


class Channelled(Protocol):
    """Makes a channel; returns its id."""

    def __call__(self, name: str, kind: str = "email", **settings: str) -> UUID: ...


class Routed(Protocol):
    """Makes a route to a channel."""

    def __call__(self, name: str, *matchers: str, channel: UUID | None = None, **more: Any) -> UUID: ...


@pytest.fixture(autouse=True)
def loopback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An operator's file that lets the platform's channels reach this machine."""
    path = tmp_path / "outbound.json"
    path.write_text(json.dumps({"*": {"networks": ["127.0.0.0/8"]}}))
    monkeypatch.setenv("OPS_OUTBOUND", str(path))
    return path


@pytest.fixture
def acme(db: None) -> Module:
    """Acme's module."""
    return Module("acme", scope=SCOPES)


@pytest.fixture
def platform(db: None) -> Module:
    """A module of the platform."""
    return Module("*", scope=SCOPES)


@pytest.fixture
def posts() -> Iterator[Callable[..., Post]]:
    """Return a maker of SMTP servers."""
    with ExitStack() as opened:
        yield lambda *behaviour: opened.enter_context(posting(*behaviour))


@pytest.fixture
def receivers() -> Iterator[Callable[..., Receiver]]:
    """Return a maker of HTTP receivers."""
    with ExitStack() as opened:
        yield lambda *answer, **more: opened.enter_context(receiving(*answer, **more))


@pytest.fixture
def channelled(control: Control) -> Channelled:
    """Return a maker of channels."""

    def make(name: str, kind: str = "email", **settings: str) -> UUID:
        more = {
            key: settings.pop(key)
            for key in ("fallback", "regions", "per_minute", "clearance", "tested_every_s")
            if key in settings
        }
        with control():
            return channels.create(name=name, kind=kind, settings=settings, by="tests", **more)  # type: ignore[arg-type]

    return make


@pytest.fixture
def routed(change: Any) -> Routed:
    """Return a maker of routes."""

    def make(name: str, *matchers: str, channel: UUID | None = None, **more: Any) -> UUID:
        route_id = uuid7()
        row = {"route_id": route_id, "name": name, "matchers": list(matchers), "channel_id": channel, "position": 100,
               "goes_on": False, "draft": False, "quiet_zone": "UTC", "changed_by": "tests", **more}  # fmt: skip
        names = ", ".join(row)
        change(f"INSERT INTO notification_routes ({names}) VALUES ({', '.join(['%s'] * len(row))})", *row.values())
        return route_id

    return make


@pytest.fixture
def notifier(db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Notifier]:
    """A notifier, in this process; its own loop is played by `notifying`."""
    monkeypatch.setattr(worker, "UPKEEP_EVERY_S", 0.1)
    made = Notifier()
    yield made
    made._pool.shutdown(wait=False, cancel_futures=True)


@pytest.fixture
def notifying(notifier: Notifier, control: Control) -> Notifying:
    """Play the notifier."""

    def until(there: Callable[[], object], *, within_s: float = 20) -> None:
        end = time.monotonic() + within_s
        with control():
            while not there():
                assert time.monotonic() < end, f"not within {within_s} s"
                if notifier.step():
                    time.sleep(0.01)  # the one pause of a wait on a condition

    return until


@pytest.fixture
def deliveries(look: Look) -> Callable[[], list[dict[str, Any]]]:
    """Return a reader of all deliveries with their channels' names, oldest first."""
    return lambda: look(
        "SELECT d.*, c.name AS by FROM notification_deliveries d JOIN notification_channels c USING (channel_id)"
        " ORDER BY d.created_at, d.delivery_id"
    )


@pytest.fixture
def status(look: Look) -> Callable[[dict[str, Any]], str]:
    """Return a reader of a notification's status, past every wall."""
    return lambda told: str(
        look("SELECT status FROM notifications WHERE id = %s", told["notification_id"])[0]["status"]
    )


def trigger(module: Module, **more: Any) -> dict[str, Any]:
    """Say that something is the matter."""
    body = {"summary": "The feed is late.", "severity": "error", "source": "data-acquisition", **more}
    return said(module.post(body, path=NOTIFY), 202)


def resolve(module: Module, key: str) -> dict[str, Any]:
    """Say that it is over."""
    return said(module.post({"event_action": "resolve", "dedup_key": key}, path=NOTIFY), 202)

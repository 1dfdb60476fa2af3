"""A sender in this process, receivers on loopback, and webhooks made over HTTP."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import pytest

from apps.events.operations import number_committed
from tests.integration.conftest import Control, Look
from tests.support.api import Module, said
from tests.support.receiver import Receiver, receiving
from workers import webhooks
from workers.webhooks import Sender

WEBHOOKS = "/operations/webhooks"
SCOPES = "jobs:submit jobs:read events:read webhooks:write"
ALL_JOBS = ["operations.job.*"]


class Hooked(Protocol):
    """Makes a webhook of a tenant; returns it as its maker was told."""

    def __call__(self, receiver: Receiver, *, tenant: str = "acme", **more: Any) -> dict[str, Any]: ...


class Sending(Protocol):
    """Numbers what was told and lets the sender look, until a condition holds."""

    def __call__(self, there: Callable[[], object], *, within_s: float = 20) -> None: ...


@pytest.fixture(autouse=True)
def loopback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An operator's file that lets webhooks of acme and globex reach this machine."""
    path = tmp_path / "outbound.json"
    path.write_text(json.dumps({tenant: {"networks": ["127.0.0.0/8"]} for tenant in ("acme", "globex")}))
    monkeypatch.setenv("OPS_OUTBOUND", str(path))
    return path


@pytest.fixture
def acme(db: None) -> Module:
    """Acme's module."""
    return Module("acme", scope=SCOPES)


@pytest.fixture
def globex(db: None) -> Module:
    """Globex' module."""
    return Module("globex", scope=SCOPES)


@pytest.fixture
def receivers() -> Iterator[Callable[..., Receiver]]:
    """Return a maker of receivers."""
    with ExitStack() as opened:
        yield lambda *answer, **more: opened.enter_context(receiving(*answer, **more))


@pytest.fixture
def receiver(receivers: Callable[..., Receiver]) -> Receiver:
    """A receiver that takes everything."""
    return receivers()


@pytest.fixture
def hooked(acme: Module, globex: Module) -> Hooked:
    """Return a maker of webhooks."""

    def make(receiver: Receiver, *, tenant: str = "acme", **more: Any) -> dict[str, Any]:
        module = {"acme": acme, "globex": globex}[tenant]
        return said(module.post({"url": receiver.url, "event_types": ALL_JOBS, **more}, path=WEBHOOKS), 201)

    return make


@pytest.fixture
def sender(db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sender]:
    """A sender, in this process; its own loop is played by `sending`."""
    monkeypatch.setattr(webhooks, "UPKEEP_EVERY_S", 0.1)
    made = Sender()
    yield made
    made._pool.shutdown(wait=False, cancel_futures=True)


@pytest.fixture
def sending(sender: Sender, control: Control) -> Sending:
    """Play the relay and the sender."""

    def until(there: Callable[[], object], *, within_s: float = 20) -> None:
        end = time.monotonic() + within_s
        with control():
            while not there():
                assert time.monotonic() < end, f"not within {within_s} s"
                number_committed(limit=500)
                rest_s = sender.step()
                if rest_s:
                    time.sleep(0.01)  # the one pause of a wait on a condition

    return until


@pytest.fixture
def deliveries(look: Look) -> Callable[[], list[dict[str, Any]]]:
    """Return a reader of all deliveries, oldest first."""
    return lambda: look("SELECT * FROM webhook_deliveries ORDER BY delivery_id")

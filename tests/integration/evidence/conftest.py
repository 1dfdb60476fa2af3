"""Logs to be sealed and looked at: heads in a folder of the test's own, so that no test finds another's."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.conf import settings

from apps.evidence import heads as kept_heads
from apps.evidence import keys
from apps.evidence.heads import Heads
from apps.jobs.lifecycle import Ending
from tests.integration.conftest import Change, Control
from tests.support.api import Module
from tests.support.refusals import looped, over
from tests.support.sink import SinkProcess, sinking
from tests.support.work import admitted, claimed, finish, worker
from workers.emitter import LOOK_EVERY_S, Emitter
from workers.sealer import Sealer
from workers.sink_client import Sink


@pytest.fixture
def heads(tmp_path: Path, settings: Any) -> Heads:
    """The checkpoints kept outside the database, in a home of the test's own that has the plane's keys."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "keys").symlink_to(settings.ENVIRONMENT.home / "keys")
    settings.ENVIRONMENT = dataclasses.replace(settings.ENVIRONMENT, home=home)
    return kept_heads.kept()


@pytest.fixture
def own_keys(tmp_path: Path, settings: Any) -> Path:
    """Log keys of the test's own, which it may change."""
    folder = tmp_path / "keys"
    folder.mkdir()
    keys.ensure(folder=folder)
    settings.ENVIRONMENT = dataclasses.replace(settings.ENVIRONMENT, keys=folder)
    return folder


@pytest.fixture
def sealer(heads: Heads) -> Sealer:
    """A sealer, led by the test."""
    return Sealer(heads=heads)


@pytest.fixture
def sealed(control: Control, sealer: Sealer) -> Callable[[], None]:
    """Return what seals all that waits."""

    def seal() -> None:
        with control():
            while sealer.step() == 0.0:
                pass

    return seal


@pytest.fixture
def done(control: Control) -> Callable[..., str]:
    """Return what makes a job of a tenant that succeeded; it returns the job's id."""

    def make(tenant: str = "acme") -> str:
        job_id = admitted(tenant=tenant)
        with control():
            finish(claimed(job_id, worker_id=worker()), Ending.SUCCEEDED)
        return str(job_id)

    return make


@pytest.fixture
def sink(db: None, tmp_path: Path) -> Iterator[SinkProcess]:
    """The built-in sink, a process of its own."""
    with sinking(folder=tmp_path / "sink", published=Path(settings.ENVIRONMENT.keys) / keys.PUBLIC_FILE) as running:
        yield running


@pytest.fixture
def emitter(sink: SinkProcess) -> Emitter:
    return Emitter(sink=Sink(url=None, witness=None, folder=sink.folder))


@pytest.fixture
def emit_all(control: Control) -> Callable[[Emitter], None]:
    """Return what lets an emitter offer all it can now."""

    def run(emitter: Emitter) -> None:
        emitter._back_at = 0.0
        with control():
            for _ in range(100):
                if emitter.step() == LOOK_EVERY_S:
                    return
        raise AssertionError("it never rested")

    return run


@pytest.fixture
def acme() -> Module:
    """A module of acme's, calling the API."""
    return Module("acme")


@pytest.fixture
def loop(change: Change, sealed: Callable[[], None]) -> list[UUID]:
    """Five refusals alike of acme's, counted and sealed, amid others."""
    looped(2, submitted_by="another-module")
    jobs = looped(5)
    looped(1, tenant="globex")
    sealed()
    over(change)
    sealed()
    return jobs

"""After a look that found a few jobs the scheduler lets some more come; after one that found none it looks at once."""

from __future__ import annotations

import time

import psycopg
import pytest

from tests.support.queue import queue
from workers import scheduler as scheduling
from workers.scheduler import Scheduler

LONG_S = 1.5


def test_a_streams_jobs_are_gathered(
    scheduler: Scheduler, superuser: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduling, "GATHER_S", LONG_S)
    scheduler.step()
    queue(superuser, tenant="acme", count=2)
    began = time.monotonic()
    scheduler.step()
    assert superuser.execute("SELECT count(*) FROM jobs WHERE status = 'dispatched'").fetchone() == (2,)
    scheduler.step()
    assert time.monotonic() - began >= LONG_S, "the second look did not let more come"

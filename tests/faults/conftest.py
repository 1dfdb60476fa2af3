"""A plane that is well before a test hurts it and well again after."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from opsplatform.plane import Plane
from tests.support.client import Truth, wait_for
from tests.support.invariants import broken

PROCESSES = {
    "web",
    "scheduler",
    "worker-default",
    "worker-batch",
    "worker-control",
    "relay",
    "sealer",
    "submitter",
    "reactor",
    "emitter",
    "sink",
    "clerk",
    "migrator",
    "webhooks",
    "watcher",
    "notifier",
    "beat",
    "flower",
}

WORKING = """
SELECT DISTINCT environment FROM processes
 WHERE role = 'worker' AND state = 'live' AND environment IS NOT NULL
   AND lease_until > clock_timestamp() + interval '8 s'
"""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Play each fault TEST_TIMES times in a row (`make faults`): what holds once may hold by luck."""
    times = int(os.environ.get("TEST_TIMES") or 1)
    if times > 1 and metafunc.definition.get_closest_marker("soak") is None:
        metafunc.fixturenames.append("time")
        metafunc.parametrize("time", range(times), ids=lambda number: f"time {number + 1}")


def well(plane: Plane, truth: Truth) -> bool:
    """Say whether every process runs and both environments have a worker with a fresh lease."""
    running = {name for name, process in plane.processes().items() if process["pid"] is not None}
    return running >= PROCESSES and len(truth.rows(WORKING)) == 2


@pytest.fixture(autouse=True)
def healthy(plane: Plane, truth: Truth) -> Iterator[None]:
    """Begin with a plane that is well; afterwards no promise may be broken."""
    wait_for(lambda: well(plane, truth), what="a plane that is well")
    yield
    wait_for(lambda: well(plane, truth), what="a plane that is well again")
    wait_for(lambda: not broken(truth), what="all work over and every invariant held", within_s=60)
    assert broken(truth) == []

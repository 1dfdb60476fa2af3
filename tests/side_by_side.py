"""The suite on several workers (`make test`; `pytest -n 3`), loaded with `-p`; without `-n` as if it were not here.

Most tests of whole planes wait: for a lease to run out, for a process to come back. So they wait side by side, each
worker with a plane of its own, and what computes runs meanwhile. What is shared out, and to whom:

- tests of whole planes one by one, to the first two workers (a third plane would cost more than it brings), the longest
  first; those with a plane of their module's own stay together;
- everything else by its file, to all; a worker that plays no planes is nicer than they are: their deadlines are
  promises of the product, and a processor busy elsewhere is none of its doing;
- last of all, when the other workers are through, what measures (`alone`).
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

PLANES = ("tests/faults/", "tests/journeys/")
LONGEST = ("tests/faults/test_histories.py", "tests/journeys/test_demo.py", "tests/faults/test_decision_points.py")
PLANE_OF_ITS_OWN = ("tests/faults/test_decision_points.py",)
PLAYERS = 2
ALONE = "@alone"
RUNNING = pytest.StashKey[IO[str]]()
NICER = 10


class Sharing(LoadScopeScheduling):  # type: ignore[misc]
    """Hands out units of work: a worker always holds one test beyond the one it runs, for it must know the next."""

    def _split_scope(self, nodeid: str) -> str:
        """Return the unit that a test belongs to."""
        file = nodeid.partition("::")[0]
        if nodeid.endswith(ALONE):
            return ALONE
        return nodeid if file.startswith(PLANES) and file not in PLANE_OF_ITS_OWN else file

    def remove_node(self, node: Any) -> str | None:
        """Let a worker go; return the test that it crashed in, if it did: that one has failed, others get the rest."""
        left = {unit: tests for unit, tests in self.assigned_work.pop(node).items() if not all(tests.values())}
        if not left:
            return None
        unit, tests = next(iter(left.items()))
        crashed: str = next(test for test, completed in tests.items() if not completed)
        tests[crashed] = True
        if all(tests.values()):
            del left[unit]
        self.workqueue.update(left)
        for each in self.nodes:
            self._reschedule(each)
        return crashed

    def _reschedule(self, node: Any) -> None:
        if node.shutting_down or (self.workqueue and self._pending_of(self.assigned_work[node]) > 1):
            return
        if self.workqueue and (unit := self._next(node)) is not None:
            self.workqueue.move_to_end(unit, last=False)
            super()._assign_work_unit(node)
        elif self._is_done_for(node):
            node.shutdown()

    def _assign_work_unit(self, node: Any) -> None:
        self._reschedule(node)

    def _next(self, node: Any) -> str | None:
        """Return the unit that `node` is to take."""
        waiting: list[str] = [unit for unit in self.workqueue if unit != ALONE]
        planes = [unit for unit in waiting if unit.startswith(PLANES)]
        working = self._working()
        if planes and node in working[:PLAYERS]:
            return next((unit for name in LONGEST for unit in planes if unit.startswith(name)), planes[0])
        others = [unit for unit in waiting if unit not in planes]
        if others:
            return others[0]
        return ALONE if not waiting and working[0] is node and ALONE in self.workqueue else None

    def _is_done_for(self, node: Any) -> bool:
        """Say whether nothing will come any more for `node`: what measures is the first worker's."""
        return not (ALONE in self.workqueue and self._working()[0] is node)

    def _working(self) -> list[Any]:
        return [node for node in self.nodes if not node.shutting_down]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Share out as this page says."""
    config.option.loadscopereorder = False  # files come in random order, as everything does
    return Sharing(config, log)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker, as it is started, which file says who is at work."""
    if RUNNING not in node.config.stash:
        node.config.stash[RUNNING] = tempfile.NamedTemporaryFile("w", prefix="ops-tests-", suffix=".lock")  # noqa: SIM115
    node.workerinput["running"] = node.config.stash[RUNNING].name


def pytest_configure(config: pytest.Config) -> None:
    """In a worker: be at work until the session is over, and be nice if the planes are played elsewhere."""
    worker = getattr(config, "workerinput", None)
    if worker is None:
        return
    config.stash[RUNNING] = Path(worker["running"]).open("r")  # noqa: SIM115 - open as long as we are at work
    fcntl.flock(config.stash[RUNNING], fcntl.LOCK_SH)
    if int(worker["workerid"].removeprefix("gw")) >= PLAYERS:
        os.nice(NICER)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In a worker: name what measures so that whoever shares out can see it."""
    if hasattr(config, "workerinput"):
        for item in items:
            if item.get_closest_marker("alone"):
                item._nodeid = f"{item.nodeid}{ALONE}"  # type: ignore[attr-defined]


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Before a test that measures, wait until the other workers are through; outside of any test's time limit."""
    running = item.config.stash.get(RUNNING, None)
    if running is None or not item.nodeid.endswith(ALONE):
        return (yield)
    fcntl.flock(running, fcntl.LOCK_EX)
    try:
        return (yield)
    finally:
        fcntl.flock(running, fcntl.LOCK_SH)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Our last test is over and its plane stopped: we are not at work any more. (The process itself lives on.)"""
    running = session.config.stash.get(RUNNING, None)
    if running is not None and hasattr(session.config, "workerinput"):
        running.close()

"""How the suite is shared out among workers: every test once, planes to two, what measures last and by itself."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from tests.side_by_side import ALONE, Sharing

MEASURES = [f"tests/faults/test_killed.py::test_in_time{ALONE}", f"tests/unit/test_pace.py::test_fast{ALONE}"]
PLANES = [
    *(f"tests/faults/test_{letter}.py::test_{number}" for letter in "abc" for number in range(4)),
    "tests/journeys/test_demo.py::test_story",
    "tests/faults/test_histories.py::test_all",
]
OTHERS = [f"tests/unit/test_{letter}.py::test_{number}" for letter in "defg" for number in range(3)]
ALL = [*MEASURES, *PLANES, *OTHERS]


class Worker:
    """A worker that plays what it is given, one test a turn, if it knows the next or that there is none."""

    def __init__(self, name: str) -> None:
        self.gateway = SimpleNamespace(id=name)
        self.shutting_down = False
        self.waiting: list[int] = []

    def send_runtest_some(self, indices: Sequence[int]) -> None:
        self.waiting += indices

    def shutdown(self) -> None:
        self.shutting_down = True


class Run:
    """A run on some workers, played turn by turn."""

    def __init__(self, count: int, tests: Sequence[str] = ALL) -> None:
        options: dict[str, Any] = {"tx": ["popen"] * count, "px": []}
        config: Any = SimpleNamespace(getvalue=options.get, option=SimpleNamespace(loadscopereorder=False))
        self.tests = list(tests)
        self.sharing = Sharing(config, None)
        self.played: list[tuple[str, str]] = []
        for number in range(count):
            self.join(f"gw{number}")
        self.sharing.schedule()

    def join(self, name: str) -> None:
        worker = Worker(name)
        self.sharing.add_node(worker)
        self.sharing.add_node_collection(worker, self.tests)

    def turn(self) -> bool:
        """Let each worker play a test; return whether any did."""
        moved = False
        for worker in list(self.sharing.nodes):
            if len(worker.waiting) > (0 if worker.shutting_down else 1):
                index = worker.waiting.pop(0)
                self.played.append((worker.gateway.id, self.tests[index]))
                self.sharing.mark_test_complete(worker, index)
                moved = True
            elif worker.shutting_down and not worker.waiting:
                self.sharing.remove_node(worker)
                moved = True
        return moved

    def to_its_end(self) -> list[tuple[str, str]]:
        while self.turn():
            pass
        assert not self.sharing.nodes, "somebody waits for ever"
        return self.played


@pytest.mark.parametrize("count", [1, 2, 3, 4, 40])
def test_each_test_is_played_once(count: int) -> None:
    played = Run(count).to_its_end()
    assert sorted(test for _, test in played) == sorted(ALL)


@pytest.mark.parametrize("some", [MEASURES, PLANES, OTHERS, MEASURES[:1], PLANES[:1], OTHERS[:1]])
def test_some_of_them_are_played_as_well(some: list[str]) -> None:
    assert sorted(test for _, test in Run(3, some).to_its_end()) == sorted(some)


def test_planes_are_two_workers_and_the_longest_come_first() -> None:
    played = Run(3).to_its_end()
    assert {worker for worker, test in played if test in PLANES} == {"gw0", "gw1"}
    assert {test for _, test in played[:3] if test in PLANES} == set(PLANES[-2:])


def test_what_measures_is_last_and_all_at_one_worker() -> None:
    played = Run(3).to_its_end()
    assert {worker for worker, test in played if test in MEASURES} == {"gw0"}
    by_it = [test for worker, test in played if worker == "gw0"]
    assert by_it[-2:] == MEASURES


@pytest.mark.parametrize("turns", range(8))
def test_a_worker_that_crashes_costs_the_test_that_it_played_and_no_other(turns: int) -> None:
    run = Run(3)
    for _ in range(turns):
        run.turn()
    worker = run.sharing.nodes[0]
    crashed = run.sharing.remove_node(worker)
    run.join("gw3")
    run.sharing.schedule()
    played = [test for _, test in run.to_its_end()]
    assert {*played, crashed} == set(ALL)
    assert len(played) == len(set(played))

"""`why` tells the truth: each situation is built of rows and operations, and every gate that holds is named."""

from __future__ import annotations

import pytest

from tests.support.api import Module
from tests.support.scene import Scene, why
from tests.support.situations import SITUATIONS, Situation


@pytest.mark.parametrize(
    ("gates_shut", "build"), [each[1:] for each in SITUATIONS], ids=[each[0] for each in SITUATIONS]
)
def test_every_gate_that_holds_is_named_and_no_other(
    scene: Scene, acme: Module, gates_shut: list[str], build: Situation
) -> None:
    answer = why(acme, build(scene))
    assert [each["gate"] for each in answer["gates"]] == gates_shut
    assert all(each["says"] and each["clears"] for each in answer["gates"])
    assert sum(part["seconds"] for part in answer["waits"]["parts"]) == pytest.approx(answer["waits"]["total_s"])
    assert "globex" not in str(answer)


def test_there_are_thirty_situations() -> None:
    assert len(SITUATIONS) >= 30

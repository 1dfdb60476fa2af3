"""How long a migration may still take: by its own pace once that tells, before by its plan."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from apps.migrations.lifecycle import State
from apps.migrations.progress import eta_s, expected_s, ran_s

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
PLAN = {"estimate": {"duration_s": {"low": 60, "likely": 600, "high": 900}}}


def eta(**more: Any) -> float | None:
    return eta_s(**{"status": State.RUNNING, "progress": 0.0, "ran_s": 0.0, "plan": PLAN, **more})


def test_it_ran_for_as_long_as_it_did_not_stand_still() -> None:
    began = NOW - timedelta(seconds=100)
    assert ran_s(started_at=began, now=NOW, stopped_s=30, stopped_at=None) == 70
    assert ran_s(started_at=began, now=NOW, stopped_s=30, stopped_at=NOW - timedelta(seconds=20)) == 50
    assert ran_s(started_at=NOW, now=began, stopped_s=0, stopped_at=None) == 0, "clocks may differ"


def test_before_its_own_pace_tells_it_is_the_plan_that_does() -> None:
    assert eta() == 600
    assert eta(progress=0.05, ran_s=200.0) == 400
    assert eta(ran_s=1000.0) == 0, "over its time, and nobody knows by how much"


@pytest.mark.parametrize(
    ("progress", "ran", "left"), [(0.25, 60.0, 180), (0.5, 1000.0, 1000), (0.99, 99.0, 1), (1, 5.0, 0)]
)
def test_then_its_own_pace(progress: float, ran: float, left: float) -> None:
    assert eta(progress=progress, ran_s=ran) == pytest.approx(left)


@pytest.mark.parametrize("status", [state for state in State if state is not State.RUNNING])
def test_what_does_not_run_has_none(status: State) -> None:
    assert eta(status=status, progress=0.5, ran_s=10.0) is None


@pytest.mark.parametrize(
    "plan",
    [
        None, {}, {"estimate": None}, {"estimate": {"duration_s": None}}, {"estimate": []},
        {"estimate": {"duration_s": {"likely": None}}}, {"estimate": {"duration_s": {"likely": True}}},
    ],
)  # fmt: skip
def test_a_plan_that_does_not_say_leaves_it_open(plan: Any) -> None:
    assert expected_s(plan) is None
    assert eta(plan=plan) is None
    assert eta(plan=plan, progress=0.5, ran_s=7.0) == 7
    assert eta(ran_s=None) is None

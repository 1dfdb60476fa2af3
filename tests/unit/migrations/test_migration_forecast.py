"""What a rehearsal foretells of larger targets, which of them it is taken on, and what it makes of the risk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from apps.migrations.definition import (
    Batch,
    Definition,
    Gates,
    Kind,
    OnFailure,
    Phase,
    Risk,
    Stall,
    Step,
    TargetKind,
    Targets,
)
from apps.migrations.risk import Assessment
from apps.migrations.waves import Candidate
from workers.migrations.forecast import Forecast
from workers.migrations.observer import Lock
from workers.migrations.plan_document import risen
from workers.migrations.planner import typical
from workers.migrations.rehearsal import Rehearsal, Timed, Trouble

SMALL, LARGE = (
    Candidate(key=key, tenant_id=key, size_bytes=size) for key, size in (("small", 10**6), ("large", 10**8))
)


def definition(*steps: Step) -> Definition:
    return Definition(
        name="crm", module="crm", version_from="1.4", version_to="1.5", description="", risk=Risk.LOW,
        targets=Targets(kind=TargetKind.TENANT, database="crm", schema="tenant_{target}"), parallel=2,
        waves=[{"count": 1}], gates=Gates(bake_s=10), on_failure=OnFailure.PAUSE, stall=Stall(), steps=steps,
        checksum="sha256:0", folder=Path(),
    )  # fmt: skip


def step(name: str, **more: Any) -> Step:
    return Step(**{"name": name, "kind": Kind.SQL, "phase": Phase.EXPAND, "number": 0, "checksum": name, **more})


def timed(name: str, *, rows: int, seconds: float, mode: str = "AccessExclusiveLock", direction: str = "up") -> Timed:
    lock = Lock(relation="customers", mode=mode, held_ms=1000 * seconds)
    return Timed(
        name=name, direction=direction, size=rows, seconds=seconds, tables=["customers"], over=rows, rows=None,
        locks=[lock],
    )  # fmt: skip


def forecast(steps: list[Step], runs: list[Timed], **more: Any) -> Forecast:
    found = Rehearsal(on="tenant_small", timed=runs, rows={"customers": 10_000}, came_back=True, **more)
    return Forecast(
        definition=definition(*steps), rehearsal=found, size_bytes=SMALL.size_bytes, waves=[[SMALL], [LARGE]]
    )


TWICE = [timed("add", rows=1000, seconds=0.1), timed("add", rows=4000, seconds=0.4)]


def test_a_lock_is_foretold_for_the_largest_target_at_its_rows() -> None:
    longest = forecast([step("add")], TWICE).longest_lock()
    assert longest is not None
    assert (longest.on, longest.step, longest.relation) == ("large", "add", "customers")
    assert longest.held_ms.likely == pytest.approx(100_000), "a million rows, at 0.1 ms a row"


def test_a_lock_that_lets_writers_pass_is_no_long_lock() -> None:
    runs = [timed("add", rows=1000, seconds=9, mode="ShareUpdateExclusiveLock")]
    assert forecast([step("add")], runs).longest_lock() is None


def test_a_batch_is_as_long_as_batches_are_made() -> None:
    fill = step("add", phase=Phase.BACKFILL, batch=Batch(table="customers", key="id"))
    told = forecast([fill], [timed("add", rows=1000, seconds=0.05, mode="RowExclusiveLock")]).rehearsed()
    assert told["steps"][0]["locks"][0]["predicted_ms"] == {"low": 0.0, "likely": 200.0, "high": 400.0}


def test_the_whole_is_the_waves_their_targets_and_their_baking() -> None:
    told = forecast([step("add")], TWICE).estimated(drill=False)
    assert told["duration_s"]["likely"] == pytest.approx(1.0 + 0.3 + 10 + 100 + 0.3 + 10, rel=0.01)


def test_a_drill_takes_the_first_wave_down_and_up_once_more() -> None:
    runs = [*TWICE, timed("add", rows=4000, seconds=0.4, direction="down")]
    plain, drill = (forecast([step("add")], runs).estimated(drill=drill)["duration_s"] for drill in (False, True))
    assert drill["likely"] - plain["likely"] == pytest.approx(1.3 + 1.3, abs=0.1)


def test_of_what_was_not_timed_no_duration_is_told() -> None:
    assert forecast([step("add"), step("fill")], TWICE).estimated(drill=False)["duration_s"] is None
    told = forecast([step("add"), step("tell", kind=Kind.MODULE)], TWICE, skipped=["tell: module"])
    assert told.estimated(drill=False)["duration_s"] is not None
    assert told.estimated(drill=False)["not_counted"] == ["tell: module"]


@pytest.mark.parametrize(
    ("trouble", "risk"),
    [
        (None, Risk.LOW),
        (Trouble(code="may_not_make_schemas"), Risk.MEDIUM),
        (Trouble(code="verify_failed", step="check", direction="up"), Risk.MEDIUM),
        (Trouble(code="did_not_come_back", differs=["index by_name"]), Risk.HIGH),
        (Trouble(code="reaches_outside", step="add", direction="up"), Risk.HIGH),
        (Trouble(code="sql_42p01", step="add", direction="down"), Risk.HIGH),
    ],
)
def test_what_went_wrong_raises_the_risk(trouble: Trouble | None, risk: Risk) -> None:
    quick = [timed("add", rows=1000, seconds=0.0001)]
    found = risen(Assessment(risk=Risk.LOW, reasons=()), forecast([step("add")], quick, trouble=trouble))
    assert found.risk is risk
    assert len(found.reasons) == (trouble is not None)


def test_a_long_lock_raises_the_risk_and_nothing_lowers_it() -> None:
    found = risen(Assessment(risk=Risk.LOW, reasons=()), forecast([step("add")], TWICE))
    assert (found.risk, found.reasons) == (
        Risk.MEDIUM, ("rehearsal: add may hold customers of large for 184.9 s",),
    )  # fmt: skip
    assert risen(Assessment(risk=Risk.HIGH, reasons=("drop: …",)), None).risk is Risk.HIGH


def test_the_typical_target_is_of_the_usual_shape_and_the_middle_size() -> None:
    sizes = [10, 20, 30, 40, 50]
    usual = [Candidate(key=f"t{size}", tenant_id="a", size_bytes=size) for size in sizes]
    odd = Candidate(key="odd", tenant_id="a", size_bytes=30, alike=0.9)
    found = [each.key for each in typical([odd, *reversed(usual)])]
    assert found[0] == "t30"
    assert found[-1] == "odd"
    assert typical([]) == []

"""How much can go wrong with a definition, with its reasons, and how many people have to say yes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from apps.migrations.definition import Risk
from apps.migrations.folders import assembly
from apps.migrations.risk import approvals_needed, assess
from tests.support.migrations import CRM_1_5, CRM_1_6, write

STEP = {"name": "add", "kind": "sql", "phase": "expand", "revert": "nothing"}


@pytest.mark.parametrize(
    ("step", "risk", "reason"),
    [
        ({"sql": "ALTER TABLE t ADD COLUMN c text;"}, Risk.LOW, None),
        ({"sql": "CREATE INDEX CONCURRENTLY i ON t (c);", "transaction": False}, Risk.LOW, None),
        ({"sql": "CREATE TABLE t (id int); CREATE INDEX i ON t (id);"}, Risk.LOW, None),
        ({"phase": "verify", "sql": "SELECT true;"}, Risk.LOW, None),
        ({"phase": "verify", "kind": "job", "type": "ops.noop"}, Risk.LOW, None),
        ({"sql": "ALTER TABLE t ADD COLUMN c int NOT NULL;"}, Risk.MEDIUM, "t.c is NOT NULL without a default"),
        ({"sql": "ALTER TABLE t ALTER c TYPE bigint;"}, Risk.MEDIUM, "rewrites a table"),
        ({"sql": "ALTER TABLE t ADD CHECK (c > 1);"}, Risk.MEDIUM, "scans a table"),
        ({"sql": "CREATE INDEX i ON t (c);"}, Risk.MEDIUM, "stops writes meanwhile: index i on t"),
        ({"sql": "UPDATE t SET c = 1;"}, Risk.MEDIUM, "changes rows that are there: update of t"),
        ({"sql": "DO $$ BEGIN END $$;"}, Risk.MEDIUM, "does what its text does not tell: DO"),
        (
            {
                "phase": "backfill",
                "sql": "UPDATE t SET c = 1 WHERE id > %(after)s AND id <= %(upto)s;",
                "batch": {"table": "t", "key": "id"},
            },
            Risk.MEDIUM,
            "changes rows that are there, batch by batch of t",
        ),
        ({"kind": "module", "path": "/x"}, Risk.MEDIUM, "does what the module does"),
        ({"kind": "python", "function": "a:b"}, Risk.MEDIUM, "does what its function does"),
        ({"sql": "DROP TABLE t;"}, Risk.HIGH, "takes away table t, for good"),
        ({"sql": "TRUNCATE t;"}, Risk.HIGH, "takes away all rows of t, for good"),
        ({"sql": "ALTER TABLE t RENAME c TO d;"}, Risk.HIGH, "renames column t.c"),
        ({"sql": "CREATE ROLE x;"}, Risk.HIGH, "reaches beyond the target's schema: CREATE ROLE"),
        ({"sql": "DROPP;"}, Risk.HIGH, "cannot be read"),
        ({"phase": "contract", "sql": "ALTER TABLE t ALTER c DROP DEFAULT;"}, Risk.HIGH, "is of the phase contract"),
    ],
)
def test_what_a_step_does_makes_the_risk(tmp_path: Path, step: dict[str, Any], risk: Risk, reason: str | None) -> None:
    found = assess(assembly.read(write(tmp_path, {**STEP, **step})))
    assert found.risk is risk
    assert [each.split(": ", 1)[0] for each in found.reasons] == ["add"] * len(found.reasons)
    assert any(reason in each for each in found.reasons) if reason else found.reasons == ()


def test_the_riskiest_step_decides_and_every_reason_is_told() -> None:
    crm = assess(assembly.read(CRM_1_5))
    assert crm.risk is Risk.HIGH
    assert [each.split(":")[0] for each in crm.reasons] == ["fill_region", "drop_country", "drop_country"]
    assert assess(assembly.read(CRM_1_6)).risk is Risk.MEDIUM


@pytest.mark.parametrize("floor", list(Risk))
def test_a_definition_may_raise_its_own_risk_and_never_lower_it(tmp_path: Path, floor: Risk) -> None:
    mild = assess(assembly.read(write(tmp_path / "mild", {**STEP, "sql": "SELECT 1;"}, risk=floor.value)))
    assert mild.risk is floor
    assert bool(mild.reasons) is (floor is not Risk.LOW)
    harsh = assess(assembly.read(write(tmp_path / "harsh", {**STEP, "sql": "DROP TABLE t;"}, risk=floor.value)))
    assert harsh.risk is Risk.HIGH


def test_what_only_a_revert_does_raises_nothing(tmp_path: Path) -> None:
    step = {"name": "add", "kind": "sql", "phase": "expand", "sql": "SELECT 1;", "undo": "DROP TABLE t;"}
    assert assess(assembly.read(write(tmp_path, step))).risk is Risk.LOW


def test_more_risk_asks_more_people() -> None:
    assert [approvals_needed(risk) for risk in Risk] == [0, 1, 2]

"""What the linter says of definitions: each rule with a definition that breaks it, and one that does not."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from apps.jobs.types import REGISTRY
from apps.migrations.definition import Definition
from apps.migrations.folders import assembly
from apps.migrations.lint import Finding, Level, errors, lint
from tests.support.migrations import BAD, CRM_1_5, CRM_1_6, write

EXPAND = {
    "name": "add",
    "kind": "sql",
    "phase": "expand",
    "sql": "ALTER TABLE customers ADD COLUMN region text;",
    "undo": "ALTER TABLE customers DROP COLUMN IF EXISTS region;",
}
VERIFY = {
    "name": "check",
    "kind": "sql",
    "phase": "verify",
    "sql": "SELECT NOT EXISTS (SELECT FROM customers WHERE region IS NULL);",
    "revert": "nothing",
}
CONTRACT = {
    "name": "drop",
    "kind": "sql",
    "phase": "contract",
    "sql": "ALTER TABLE customers DROP COLUMN country;",
}
FILL = {
    "name": "fill",
    "kind": "sql",
    "phase": "backfill",
    "sql": "UPDATE customers SET region = 'x' WHERE id > %(after)s AND id <= %(upto)s;",
    "revert": "nothing",
    "batch": {"table": "customers", "key": "id"},
}
CODE = {"name": "score", "kind": "python", "phase": "backfill", "function": "steps:score", "revert": "nothing"}


def linted(folder: Path, *steps: Mapping[str, Any], **more: Any) -> list[Finding]:
    return lint(assembly.read(write(folder, *steps, **more)), among=[])


def rules(found: list[Finding]) -> list[str]:
    """Return the rules of ours that were broken; squawk's have their own file."""
    return sorted(finding.rule for finding in found if not finding.rule.startswith("squawk/"))


def test_good_definitions_have_no_findings() -> None:
    both = [assembly.read(CRM_1_5), assembly.read(CRM_1_6)]
    assert [lint(each, among=both) for each in both] == [[], []]


def test_a_careless_one_hears_of_everything_with_file_and_line() -> None:
    found = lint(assembly.read(BAD / "careless"), among=[])
    assert {(finding.file, finding.line, finding.rule, finding.step) for finding in errors(found)} == {
        ("10-index.sql", 1, "needs-no-transaction", "index"),
        ("10-index.sql", 1, "other-schema", "index"),
        ("10-index.sql", 1, "revert-misses", "index"),
        ("20-rename.sql", 2, "breaks-old-version", "rename"),
        ("40-fill.sql", 1, "batch-unbounded", "fill"),
        ("migration.yaml", 6, "missing-revert", "rename"),
        ("migration.yaml", 7, "ambiguous-order", "index"),
        ("migration.yaml", 8, "contract-unverified", "drop_country"),
        ("migration.yaml", 9, "phase-order", "fill"),
    }
    assert ("unused-file", "50-forgotten.sql") in {
        (each.rule, each.file) for each in found if each.level is Level.WARNING
    }


@pytest.mark.parametrize(
    ("rule", "steps"),
    [
        ("phase-order", [VERIFY, EXPAND]),
        ("contract-unverified", [EXPAND, CONTRACT]),
        (
            "version-unwritten",
            [{"name": "tell", "kind": "job", "phase": "expand", "type": "ops.noop", "params": {}, "revert": "nothing"}],
        ),
        ("contract-reverts", [VERIFY, {**CONTRACT, "undo": "ALTER TABLE customers ADD COLUMN country text;"}]),
        ("missing-revert", [{name: value for name, value in EXPAND.items() if name != "undo"}]),
        ("revert-misses", [{**EXPAND, "undo": "ALTER TABLE customers DROP COLUMN another;"}]),
        ("sql-syntax", [{**EXPAND, "sql": "ALTER TABEL customers;"}]),
        ("sql-syntax", [{**EXPAND, "undo": "DROPP;"}]),
        ("empty", [{**EXPAND, "sql": "-- later\n"}]),
        ("other-schema", [{**EXPAND, "sql": "ALTER TABLE public.customers ADD COLUMN region text;"}]),
        ("other-schema", [{**EXPAND, "undo": "SET search_path = x; ALTER TABLE customers DROP COLUMN region;"}]),
        ("sets-timeout", [{**EXPAND, "sql": "SET lock_timeout = 0; ALTER TABLE customers ADD COLUMN region text;"}]),
        ("beyond-schema", [{**EXPAND, "sql": "CREATE EXTENSION hstore;"}]),
        ("transaction-control", [{**EXPAND, "sql": "BEGIN; ALTER TABLE customers ADD COLUMN region text; COMMIT;"}]),
        ("destroys-early", [{**EXPAND, "sql": "DROP TABLE customers;"}]),
        ("destroys-early", [{**EXPAND, "sql": "TRUNCATE customers;"}]),
        ("breaks-old-version", [{**EXPAND, "sql": "ALTER TABLE customers RENAME TO clients;"}]),
        ("needs-no-transaction", [{**EXPAND, "sql": "CREATE INDEX CONCURRENTLY region ON customers (country);"}]),
        ("needs-no-transaction", [{**EXPAND, "undo": "DROP INDEX CONCURRENTLY region;"}]),
        (
            "untransacted-statements",
            [{**EXPAND, "sql": "VACUUM customers; CREATE INDEX CONCURRENTLY region ON a (b);", "transaction": False}],
        ),
        ("needless-untransacted", [{**EXPAND, "transaction": False}]),
        ("opaque", [{**EXPAND, "sql": "DO $$ BEGIN PERFORM 1; END $$;"}]),
        ("batch-unbounded", [{**FILL, "sql": "UPDATE customers SET region = 'x' WHERE id <= %(upto)s;"}]),
        ("batch-statements", [{**FILL, "sql": f"{FILL['sql']} {FILL['sql']}"}]),
        ("batch-elsewhere", [{**FILL, "batch": {"table": "clients", "key": "id"}}]),
        ("bounds-without-batch", [{name: value for name, value in FILL.items() if name != "batch"}]),
        ("backfill-unbatched", [{**EXPAND, "sql": "UPDATE customers SET region = 'x';", "undo": "SELECT 1;"}]),
        ("backfill-unbatched", [CODE]),
        ("verify-writes", [{**VERIFY, "sql": "WITH x AS (DELETE FROM a WHERE b RETURNING true) SELECT * FROM x;"}]),
        ("verify-writes", [{**VERIFY, "sql": "SELECT true FROM customers FOR UPDATE;"}]),
        ("verify-question", [{**VERIFY, "sql": "SELECT true; SELECT false;"}]),
        ("job-type-unknown", [{**EXPAND, "kind": "job", "type": "no.such", "sql": "x", "undo": "x"}]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_rule_is_told_when_it_is_broken(tmp_path: Path, rule: str, steps: list[dict[str, Any]]) -> None:
    if rule == "job-type-unknown":
        steps = [{"name": "tell", "kind": "job", "phase": "expand", "type": "no.such", "revert": "nothing"}]
    files = {"steps.py": "def score(connection): ..."}
    assert rule in rules(linted(tmp_path, *steps, files=files if steps == [CODE] else None))


def test_a_text_may_drop_in_contract_and_rename_what_it_made_itself(tmp_path: Path) -> None:
    made = "CREATE TABLE a (b int); ALTER TABLE a RENAME TO c; CREATE INDEX i ON c (b);"
    expand = {**EXPAND, "sql": made, "undo": "DROP TABLE c;"}
    assert rules(linted(tmp_path, expand, VERIFY, CONTRACT)) == []


def test_a_revert_may_take_away_the_table_or_the_column_and_all_that_stands_on_it(tmp_path: Path) -> None:
    table = {**EXPAND, "sql": "CREATE TABLE t (id int); CREATE INDEX i ON t (id);", "undo": "DROP TABLE t;"}
    column = {
        **EXPAND,
        "name": "more",
        "sql": "ALTER TABLE u ADD COLUMN c int; ALTER TABLE u ADD CONSTRAINT x CHECK (c > 1) NOT VALID;",
        "undo": "ALTER TABLE u DROP COLUMN c;",
    }
    assert rules(linted(tmp_path, table, column)) == []


def test_nothing_takes_back_nothing_that_was_made(tmp_path: Path) -> None:
    step = {**EXPAND, "undo": None, "revert": "nothing"}
    (finding,) = errors(linted(tmp_path, {name: value for name, value in step.items() if name != "undo"}))
    assert finding.rule == "revert-misses"
    assert finding.message.startswith("makes column customers.region, and its revert is the word nothing")


def test_a_revert_that_nobody_can_read_is_left_to_the_rehearsal(tmp_path: Path) -> None:
    undo = "CALL as_it_was_before();"
    assert rules(linted(tmp_path, {**EXPAND, "undo": undo})) == ["opaque"]


def test_numbers_of_files_grow_with_the_steps(tmp_path: Path) -> None:
    def numbered(*names: str) -> list[str]:
        steps = [{**VERIFY, "name": f"step_{each}", "file": name} for each, name in enumerate(names)]
        for step in steps:
            del step["sql"]
        folder = tmp_path / "-".join(name.replace("/", "_") for name in names)
        return rules(linted(folder, *steps, files=dict.fromkeys(names, "SELECT true;")))

    assert numbered("10-a.sql", "20-b.sql", "sql/100-c.sql", "plain.sql") == []
    assert numbered("10-a.sql", "9-b.sql") == ["ambiguous-order"]
    assert numbered("10-a.sql", "plain.sql", "010-b.sql") == ["ambiguous-order"]


@pytest.mark.parametrize(
    ("code", "rule"),
    [
        ("def score(connection, *, after, limit): ...", None),
        ("def score(connection, after=None, limit=10, extra=1): ...", None),
        ("def score(*args, **named): ...", None),
        ("if True:\n    def score(connection, *, after, limit): ...", "python-missing"),
        ("def other(connection): ...", "python-missing"),
        ("def score(connection): ...", "python-signature"),
        ("def score(connection, *, after, limit, more): ...", "python-signature"),
        ("def score(): ...", "python-signature"),
        ("async def score(connection, *, after, limit): ...", "python-signature"),
        ("def score(connection, *, after, limit)", "python-syntax"),
        (None, "python-missing"),
    ],
)
def test_a_batched_function_is_looked_for_and_never_run(tmp_path: Path, code: str | None, rule: str | None) -> None:
    bomb = "raise RuntimeError('run')\n"
    files = {"steps.py": f"{bomb}{code}\n"} if code is not None else {}
    found = linted(tmp_path, {**CODE, "batch": {"size": 5}}, files=files)
    assert rules(found) == ([rule] if rule else [])


def test_a_plain_function_takes_the_connection_alone(tmp_path: Path) -> None:
    step = {**CODE, "phase": "expand", "revert": "steps:back"}
    assert rules(linted(tmp_path, step, files={"steps.py": "def score(connection): ...\ndef back(c, d=1): ..."})) == []
    wrong = {"steps.py": "def score(connection, other): ...\ndef back(c): ..."}
    assert rules(linted(tmp_path, step, files=wrong)) == ["python-signature"]


def test_a_jobs_type_and_params_are_those_that_a_caller_may_submit(tmp_path: Path) -> None:
    def job(kind: str, **params: Any) -> list[str]:
        step = {"name": "tell", "kind": "job", "phase": "expand", "type": kind, "params": params, "revert": "nothing"}
        checks = [{"name": "smoke", "kind": "job", "type": kind, "params": dict(params)}]
        return rules(linted(tmp_path, step, targets={"kind": "tenant"}, gates={"checks": checks}))

    assert job("ops.sleep", seconds=1) == []
    assert job("ops.sleep", secs=1) == ["job-params"] * 4  # one too many, one missing; in the step and in the check
    needing = next(each.name for each in REGISTRY if each.contract == "required")
    assert "job-contract" in job(needing)
    internal = [each.name for each in REGISTRY if each.internal]
    assert [job(name) for name in internal] == [["job-type-unknown"] * 2 for _ in internal]


def chained(*ways: tuple[str, str]) -> list[Definition]:
    one = assembly.read(CRM_1_5)
    return [dataclasses.replace(one, version_from=version_from, version_to=to) for version_from, to in ways]


@pytest.mark.parametrize(
    ("ways", "expected"),
    [
        ([("1.4", "1.5"), ("1.5", "1.6"), ("1.6", "1.10")], {}),
        ([("1.4", "1.5"), ("1.4", "1.6")], {"1.4→1.5": "ambiguous-next", "1.4→1.6": "ambiguous-next"}),
        ([("1.9", "1.10"), ("1.11", "1.12")], {"1.11→1.12": "version-gap"}),
        ([("1.10", "1.11"), ("1.8", "1.9")], {"1.10→1.11": "version-gap"}),
        (
            [("1", "2"), ("2", "3"), ("3", "1")],
            {"1→2": "version-circle", "2→3": "version-circle", "3→1": "version-circle"},
        ),
        ([("1.3", "1.5"), ("1.4", "1.5")], {"1.4→1.5": "version-gap"}),
    ],
)
def test_versions_make_one_chain(ways: list[tuple[str, str]], expected: dict[str, str]) -> None:
    among = chained(*ways)
    found = {each.reference.removeprefix("crm "): finding.rule for each in among for finding in lint(each, among=among)}
    assert found == expected


def test_another_modules_versions_are_no_part_of_the_chain() -> None:
    among = [dataclasses.replace(each, name="erp") for each in chained(("1.4", "1.6"), ("1.1", "1.2"))]
    assert lint(assembly.read(CRM_1_5), among=among) == []


def test_a_finding_is_json() -> None:
    finding = lint(assembly.read(BAD / "careless"), among=[])[0].document()
    assert finding["level"] == "error"
    assert set(finding) == {"level", "step", "file", "line", "rule", "message"}

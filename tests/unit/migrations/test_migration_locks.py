"""What squawk, run for real, says of locks; and that it is never silently missing."""

from __future__ import annotations

import stat
import sysconfig
from pathlib import Path

import pytest

from apps.migrations.folders import assembly
from apps.migrations.lint import Finding, Level, errors, lint, locks
from tests.support.migrations import CRM_1_5, write

VERIFY = {"name": "check", "kind": "sql", "phase": "verify", "sql": "SELECT true;", "revert": "nothing"}


def squawk(folder: Path, sql: str, *, phase: str = "expand", **more: object) -> list[Finding]:
    revert = {} if phase == "contract" else {"revert": "nothing"}
    step = {"name": "change", "kind": "sql", "phase": phase, "sql": sql, **revert, **more}
    steps = [VERIFY, step] if phase == "contract" else [step]
    found = lint(assembly.read(write(folder, *steps)), among=[])
    return [finding for finding in found if finding.rule.startswith("squawk/")]


def test_a_lock_that_lasts_is_told_with_its_line_and_a_gentler_way(tmp_path: Path) -> None:
    (finding,) = squawk(tmp_path, "-- for the list of regions\n\nCREATE INDEX IF NOT EXISTS i ON customers (region);\n")
    assert (finding.rule, finding.level) == ("squawk/require-concurrent-index-creation", Level.WARNING)
    assert (finding.file, finding.line, finding.step) == ("change.sql", 3, "change")
    assert "concurrently" in finding.message


@pytest.mark.parametrize(
    ("sql", "rule"),
    [
        ("ALTER TABLE t ALTER COLUMN c TYPE bigint;", "changing-column-type"),
        ("ALTER TABLE t ADD COLUMN c int8 NOT NULL;", "adding-required-field"),
        ("ALTER TABLE t ADD CONSTRAINT x CHECK (c > 1);", "constraint-missing-not-valid"),
        ("ALTER TABLE t ALTER COLUMN c SET NOT NULL;", "adding-not-nullable-field"),
        ("ALTER TABLE t DROP COLUMN c;", "ban-drop-column"),
    ],
)
def test_its_rules_are_asked_of_every_step(tmp_path: Path, sql: str, rule: str) -> None:
    assert f"squawk/{rule}" in {finding.rule for finding in squawk(tmp_path, sql)}


def test_what_the_runner_does_itself_is_not_asked_of_the_author(tmp_path: Path) -> None:
    assert squawk(tmp_path, "ALTER TABLE t ADD COLUMN c text;") == []  # no time-outs, no IF NOT EXISTS


def test_what_contract_and_reverts_are_for_is_not_held_against_them(tmp_path: Path) -> None:
    assert squawk(tmp_path / "contract", "ALTER TABLE t DROP COLUMN c;", phase="contract") == []
    assert squawk(tmp_path / "revert", "ALTER TABLE t ADD COLUMN c text;", undo="ALTER TABLE t DROP COLUMN c;") == []


def test_without_a_transaction_it_asks_for_statements_that_can_be_run_again(tmp_path: Path) -> None:
    sql = "CREATE INDEX CONCURRENTLY i ON t (c);"
    assert [each.rule for each in squawk(tmp_path, sql, transaction=False)] == ["squawk/prefer-robust-stmts"]


def test_a_batch_is_asked_like_any_text(tmp_path: Path) -> None:
    sql = "UPDATE t SET c = 1 WHERE id > %(after)s AND id <= %(upto)s;"
    assert squawk(tmp_path, sql, phase="backfill", batch={"table": "t", "key": "id"}) == []


def test_an_author_may_overrule_a_warning_in_the_text(tmp_path: Path) -> None:
    sql = "-- squawk-ignore require-concurrent-index-creation\nCREATE INDEX IF NOT EXISTS i ON t (c);\n"
    assert squawk(tmp_path, sql) == []


def test_a_configuration_that_lies_about_decides_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".squawk.toml").write_text("of another tool = [")
    monkeypatch.chdir(tmp_path)
    assert squawk(tmp_path / "crm", "ALTER TABLE t ALTER COLUMN c TYPE bigint;")


def stands_in(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the only squawk on the machine one that does this."""
    folder.mkdir()
    program = folder / "squawk"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(folder))


def test_that_it_is_not_installed_is_an_error_and_no_silence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    (finding,) = errors(lint(assembly.read(CRM_1_5), among=[]))
    assert finding.rule == "squawk-unavailable"
    assert "pip install squawk-cli" in finding.message


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo 'Configuration error: x' >&2; exit 1", "ended with code 1 and said: Configuration error: x"),
        ("echo '{}'", "something else than a list"),
        ("exec sleep 60", "did not answer within 1 s"),
    ],
    ids=["it fails", "it answers otherwise", "it hangs"],
)
def test_that_it_does_not_answer_as_it_should_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, said: str
) -> None:
    stands_in(tmp_path / "bin", f"cat >/dev/null; {script}", monkeypatch)
    monkeypatch.setattr(locks, "WITHIN_S", 1)
    (finding,) = errors(lint(assembly.read(CRM_1_5), among=[]))
    assert finding.rule == "squawk-unavailable"
    assert said in finding.message

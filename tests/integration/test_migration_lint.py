"""`manage.py migration_lint`: what an author sees before anybody plans, with exit codes for a pipeline."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Protocol

import pytest
from django.core.management import CommandError, call_command
from pytest_django.fixtures import Settings

from tests.support.migrations import BAD, CRM_1_5, ROOT, write

CHECKOUT = Path(__file__).parents[2]
STEP = {"name": "add", "kind": "sql", "phase": "expand", "revert": "nothing"}


class Linting(Protocol):
    """Runs the command with these roots registered."""

    def __call__(self, *words: str | Path, registered: Path | None = ROOT) -> tuple[int, str]:
        """Return its exit code and what it printed."""
        ...


@pytest.fixture
def linting(settings: Settings, capsys: pytest.CaptureFixture[str]) -> Linting:
    def run(*words: str | Path, registered: Path | None = ROOT) -> tuple[int, str]:
        roots = () if registered is None else (registered,)
        settings.ENVIRONMENT = dataclasses.replace(settings.ENVIRONMENT, migrations=roots)
        try:
            call_command("migration_lint", *map(str, words))
        except CommandError as error:
            return error.returncode, str(error)
        except SystemExit as ended:
            return int(ended.code or 0), capsys.readouterr().out
        return 0, capsys.readouterr().out

    return run


def test_all_registered_ones_are_looked_at_and_good_ones_end_with_0(linting: Linting) -> None:
    code, printed = linting()
    assert (code, printed.splitlines()) == (
        0,
        ["crm 1.4→1.5: 0 errors, 0 warnings, risk high", "crm 1.5→1.6: 0 errors, 0 warnings, risk medium"],
    )


def test_errors_are_named_with_file_and_line_and_end_with_1(linting: Linting) -> None:
    code, printed = linting(BAD / "careless", registered=None)
    lines = printed.splitlines()
    assert code == 1
    assert lines[-1] == "crm 1.4→1.5: 9 errors, 3 warnings, risk high"
    assert (
        "tests/support/migrations/bad/careless/10-index.sql:1: error needs-no-transaction: index:"
        " CREATE INDEX CONCURRENTLY cannot run in a transaction: say transaction: false"
    ) in lines
    assert any(
        line.startswith("tests/support/migrations/bad/careless/migration.yaml:6: error missing") for line in lines
    )


def test_warnings_alone_end_with_0(linting: Linting, tmp_path: Path) -> None:
    code, printed = linting(write(tmp_path, {**STEP, "sql": "UPDATE customers SET region = 'x';"}), registered=None)
    assert code == 0
    assert "0 errors, 1 warning," in printed


def test_a_folder_that_cannot_be_read_is_told_beside_those_that_can(linting: Linting, tmp_path: Path) -> None:
    write(tmp_path / "crm-1.5", {**STEP, "sql": "SELECT 1;"})
    write(tmp_path / "crm-2.0", {**STEP, "file": "gone.sql"}, to="2.0")
    for code, printed in (linting(registered=tmp_path), linting(tmp_path, registered=None)):
        assert code == 1
        assert "crm 1.4→1.5: 0 errors" in printed
        assert "error definition: steps[0].file: there is no file 'gone.sql' in the folder" in printed


@pytest.mark.parametrize(
    ("word", "found"),
    [("crm", 2), ("crm-1.6", 1), (CRM_1_5, 1), (ROOT, 2)],
    ids=["a name", "a version", "a folder", "a folder of folders"],
)
def test_one_is_chosen_by_name_or_place(linting: Linting, word: str | Path, found: int) -> None:
    code, printed = linting(word)
    assert (code, len(printed.splitlines())) == (0, found)


def test_for_programs_it_is_json(linting: Linting) -> None:
    code, printed = linting(CRM_1_5, BAD / "many-faults", "--json")
    crm, bad = json.loads(printed)
    assert (crm["definition"], crm["risk"], crm["findings"]) == ("crm 1.4→1.5", "high", [])
    assert crm["checksum"].startswith("sha256:")
    assert any(reason.startswith("drop_country: ") for reason in crm["risk_reasons"])
    assert (bad["definition"], bad["risk"], {each["rule"] for each in bad["findings"]}) == (None, None, {"definition"})
    assert code == 1


@pytest.mark.parametrize("word", ["no-such", CHECKOUT / "docs"])
def test_what_names_nothing_ends_with_2(linting: Linting, word: str | Path) -> None:
    assert linting(word) == (2, f"{str(word)!r} is neither a folder with definitions nor a registered one")


def test_that_nothing_is_registered_is_said(linting: Linting) -> None:
    assert linting(registered=None) == (0, "no definition is registered: OPS_MIGRATIONS names folders of them\n")


def test_a_pipeline_needs_no_service_and_reads_the_exit_code() -> None:
    command = [sys.executable, "manage.py", "migration_lint", "crm-1.5", "many-faults", str(BAD / "careless")]
    variables = {**os.environ, "OPS_MIGRATIONS": os.pathsep.join([str(ROOT), str(BAD)]), "DATABASE_URL": ""}
    done = subprocess.run(command, cwd=CHECKOUT, env=variables, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "")
    assert "many-faults: 15 errors" in done.stdout

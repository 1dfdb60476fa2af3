"""A folder becomes a definition, or everything that is wrong with it: the file, the line, and what would be right."""

from __future__ import annotations

import os
import py_compile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from apps.migrations.definition import Batch, Definition, FailureRate, Kind, OnFailure, Phase, Risk, TargetKind
from apps.migrations.folders import assembly, files
from apps.migrations.folders.problems import BadDefinitionError, Problem
from tests.support.migrations import BAD, CRM_1_5, CRM_1_6, TARGETS, write

ADD = {"name": "add", "kind": "sql", "phase": "expand", "sql": "SELECT 1;", "revert": "nothing"}


def problems(folder: Path) -> list[Problem]:
    with pytest.raises(BadDefinitionError) as refused:
        assembly.read(folder)
    return list(refused.value.problems)


def said(folder: Path) -> list[str]:
    return [f"{problem.field}: {problem.message}" if problem.field else problem.message for problem in problems(folder)]


def test_a_folder_is_read_whole() -> None:
    crm = assembly.read(CRM_1_5)
    assert (crm.reference, crm.module, crm.risk, crm.on_failure) == ("crm 1.4→1.5", "crm", Risk.LOW, OnFailure.PAUSE)
    assert (crm.targets.kind, crm.targets.database) == (TargetKind.TENANT, "crm_database")
    assert [(step.name, step.number, step.kind, step.phase, step.undoes) for step in crm.steps] == [
        ("add_region", 0, Kind.SQL, Phase.EXPAND, True),
        ("fill_region", 1, Kind.SQL, Phase.BACKFILL, False),
        ("check_region", 2, Kind.SQL, Phase.VERIFY, False),
        ("drop_country", 3, Kind.SQL, Phase.CONTRACT, False),
    ]
    assert crm.step("fill_region").batch == Batch(table="customers", key="id", size=1000, rest=0)
    assert crm.step("add_region").revert_text == "ALTER TABLE customers DROP COLUMN IF EXISTS region;\n"
    assert [check.name for check in crm.gates.checks] == ["no_blank_regions"]
    with pytest.raises(LookupError):
        crm.step("another")


def test_what_is_left_out_has_its_default(tmp_path: Path) -> None:
    crm = assembly.read(write(tmp_path, ADD))
    assert crm.waves == ({"count": 1}, {"percent": 10}, {"percent": 100})
    assert (crm.parallel, crm.gates.bake_s, crm.gates.health, crm.stall.within_s) == (10, 60, True, 300)
    assert crm.gates.failure_rate == FailureRate()  # safe unless somebody turns it off
    step = crm.steps[0]
    assert (step.lock_timeout_s, step.statement_timeout_s, step.transaction, step.timeout_s) == (2, 30, True, 3600)
    assert assembly.read(CRM_1_6).gates.failure_rate is None


def test_every_kind_of_step_keeps_its_own_fields(tmp_path: Path) -> None:
    crm = assembly.read(
        write(
            tmp_path,
            {"name": "run", "kind": "python", "phase": "expand", "function": "steps:up", "revert": "steps:down"},
            {
                "name": "submit",
                "kind": "job",
                "phase": "expand",
                "type": "ops.noop",
                "params": {"a": [1]},
                "revert": {"type": "ops.sleep", "params": {"seconds": 0}},
            },
            {"name": "call", "kind": "module", "phase": "expand", "path": "/migrate", "revert": "/back"},
            {
                "name": "models",
                "kind": "django",
                "phase": "expand",
                "settings": "crm.settings",
                "app": "crm",
                "to": "0005_region",
                "revert": "zero",
            },
        )
    )
    run, submit, call, models = crm.steps
    assert (run.function, run.revert_function) == ("steps:up", "steps:down")
    assert (submit.job_type, submit.params, submit.revert_job_type, submit.revert_params) == (
        "ops.noop",
        {"a": [1]},
        "ops.sleep",
        {"seconds": 0},
    )
    assert (call.path, call.revert_path) == ("/migrate", "/back")
    assert (models.settings, models.app, models.to, models.revert_to) == ("crm.settings", "crm", "0005_region", "zero")
    assert all(step.undoes for step in crm.steps)


def test_all_that_is_wrong_is_said_at_once_each_with_its_line() -> None:
    found = [(problem.line, problem.field) for problem in problems(BAD / "many-faults")]
    assert found == [
        (1, "name"),
        (2, "from"),
        (4, "to"),
        (5, "flavour"),
        (6, "risk"),
        (7, "targets.schema"),
        (7, "targets"),
        (8, "parallel"),
        (9, "waves[2].percent"),
        (10, "steps"),
        (11, "steps[0].file"),
        (12, "steps[1].file"),
        (12, "steps[1].lock_timeout_s"),
        (13, "steps[2].kind"),
        (13, "steps[2].phase"),
    ]


def test_an_unknown_field_is_named_with_the_one_that_may_be_meant(tmp_path: Path) -> None:
    assert said(write(tmp_path, {**ADD, "lock_timeout": 2})) == [
        "steps[0].lock_timeout: is not known; 'lock_timeout_s' is meant?"
    ]


@pytest.mark.parametrize(
    ("fields", "right"),
    [
        ({"from": 1.4}, 'from: is a number: put it into quotes, "1.4"'),
        ({"from": "1.5"}, "to: is '1.5' as `from`"),
        ({"name": "Crm"}, "name: a name of lower-case letters"),
        ({"steps": []}, "steps: is missing: a list of at least one step"),
        ({"steps": {"a": 1}}, "steps: a list of at most 50 would be right"),
        ({"steps": ["a"]}, "steps[0]: must be fields"),
        ({"parallel": True}, "parallel: a whole number from 1 to 1000 would be right"),
        ({"waves": []}, "waves: must be 1 to"),
        ({"waves": [{"count": 1, "percent": 2}]}, "waves[0]: "),
        ({"waves": [{"percent": 50}, {"percent": 50}]}, "waves[1].percent: must be above 50: it counts all"),
        (
            {"waves": [{"targets": ["a"]}, {"targets": ["a"]}]},
            "waves[1].targets[0]: must be in one wave only",
        ),
        ({"waves": {"by": "chance"}}, "waves.by: must be 'risk'"),
        ({"gates": {"bake": 5}}, "gates.bake: is not known; 'bake_s' is meant?"),
        ({"gates": {"failure_rate": {"when_few": ["x"]}}}, "gates.failure_rate.when_few: one of succeed, inconclusive"),
        ({"gates": {"checks": [{"name": "x", "kind": "python"}]}}, "gates.checks[0].kind: is 'python': for a check"),
        ({"on_failure": "panic"}, "on_failure: is 'panic': one of pause, revert, revert_wave would be right"),
        ({"stall": {"then": "revert_wave"}}, "stall.then: is 'revert_wave': one of pause, revert would be right"),
        (
            {"targets": {**TARGETS, "endpoint": "https://me:secret@crm.example"}},
            "targets.endpoint: an http or https URL",
        ),
        ({"targets": {**TARGETS, "schema": 'x"; DROP'}}, "targets.schema: a schema's plain name"),
        ({"targets": {"kind": "tenant", "schema": "x"}}, "targets: database is missing, which add need"),
        ({"targets": {"kind": "tenant", "database": "d"}}, "targets.schema: is missing beside `database`"),
        (
            {"targets": {**TARGETS, "version": {"read": "SELECT 1", "write": "UPDATE v"}}},
            "targets.version.write: must hold",
        ),
        ({"targets": None}, "targets: must be fields"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_wrong_with_a_field_tells_what_would_be_right(
    tmp_path: Path, fields: dict[str, Any], right: str
) -> None:
    assert any(line.startswith(right) for line in said(write(tmp_path, ADD, **fields)))


@pytest.mark.parametrize(
    ("step", "right"),
    [
        ({"kind": "python", "function": "steps.score", "revert": "nothing"}, "function: 'module:function'"),
        ({"kind": "python", "function": "a:b", "revert": 3}, "revert: is a number"),
        ({"kind": "job", "type": "noop", "revert": "nothing"}, "type: a job type's name"),
        ({"kind": "job", "type": "ops.noop", "revert": "ops.noop"}, "revert: {type: …, params: {…}}, or nothing"),
        ({"kind": "module", "path": "/a/../b", "revert": "nothing"}, "path: a path below the endpoint"),
        ({"kind": "module", "path": "https://elsewhere/", "revert": "nothing"}, "path: a path below the endpoint"),
        ({"kind": "module", "path": "/a", "file": "x.sql", "revert": "nothing"}, "file: is not known"),
        (
            {"kind": "django", "settings": "a b", "app": "x", "to": "1", "revert": "nothing"},
            "settings: a settings module",
        ),
        (
            {"kind": "sql", "sql": "SELECT 1", "batch": {"table": "a", "key": "id"}},
            "batch: belongs to steps of the phase",
        ),
        ({"kind": "sql", "file": "", "revert": "nothing"}, "file: a file of the folder"),
        ({"kind": "sql", "sql": " \n", "revert": "nothing"}, "file: 'x.sql' is empty"),
        ({"kind": "sql", "sql": "SELECT 1", "revert": None}, "revert: is missing"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_wrong_with_a_step_tells_what_would_be_right(tmp_path: Path, step: dict[str, Any], right: str) -> None:
    folder = write(tmp_path, {"name": "x", "phase": "expand", **step})
    assert any(line.startswith(f"steps[0].{right}") for line in said(folder))


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("steps: [\n", "expected the node content"),
        ("name: a\nname: b\n", "name: is written twice: here, and in line 1"),
        ("steps:\n  - &x {name: a}\n  - *x\n", "anchors and aliases (& and *) are refused"),
        ("name: !!binary aGFsbG8=\n", "name: is read as a bytes"),
        ("name: !!python/object/apply:os.getcwd []\n", "name: has the tag"),
        ("to: 2026-01-01\n", "to: is read as a date: put it into quotes"),
        ("parallel: .nan\n", "parallel: is read as a number that is none"),
        ("parallel: 99999999999999999999\n", "parallel: is a number beyond 64 bits"),
        ('name: "\\ud800"\n', "name: holds half a character"),
        ("? {a: 1}\n: b\n", "a key must be a plain word"),
        ("a: " + "[" * 5000, "it is nested too deep"),
        ("name: a\n---\nname: b\n", "but found another document"),
        ("just words\n", "must be fields (name: value)"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else "",
)
def test_yaml_that_may_surprise_is_refused(tmp_path: Path, text: str, right: str) -> None:
    (tmp_path / "migration.yaml").write_text(text)
    assert any(right in line for line in said(tmp_path))


def test_words_that_yaml_takes_for_truth_stay_field_names(tmp_path: Path) -> None:
    (tmp_path / "migration.yaml").write_text("on: 1\n")
    assert any(line.startswith("on: is not known") for line in said(tmp_path))


@pytest.mark.parametrize("name", ["../x.sql", "/etc/hostname", "a/../../x.sql", ".hidden.sql", "a\\b.sql", "./a.sql"])
def test_a_file_outside_the_folder_is_refused_whatever_leads_there(tmp_path: Path, name: str) -> None:
    (tmp_path / "x.sql").write_text("SELECT 1;")
    folder = write(tmp_path / "crm", {"name": "x", "kind": "sql", "phase": "expand", "file": name, "revert": "nothing"})
    assert any("leads out of the folder, or is hidden" in line for line in said(folder))


def test_a_symbolic_link_that_leads_out_is_refused_and_one_that_stays_is_not(tmp_path: Path) -> None:
    (tmp_path / "secret.sql").write_text("SELECT 1;")
    folder = write(tmp_path / "crm", ADD)
    (folder / "inside.sql").symlink_to(folder / "add.sql")
    assembly.read(folder)
    (folder / "10.sql").symlink_to(tmp_path / "secret.sql")
    (folder / "dangling.sql").symlink_to(tmp_path / "nowhere")
    (folder / "etc").symlink_to("/etc")
    assert {problem.file: problem.message for problem in problems(folder)} == {
        "10.sql": "leads out of the folder: put the file itself here",
        "dangling.sql": "cannot be followed: a symbolic link that leads nowhere",
        "etc": "leads out of the folder: put the file itself here",
    }


def test_what_is_no_plain_file_is_refused_and_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(write(tmp_path, ADD) / "pipe.sql")
    assert said(tmp_path) == ["is no plain file"]


def test_sizes_and_numbers_are_bounded(tmp_path: Path) -> None:
    large = write(tmp_path / "large", ADD, files={"data.csv": "x" * (files.LARGEST_FILE + 1)})
    assert said(large) == [f"is larger than {files.LARGEST_FILE} bytes"]
    many = write(tmp_path / "many", ADD, files={f"{number}.txt": "" for number in range(files.MOST_FILES)})
    assert said(many) == [f"there are more than {files.MOST_FILES} files"]
    part = "x" * files.LARGEST_FILE
    heavy = write(tmp_path / "heavy", ADD, files={f"{number}.csv": part for number in range(9)})
    assert said(heavy) == [f"the folder is larger than {files.LARGEST_FOLDER} bytes"]
    wordy = write(tmp_path / "wordy", ADD, files={})
    (wordy / "migration.yaml").write_text("# " + "x" * files.LARGEST_DOCUMENT)
    assert said(wordy) == [f"is larger than {files.LARGEST_DOCUMENT} bytes"]


def test_a_folder_without_its_document_and_bytes_that_are_no_text_are_told(tmp_path: Path) -> None:
    assert said(tmp_path) == ["there is no such file"]
    (tmp_path / "migration.yaml").write_bytes(b"name: \xff\n")
    assert said(tmp_path) == ["is not UTF-8"]


@pytest.fixture
def changed(tmp_path: Path) -> Callable[[Callable[[Path], object]], tuple[Definition, Definition]]:
    """Return a function that reads a folder before and after something happens to it."""

    def changing(happens: Callable[[Path], object]) -> tuple[Definition, Definition]:
        folder = write(tmp_path, ADD, {**ADD, "name": "more"}, files={"data/rates.csv": "1\n"})
        before = assembly.read(folder)
        happens(folder)
        return before, assembly.read(folder)

    return changing


@pytest.mark.parametrize(
    ("happens", "steps_that_change"),
    [
        (lambda folder: (folder / "add.sql").write_text("SELECT 2;"), ["add"]),
        (lambda folder: (folder / "data/rates.csv").write_text("2\n"), []),
        (lambda folder: (folder / "data/rates.csv").rename(folder / "data/other.csv"), []),
        (lambda folder: (folder / "new.txt").write_text(""), []),
    ],
    ids=["a step's file", "another file", "a name", "a further file"],
)
def test_a_checksum_tells_every_change_and_a_steps_own_only_its_own(
    changed: Callable[[Callable[[Path], object]], tuple[Definition, Definition]],
    happens: Callable[[Path], object],
    steps_that_change: list[str],
) -> None:
    before, after = changed(happens)
    assert before.checksum != after.checksum
    assert before.checksum.startswith("sha256:")
    pairs = zip(before.steps, after.steps, strict=True)
    assert [old.name for old, new in pairs if old.checksum != new.checksum] == steps_that_change


def test_what_editors_and_python_leave_behind_changes_no_checksum(tmp_path: Path) -> None:
    folder = write(tmp_path, ADD, files={"steps.py": ""})
    before = assembly.read(folder)
    (folder / ".add.sql.swp").write_text("x")
    assert py_compile.compile(str(folder / "steps.py")) is not None
    assert list(folder.glob("__pycache__/*.pyc"))
    assert assembly.read(folder).checksum == before.checksum


def test_phases_and_risks_stand_in_their_order_and_not_in_the_alphabets() -> None:
    assert sorted(Phase, reverse=True) == [Phase.CONTRACT, Phase.VERIFY, Phase.BACKFILL, Phase.EXPAND]
    assert max(Risk) is Risk.HIGH
    assert Risk.LOW < Risk.MEDIUM <= Risk.MEDIUM < Risk.HIGH >= Risk.MEDIUM > Risk.LOW


def test_a_targets_schema_is_a_plain_identifier_or_none_at_all() -> None:
    targets = assembly.read(CRM_1_5).targets
    assert targets.schema_of("acme-eu") == "tenant_acme_eu"
    for bad in ('a"b', "a b", "Ä", "a" * 63):
        with pytest.raises(ValueError, match="no plain identifier"):
            targets.schema_of(bad)

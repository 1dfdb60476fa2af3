"""The documents that code writes are in step, and a page that is not is named."""

from pathlib import Path

import pytest
from django.conf import LazySettings
from django.core.management import CommandError, call_command

from apps.jobs.lifecycle import TERMINAL, TRANSITIONS, Ending, State
from apps.migrations import lifecycle as migrations
from opsplatform.management.commands import docs


def test_the_documents_are_in_step() -> None:
    call_command("docs", "--check")


def test_a_document_out_of_step_is_named_and_left_alone(tmp_path: Path, settings: LazySettings) -> None:
    settings.BASE_DIR = tmp_path
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/openapi.yaml").write_text("old")
    with pytest.raises(
        CommandError, match=r"docs/lifecycles/job\.md, docs/lifecycles/migration\.md, docs/openapi\.yaml"
    ):
        call_command("docs", "--check")
    assert (tmp_path / "docs/openapi.yaml").read_text() == "old"


def test_writing_twice_changes_nothing(
    tmp_path: Path, settings: LazySettings, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.BASE_DIR = tmp_path
    call_command("docs")
    assert "wrote docs/openapi.yaml" in capsys.readouterr().out
    call_command("docs")
    assert capsys.readouterr().out == ""


def test_the_page_draws_every_state_and_every_move() -> None:
    page = docs.life_of_a_job()
    for state in State:
        assert f"| `{state}` |" in page
    for move, (sources, target) in TRANSITIONS.items():
        if sources == frozenset(State) - TERMINAL:
            assert f"unfinished --> {target} : {move}" in page
        else:
            assert all(f"{source} --> {target} : {move}" in page for source in sources)
    for ending in Ending:
        assert f"| `{ending}` |" in page


def test_the_page_of_a_migration_draws_every_state_and_every_move() -> None:
    page = docs.life_of_a_migration()
    for kind in (migrations.State, migrations.TargetState, migrations.StepState, migrations.WaveState):
        assert [state for state in kind if f"| `{state}` |" not in page] == []
    for move, (sources, target) in migrations.TRANSITIONS.items():
        assert f"| `{move}` |" in page
        assert all(f"{source} --> {target} : {move}" in page for source in sources)

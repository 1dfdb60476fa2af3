"""Which definitions are registered, and how one is found; a bad one hides no other."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from pytest_django.fixtures import Settings

from apps.migrations import registry
from apps.migrations.definition import Definition
from apps.migrations.folders import assembly
from apps.migrations.registry import BadDefinitionError, UnknownDefinitionError
from opsplatform.settings.environment import BadSettingError
from opsplatform.settings.environment import read as read_environment
from tests.support.migrations import ROOT, write

STEP = {"name": "add", "kind": "sql", "phase": "expand", "sql": "SELECT 1;", "revert": "nothing"}

Registering = Callable[..., None]


@pytest.fixture
def registered(settings: Settings) -> Registering:
    """Return a function that makes these folders the roots, as OPS_MIGRATIONS would."""

    def register(*roots: Path) -> None:
        settings.ENVIRONMENT = dataclasses.replace(settings.ENVIRONMENT, migrations=roots)

    register()
    return register


def test_every_folder_below_a_root_is_a_definition(registered: Registering) -> None:
    registered(ROOT)
    assert [each.reference for each in registry.every()] == ["crm 1.4→1.5", "crm 1.5→1.6"]
    assert registry.broken() == []
    assert registry.find(name="crm", version_to="1.5").step("add_region").number == 0


def test_the_unknown_is_told_with_what_is_known(registered: Registering) -> None:
    registered(ROOT)
    with pytest.raises(UnknownDefinitionError, match=r"no migration crm to 1\.7 .*known: crm 1\.4→1\.5, crm 1\.5→1\.6"):
        registry.find(name="crm", version_to="1.7")
    with pytest.raises(UnknownDefinitionError, match=r"no migration crm from 1\.3 to 1\.5"):
        registry.find(name="crm", version_to="1.5", version_from="1.3")
    with pytest.raises(UnknownDefinitionError, match="known: none of that name"):
        registry.find(name="erp", version_to="1.5")


def test_two_ways_to_a_version_ask_which(registered: Registering, tmp_path: Path) -> None:
    for version in ("1.3", "1.4"):
        write(tmp_path / version, STEP, version_from=version)
    registered(tmp_path)
    with pytest.raises(UnknownDefinitionError, match=r"say from which of 1\.3, 1\.4"):
        registry.find(name="crm", version_to="1.5")
    assert registry.find(name="crm", version_to="1.5", version_from="1.3").reference == "crm 1.3→1.5"


def test_two_folders_of_one_identity_are_both_refused_and_name_each_other(
    registered: Registering, tmp_path: Path
) -> None:
    one, other = write(tmp_path / "one", STEP), write(tmp_path / "other", STEP)
    registered(tmp_path)
    assert registry.every() == []
    with pytest.raises(BadDefinitionError) as refused:
        registry.find(name="crm", version_to="1.5")
    assert str(one) in str(refused.value)
    assert str(other) in str(refused.value)
    assert [error.folder for error in registry.broken()] == [one, other]


def test_a_bad_folder_hides_no_other_and_is_raised_to_who_asks_for_it(registered: Registering, tmp_path: Path) -> None:
    write(tmp_path / "good", STEP)
    write(tmp_path / "bad", {**STEP, "kind": "none"}, to="2.0")
    unreadable = write(tmp_path / "unreadable", STEP)
    (unreadable / "migration.yaml").write_text("name: [")
    registered(tmp_path)
    assert [each.reference for each in registry.every()] == ["crm 1.4→1.5"]
    assert registry.find(name="crm", version_to="1.5").folder == tmp_path / "good"
    with pytest.raises(BadDefinitionError, match=r"migration\.yaml:\d+: steps\[0\]\.kind"):
        registry.find(name="crm", version_to="2.0")
    with pytest.raises(UnknownDefinitionError, match=r"not readable: .*unreadable"):
        registry.find(name="crm", version_to="3.0")


def test_a_folder_is_read_again_when_a_file_changed_and_only_then(
    registered: Registering, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path / "crm", STEP)
    registered(tmp_path)
    reads: list[Path] = []
    real = assembly.read

    def counted(path: Path) -> Definition:
        reads.append(path)
        return real(path)

    monkeypatch.setattr(assembly, "read", counted)
    first = registry.find(name="crm", version_to="1.5")
    assert registry.find(name="crm", version_to="1.5") is first
    assert len(reads) == 1
    (folder / "add.sql").write_text("SELECT 2;")
    changed = registry.find(name="crm", version_to="1.5")
    assert (changed.steps[0].text, changed.checksum != first.checksum) == ("SELECT 2;", True)
    write(folder, {**STEP, "name": "other"})
    assert [step.name for step in registry.find(name="crm", version_to="1.5").steps] == ["other"]


def test_a_root_that_went_away_is_told_and_hides_nothing(registered: Registering, tmp_path: Path) -> None:
    registered(tmp_path / "gone", ROOT)
    assert len(registry.every()) == 2
    assert "cannot be looked into" in str(registry.broken()[0])


def test_an_installed_packages_folder_is_a_root_and_is_not_imported_for_it(
    registered: Registering, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "crm_migrations"
    write(package / "crm-1.5", STEP)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    info = tmp_path / "crm_migrations-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: crm-migrations\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[opsplatform.migrations]\ncrm = crm_migrations\nlost = no_such_package\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert [each.folder.name for each in registry.every()] == ["crm-1.5"]
    assert "crm_migrations" not in sys.modules
    assert [str(error) for error in registry.broken()] == [
        "no_such_package: the entry point 'lost' names no installed package"
    ]


def test_the_setting_names_folders_that_are_there(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    found = read_environment({"OPS_MIGRATIONS": os.pathsep.join([str(tmp_path / "a"), "", str(tmp_path)])})
    assert found.migrations == (tmp_path / "a", tmp_path)
    assert read_environment({}).migrations == ()
    with pytest.raises(BadSettingError, match="OPS_MIGRATIONS names '/no/such': there is no such folder"):
        read_environment({"OPS_MIGRATIONS": "/no/such"})

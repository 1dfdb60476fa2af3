"""Who still needs what a contract phase takes away."""

import pytest

from apps.migrations.versions import is_old


@pytest.mark.parametrize(
    ("version", "old"),
    [
        ("1.4", True), ("1.4.0", True), ("1.4.3", True), ("1.3", True), ("v1.4.3", True), ("1.4+build7", True),
        ("1.5", False), ("1.5.0", False), ("1.5.1", False), ("1.5rc1", False), ("1.10", False), ("2", False),
        ("blue", False), ("", False),
    ],
)  # fmt: skip
def test_whoever_is_older_than_the_new_version_is_old(version: str, old: bool) -> None:
    assert is_old(version, before="1.4", after="1.5") is old


@pytest.mark.parametrize(
    ("version", "old"), [("1.5rc1", True), ("v1.5rc2", True), ("1.5rc3", False), ("1.5", False), ("1.4", True)]
)
def test_of_candidates_those_are_old_that_are_no_newer_than_the_one_it_starts_from(version: str, old: bool) -> None:
    assert is_old(version, before="1.5rc2", after="1.5") is old


def test_on_a_way_to_an_earlier_version_whoever_is_there_is_not_old() -> None:
    assert is_old("1.5", before="1.5", after="1.4")
    assert not is_old("1.4", before="1.5", after="1.4")


def test_of_versions_that_are_no_numbers_only_the_old_one_itself_is_old() -> None:
    assert is_old("blue", before="blue", after="green")
    assert not is_old("green", before="blue", after="green")
    assert not is_old("1.4", before="blue", after="green")
    assert not is_old("navy", before="1.4", after="1.5")

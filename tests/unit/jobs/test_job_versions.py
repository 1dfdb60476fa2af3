"""Which version of each module a worker says it runs."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest

from apps.jobs.types import JobType, Registry, job_type
from apps.jobs.versions import MOST_CHARS, versions_of


def _type(name: str, *, module: str) -> JobType:
    """Return a job type whose handler lies in a Python module of that name."""
    registry = Registry()

    def handler(ctx: Any, params: Any) -> None:
        """Do nothing."""

    handler.__module__ = module
    job_type(name, registry=registry)(handler)
    return registry.get(name)


@pytest.fixture
def code(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a maker of Python modules that say a version, or none."""

    def make(name: str, said: Any = None) -> str:
        made = ModuleType(name)
        if said is not None:
            made.__version__ = said  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, name, made)
        return name

    return make


def test_a_module_is_of_the_version_that_its_code_says(code: Any) -> None:
    assert versions_of([_type("crm.sync", module=code("acme_crm", "1.5"))]) == {"crm": "1.5"}


def test_what_says_nothing_itself_is_of_its_packages_version(code: Any) -> None:
    code("acme_crm", "1.5")
    assert versions_of([_type("crm.sync", module=code("acme_crm.jobs"))]) == {"crm": "1.5"}


def test_what_says_it_itself_is_believed_before_its_package(code: Any) -> None:
    code("acme_crm", "1.4")
    assert versions_of([_type("crm.sync", module=code("acme_crm.jobs", "1.5"))]) == {"crm": "1.5"}


def test_what_no_code_says_is_its_distributions_version() -> None:
    from importlib.metadata import version  # noqa: PLC0415 - beside its use

    found = versions_of([_type("web.fetch", module="rest_framework_none_such"), _type("db.ask", module="psycopg.sql")])
    assert found == {"db": version("psycopg")}


@pytest.mark.parametrize("said", ["", 15, ("1", "5")])
def test_what_is_no_version_is_none(code: Any, said: Any) -> None:
    assert versions_of([_type("crm.sync", module=code("acme_crm", said))]) == {}


def test_a_module_that_says_none_is_left_out_and_the_first_that_says_one_counts(code: Any) -> None:
    types = [
        _type("crm.nothing", module=code("acme_none")),
        _type("crm.sync", module=code("acme_crm", "1.5")),
        _type("crm.other", module=code("acme_other", "2.0")),
        _type("etl.load", module=code("acme_etl", "7")),
    ]
    assert versions_of(types) == {"crm": "1.5", "etl": "7"}


def test_a_version_is_no_longer_than_its_column(code: Any) -> None:
    (said,) = versions_of([_type("crm.sync", module=code("acme_crm", "1" * 200))]).values()
    assert said == "1" * MOST_CHARS

"""Declaring, registering and loading job types; and one attempt at one."""

import functools
import subprocess
import sys
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from apps.jobs import harness
from apps.jobs.types import (
    BadJobTypeError,
    Context,
    Limits,
    PermanentError,
    Registry,
    Retry,
    RetryableError,
    UnknownJobTypeError,
    job_type,
    load,
)


@pytest.fixture
def registry() -> Registry:
    return Registry()


def good(ctx: Context, params: Mapping[str, Any]) -> None:
    """Do something good.

    At length.
    """


def test_a_type_knows_all_that_was_said_of_it(registry: Registry) -> None:
    schema = {"type": "object", "additionalProperties": False, "properties": {"n": {"type": "integer"}}}
    decorate = job_type(
        "test.good",
        params=schema,
        contract="required",
        retry=Retry(max_attempts=5),
        timeout_s=12.5,
        limits=Limits(running=2),
        heartbeat_s=30,
        diagnostic=True,
        registry=registry,
    )
    assert decorate(good) is good
    made = registry.get("test.good")
    assert (made.name, made.description, made.module) == ("test.good", "Do something good.", __name__)
    assert (made.contract, made.retry.max_attempts, made.timeout_s) == ("required", 5, 12.5)
    assert (made.limits, made.heartbeat_s, made.diagnostic) == (Limits(running=2), 30, True)
    assert dict(made.schema) == schema
    assert made.handler is good
    assert registry.of(good) is made
    assert [problem.path for problem in made.problems({"n": "x", "m": 1})] == ["/m", "/n"]


def test_what_is_not_said_is_sensible(registry: Registry) -> None:
    job_type("test.good", registry=registry)(good)
    made = registry.get("test.good")
    assert (made.contract, made.retry, made.timeout_s, made.limits) == ("optional", Retry(), 600, Limits())
    assert (made.diagnostic, made.heartbeat_s) == (False, None)
    assert made.problems({}) == []
    assert [problem.path for problem in made.problems({"any": 1})] == ["/any"]


def test_a_registry_goes_through_its_types_by_name(registry: Registry) -> None:
    for name in ("b.b", "a.a"):
        job_type(name, registry=registry)(good)
    assert registry.names() == [each.name for each in registry] == ["a.a", "b.b"]
    assert len(registry) == 2
    assert "a.a" in registry
    assert "c.c" not in registry
    with pytest.raises(UnknownJobTypeError, match=r"c\.c"):
        registry.get("c.c")


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "noop"},
        {"name": "Ops.noop"},
        {"name": "ops..noop"},
        {"name": "ops.noop\n"},
        {"name": "ops." + "x" * 64},
        {"name": None},
        {"contract": "maybe"},
        {"timeout_s": 0},
        {"timeout_s": float("nan")},
        {"timeout_s": True},
        {"timeout_s": 10**9},
        {"heartbeat_s": -1},
        {"retry": 3},
        {"limits": {"running": 1}},
        {"diagnostic": "yes"},
        {"params": {"type": "object"}},
        {"params": {"type": "object", "additionalProperties": False, "allOf": [{"$ref": "http://example.com/x"}]}},
    ],
)
def test_a_bad_declaration_names_module_and_type(registry: Registry, wrong: dict[str, Any]) -> None:
    name = wrong.get("name", "test.bad")
    with pytest.raises(BadJobTypeError) as caught:
        job_type(**{"name": "test.bad", "registry": registry, **wrong})(good)
    assert __name__ in str(caught.value)
    assert repr(name) in str(caught.value)
    assert len(registry) == 0


async def asynchronous(ctx: Any, params: Any) -> None:
    """Be async."""


def generating(ctx: Any, params: Any) -> Any:
    """Be a generator."""
    yield


def needy(ctx: Any, params: Any, more: Any) -> None:
    """Need more."""


def keyword_only(*, ctx: Any, params: Any) -> None:
    """Take keywords only."""


def poor(ctx: Any) -> None:
    """Take too little."""


def silent(ctx: Any, params: Any) -> None:
    pass


@pytest.mark.parametrize(
    "handler",
    [asynchronous, generating, needy, keyword_only, poor, silent, functools.partial(needy, more=1), Path, 3],
)
def test_what_is_no_function_of_context_and_params_is_refused(registry: Registry, handler: Any) -> None:
    with pytest.raises(BadJobTypeError, match=r"test\.bad"):
        job_type("test.bad", registry=registry)(handler)


def test_a_name_is_taken_once(registry: Registry) -> None:
    job_type("test.good", registry=registry)(good)
    with pytest.raises(BadJobTypeError, match=r"test\.good.*taken by .*good"):
        job_type("test.good", registry=registry)(good)


Write = Callable[[str, str], None]


@pytest.fixture
def write_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    monkeypatch.syspath_prepend(tmp_path)

    def write(name: str, source: str) -> None:
        monkeypatch.delitem(sys.modules, name, raising=False)
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(source))

    return write


MODULE = '''
    from apps.jobs.types import job_type, REGISTRY
    from test_types_loading import registry

    @job_type("foreign.work", registry=registry)
    def work(ctx, params):
        """Work."""
'''


@pytest.fixture
def shared(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """The registry, importable by the modules that a test writes."""
    module = type(sys)("test_types_loading")
    vars(module)["registry"] = registry
    monkeypatch.setitem(sys.modules, "test_types_loading", module)
    return registry


def test_modules_are_loaded_by_name(write_module: Write, shared: Registry) -> None:
    write_module("loaded_by_name", MODULE)
    assert load(modules=["loaded_by_name"], entry_point_group="nobody.uses", registry=shared).names() == [
        "foreign.work"
    ]
    load(modules=["loaded_by_name"], entry_point_group="nobody.uses", registry=shared)  # again: nothing to do


def entry_point(folder: Path, value: str) -> None:
    info = folder / "foreign_module-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: foreign-module\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[test.job_types]\nforeign = {value}\n")


@pytest.mark.parametrize("value", ["loaded_by_point", "loaded_by_point:work"])
def test_entry_points_are_loaded(write_module: Write, shared: Registry, tmp_path: Path, value: str) -> None:
    write_module("loaded_by_point", MODULE)
    entry_point(tmp_path, value)
    assert load(entry_point_group="test.job_types", registry=shared).names() == ["foreign.work"]


def test_a_broken_entry_point_names_its_distribution(write_module: Write, shared: Registry, tmp_path: Path) -> None:
    write_module("broken_point", "raise RuntimeError('no licence file')")
    entry_point(tmp_path, "broken_point")
    with pytest.raises(BadJobTypeError, match=r"broken_point \(foreign-module\).*RuntimeError: no licence file"):
        load(entry_point_group="test.job_types", registry=shared)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import nowhere_to_be_found", "cannot be imported: ModuleNotFoundError"),
        ("def broken(:", "cannot be imported: SyntaxError"),
        ("x = 1", "registers no job type"),
        ("from apps.jobs.types import Retry\nRetry(max_attempts=0)", "Retry.max_attempts"),
        (MODULE.replace("foreign.work", "Work"), "job type 'Work'"),
        (MODULE.replace('"""Work."""', "pass"), "job type 'foreign.work': a handler needs a docstring"),
    ],
)
def test_a_broken_module_is_named(write_module: Write, shared: Registry, source: str, said: str) -> None:
    write_module("broken_module", source)
    with pytest.raises(BadJobTypeError) as caught:
        load(modules=["broken_module"], entry_point_group="nobody.uses", registry=shared)
    assert "broken_module" in str(caught.value)
    assert said in str(caught.value)


def test_a_module_that_is_not_there_is_named(registry: Registry) -> None:
    with pytest.raises(BadJobTypeError, match="not_there_at_all"):
        load(modules=["not_there_at_all"], entry_point_group="nobody.uses", registry=registry)


def run_raising(error: Exception, registry: Registry, storage: Path, **options: Any) -> harness.RunResult:
    @job_type("test.raise", retry=Retry(max_attempts=2, backoff="fixed", initial_s=4, jitter=0), registry=registry)
    def handler(ctx: Context, params: Mapping[str, Any]) -> None:
        """Raise."""
        raise error

    return harness.run(handler, storage=storage, registry=registry, **options)


def test_an_unexpected_error_is_tried_again_and_its_text_stays_with_the_tenant(
    registry: Registry, tmp_path: Path
) -> None:
    result = run_raising(ValueError("could not convert 'Jane Doe'"), registry, tmp_path, job_id="j1")
    assert result.outcome == "retry"
    assert result.retry_in_s == 4
    assert result.error is not None
    assert result.error.message is None
    assert "Jane" not in repr(result)
    assert "could not convert 'Jane Doe'" in (tmp_path / "runs/j1/1/traceback.txt").read_text()


def test_the_last_attempt_fails_for_good(registry: Registry, tmp_path: Path) -> None:
    result = run_raising(RetryableError("busy"), registry, tmp_path, attempt=2)
    assert (result.outcome, result.retry_in_s) == ("failed", None)


def test_a_pause_asked_for_is_kept(registry: Registry, tmp_path: Path) -> None:
    assert run_raising(RetryableError("busy", retry_after_s=60), registry, tmp_path).retry_in_s == 60


def test_a_permanent_error_fails_at_once(registry: Registry, tmp_path: Path) -> None:
    result = run_raising(PermanentError("no such table", code="gone"), registry, tmp_path)
    assert result.outcome == "failed"
    assert result.error is not None
    assert (result.error.code, result.error.message) == ("gone", "no such table")


def test_a_traceback_that_cannot_be_kept_does_not_hide_the_failure(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file where a folder is needed")
    result = run_raising(PermanentError("no such table"), registry, tmp_path)
    assert result.error is not None
    assert result.error.message == "no such table"
    assert [line.message for line in result.logs] == ["the traceback could not be kept"]


def test_the_harness_refuses_what_the_plane_would(registry: Registry, tmp_path: Path) -> None:
    job_type("test.required", contract="required", registry=registry)(good)
    with pytest.raises(harness.ParamsRefusedError, match="/x is not known here"):
        harness.run("test.required", params={"x": 1}, contract={}, storage=tmp_path, registry=registry)
    with pytest.raises(harness.ContractRefusedError, match="required"):
        harness.run("test.required", storage=tmp_path, registry=registry)
    assert harness.run("test.required", contract={}, storage=tmp_path, registry=registry).outcome == "succeeded"


def test_types_are_read_without_django_duckdb_or_pyarrow() -> None:
    code = """
        import sys
        from apps.jobs.types import load
        from workers.catalog import MODULES
        print(*load(modules=MODULES, entry_point_group="nobody.uses").names())
        heavy = {"django", "celery", "duckdb", "pyarrow", "numpy", "pandas", "fsspec"} & set(sys.modules)
        assert not heavy, heavy
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], check=True, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.split() == [
        "contract.run",
        "data.check",
        "dataset.promote",
        "http.call",
        "ingest.file",
        "ingest.http",
        "ingest.postgres",
        "kpi.refresh",
        "migration.step",
        "ops.crash",
        "ops.fail",
        "ops.flood",
        "ops.noop",
        "ops.sleep",
        "sql.transform",
    ]

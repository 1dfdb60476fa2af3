"""`data.check` and `dataset.promote` on real data: what is broken is counted, what is good is published in one swap."""

import json
import shutil
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from apps.jobs import harness
from apps.jobs.outcome import StopReason
from workers.catalog import data_check, dataset_promote, ingest_file

REAL = Path(str(files("vega_datasets"))) / "_data"
WEATHERS = ["drizzle", "rain", "sun", "snow", "fog"]
ONE = "0198f3a2-7b1c-7d3e-8f4a-5b6c7d8e9f00"
TWO = "0198f3a2-7b1c-7d3e-8f4a-5b6c7d8e9f01"
THREE = "0198f3a2-7b1c-7d3e-8f4a-5b6c7d8e9f02"


def ingest(storage: Path, text: str | None = None) -> None:
    """Make the dataset `weather`, out of Seattle's real one or of a text."""
    if text is None:
        shutil.copy(REAL / "seattle-weather.csv", storage / "in.csv")
    else:
        (storage / "in.csv").write_text(text)
    params = {"source": "in.csv", "dataset": "weather"}
    assert harness.run(ingest_file.ingest, params=params, storage=storage).outcome == "succeeded"


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    """A tenant's storage with Seattle's weather."""
    ingest(tmp_path)
    return tmp_path


def check(storage: Path, *rules: dict[str, Any], **options: Any) -> harness.RunResult:
    params = {"dataset": "weather", **({"rules": list(rules)} if rules else {})}
    return harness.run(data_check.check, params=params, storage=storage, **options)


@pytest.mark.parametrize(
    ("rule", "broken"),
    [
        ({"rule": "not_null", "column": "date"}, 0),
        ({"rule": "unique", "columns": ["date"]}, 0),
        ({"rule": "unique", "columns": ["weather"]}, 1461 - 5),
        ({"rule": "unique", "columns": ["date", "weather"]}, 0),
        ({"rule": "range", "column": "precipitation", "min": 0, "max": 60}, 0),
        ({"rule": "range", "column": "precipitation", "max": 0}, 623),
        ({"rule": "range", "column": "precipitation", "min": 0.1}, 838),
        ({"rule": "row_count", "min": 1461, "max": 1461}, 0),
        ({"rule": "row_count", "min": 1462}, 1),
        ({"rule": "row_count", "max": 1460}, 1),
        ({"rule": "accepted_values", "column": "weather", "values": WEATHERS}, 0),
        ({"rule": "accepted_values", "column": "weather", "values": ["rain"]}, 1461 - 259),
    ],
    ids=str,
)
def test_each_rule_counts_what_breaks_it_in_real_data(storage: Path, rule: dict[str, Any], broken: int) -> None:
    result = check(storage, rule)
    assert result.metrics["rules_broken"] == int(broken > 0)
    if not broken:
        assert result.outcome == "succeeded"
        assert result.artifacts["dataset"].rows == 1461
        return
    assert result.error is not None
    assert (result.outcome, result.error.code) == ("failed", "check_failed")
    assert f"): {broken}" in (result.error.message or "")
    report = json.loads((storage / f"runs/{result.job_id}/1/check.json").read_text())
    assert [each["broken"] for each in report["rules"]] == [broken]


def test_nulls_and_freshness_in_typed_columns(tmp_path: Path) -> None:
    ingest(tmp_path, "at,name\n2026-01-01,Jane\n2026-01-02,\n2026-01-02,Jane\n")
    params = {"source": "in.csv", "dataset": "weather", "options": {"types": {"at": "date32"}}}
    harness.run(ingest_file.ingest, params=params, storage=tmp_path)
    fresh = {"rule": "freshness", "column": "at", "max_age_s": 100 * 366 * 86400}
    assert check(tmp_path, fresh).outcome == "succeeded"
    stale = {**fresh, "max_age_s": 1}
    dates = {"rule": "range", "column": "at", "min": "2026-01-02"}
    result = check(tmp_path, stale, dates, {"rule": "unique", "columns": ["at"]})
    assert result.error is not None
    assert result.error.message == "3 of 3 rules are broken: freshness(at): 1; range(at): 1; unique(at): 1"
    assert "Jane" not in repr(result)


def test_a_contracts_own_rules_are_asked_too(storage: Path) -> None:
    columns = [
        {"name": "date", "required": True, "unique": True},
        {"name": "weather", "quality": [{"type": "library", "metric": "invalidValues", "mustBe": 0,
                                         "arguments": {"validValues": ["sun"]}}]},
    ]  # fmt: skip
    schema = {"name": "weather", "properties": columns, "quality": [{"metric": "rowCount", "mustBeGreaterThan": 1461}]}
    result = check(storage, contract={"schema": [schema]})
    assert result.error is not None
    assert result.error.message == "2 of 4 rules are broken: row_count(): 1; accepted_values(weather): 747"
    unknown = {"schema": [{**schema, "quality": [{"type": "sql", "query": "SELECT 1"}]}]}
    refused = check(storage, contract=unknown).error
    assert refused is not None
    assert refused.code == "rule_unfit", "a rule that cannot be asked must not read as one that holds"


@pytest.mark.parametrize(
    ("rules", "code"),
    [
        ([], "no_rules"),
        ([{"rule": "not_null", "column": "nothing"}], "column_missing"),
        ([{"rule": "range", "column": "weather", "min": 1}], "rule_unfit"),
        ([{"rule": "freshness", "column": "weather", "max_age_s": 1}], "rule_unfit"),
    ],
    ids=["none", "no column", "text has no range", "text is no time"],
)
def test_a_rule_that_does_not_fit_fails_for_good(storage: Path, rules: list[dict[str, Any]], code: str) -> None:
    error = check(storage, *rules).error
    assert error is not None
    assert (error.kind.value, error.code) == ("failed", code)


def promote(storage: Path, job_id: str, **params: Any) -> harness.RunResult:
    return harness.run(dataset_promote.promote, params={"dataset": "weather", **params}, storage=storage, job_id=job_id)


def current(storage: Path) -> dict[str, Any]:
    return dict(json.loads((storage / "published/weather/current.json").read_text()))


def test_what_was_checked_is_published_and_can_be_taken_back(storage: Path) -> None:
    digest = check(storage, {"rule": "row_count", "min": 1}).artifacts["dataset"].digest
    assert promote(storage, ONE, digest=digest).outcome == "succeeded"
    assert current(storage)["current"]["digest"] == digest
    ingest(storage, "a\n1\n")
    assert promote(storage, TWO).outcome == "succeeded"
    published = storage / current(storage)["current"]["path"]
    assert published.read_bytes() == (storage / "datasets/weather/data.parquet").read_bytes()
    back = promote(storage, THREE, back_to=ONE)
    assert back.outcome == "succeeded"
    assert (current(storage)["current"]["version"], back.artifacts["dataset"].digest) == (ONE, digest)
    assert [each["version"] for each in current(storage)["history"]] == [ONE, TWO, ONE]


def test_a_second_attempt_changes_nothing_even_when_another_came_between(storage: Path) -> None:
    promote(storage, ONE)
    ingest(storage, "a\n1\n")
    promote(storage, TWO)
    before = current(storage)
    assert promote(storage, ONE).outcome == "succeeded"
    assert current(storage) == before


def test_what_is_not_what_was_checked_is_not_published(storage: Path) -> None:
    promote(storage, ONE)
    before = current(storage)
    for params, code in (
        ({"digest": "sha256:" + "0" * 64}, "digest_differs"),
        ({"back_to": THREE}, "version_unknown"),
    ):
        error = promote(storage, TWO, **params).error
        assert error is not None
        assert error.code == code
    (storage / before["current"]["path"]).write_bytes(b"x")
    error = promote(storage, TWO, back_to=ONE).error
    assert error is not None
    assert error.code == "digest_differs"
    assert current(storage) == before
    assert not (storage / f"published/weather/versions/{TWO}/data.parquet").exists()


def test_told_to_stop_it_leaves_the_pointer_as_it_was(storage: Path) -> None:
    promote(storage, ONE)
    before = current(storage)
    ingest(storage, "a\n1\n")
    stopped = harness.run(
        dataset_promote.promote,
        params={"dataset": "weather"},
        storage=storage,
        job_id=TWO,
        should_stop=lambda: StopReason.CANCELLED,
    )
    assert stopped.outcome == "cancelled"
    assert current(storage) == before

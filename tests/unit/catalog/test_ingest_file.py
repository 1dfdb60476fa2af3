"""`ingest.file` on real files, and on files that are not what they should be."""

import csv
import hashlib
import json
import shutil
from importlib.resources import files
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from apps.jobs import harness
from apps.jobs.outcome import Failure, StopReason
from workers.catalog import ingest_file

REAL = Path(str(files("vega_datasets"))) / "_data"


def ingest(storage: Path, source: str, **params: Any) -> harness.RunResult:
    return harness.run(ingest_file.ingest, params={"source": source, "dataset": "it", **params}, storage=storage)


def refusal(storage: Path, content: str | bytes, name: str = "x.csv", **params: Any) -> Failure:
    """Ingest a file whose every value holds the word canary, and return why that failed."""
    (storage / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    result = ingest(storage, name, **params)
    assert result.outcome == "failed"
    assert result.error is not None
    assert result.error.message is not None
    assert "canary" not in repr(result)
    assert not (storage / "datasets/it/data.parquet").exists()
    return result.error


@pytest.mark.parametrize(
    "name",
    ["seattle-weather.csv", "seattle-temps.csv", "sf-temps.csv", "stocks.csv", "us-employment.csv", "airports.csv"],
)
def test_a_real_csv_file_becomes_a_dataset_of_the_same_rows(tmp_path: Path, name: str) -> None:
    shutil.copy(REAL / name, tmp_path / name)
    result = ingest(tmp_path, name)
    assert result.outcome == "succeeded"
    with (REAL / name).open(newline="", encoding="utf-8") as file:
        expected = list(csv.DictReader(file))
    table = pq.read_table(tmp_path / "datasets/it/data.parquet")
    assert table.column_names == list(expected[0])
    assert table.num_rows == len(expected)
    first = table.column(0)
    assert [str(value) for value in (first[0], first[-1])] == [str(row[first_name(expected)]) for row in ends(expected)]
    assert result.metrics["rows_in"] == result.metrics["rows_out"] == len(expected)


def first_name(rows: list[dict[str, str]]) -> str:
    return next(iter(rows[0]))


def ends(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    return [rows[0], rows[-1]]


def test_the_artifact_is_the_file_that_lies_there(tmp_path: Path) -> None:
    shutil.copy(REAL / "seattle-weather.csv", tmp_path)
    artifact = ingest(tmp_path, "seattle-weather.csv").artifacts["dataset"]
    written = (tmp_path / "datasets/it/data.parquet").read_bytes()
    assert artifact.uri == f"{tmp_path.as_uri()}/datasets/it/data.parquet"
    assert (artifact.bytes, artifact.rows) == (len(written), 1461)
    assert artifact.digest == f"sha256:{hashlib.sha256(written).hexdigest()}"


def test_a_sum_is_the_same_before_and_after(tmp_path: Path) -> None:
    shutil.copy(REAL / "seattle-weather.csv", tmp_path)
    ingest(tmp_path, f"{tmp_path.as_uri()}/seattle-weather.csv")
    with (REAL / "seattle-weather.csv").open(newline="") as file:
        expected = sum(float(row["precipitation"]) for row in csv.DictReader(file))
    table = pq.read_table(tmp_path / "datasets/it/data.parquet")
    assert sum(table.column("precipitation").to_pylist()) == pytest.approx(expected)


def test_a_json_list_becomes_a_dataset(tmp_path: Path) -> None:
    shutil.copy(REAL / "cars.json", tmp_path)
    assert ingest(tmp_path, "cars.json").outcome == "succeeded"
    assert pq.read_table(tmp_path / "datasets/it/data.parquet").to_pylist() == json.loads(
        (REAL / "cars.json").read_text()
    )


@pytest.mark.parametrize("name", ["cars.jsonl", "cars.ndjson", "cars.json"])
def test_json_lines_become_a_dataset(tmp_path: Path, name: str) -> None:
    rows = json.loads((REAL / "cars.json").read_text())
    (tmp_path / name).write_text("\n".join(json.dumps(row) for row in rows))
    assert ingest(tmp_path, name).outcome == "succeeded"
    table = pq.read_table(tmp_path / "datasets/it/data.parquet")
    assert table.num_rows == len(rows)
    assert table.column("Name").to_pylist() == [row["Name"] for row in rows]


def test_a_field_that_comes_late_is_not_lost(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('[{"a": 1}, {"a": 2, "b": "late"}]')
    ingest(tmp_path, "x.json")
    assert pq.read_table(tmp_path / "datasets/it/data.parquet").to_pylist() == [
        {"a": 1, "b": None},
        {"a": 2, "b": "late"},
    ]


def test_parquet_becomes_a_dataset(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1, 2, 3]}), tmp_path / "x.parquet")
    assert ingest(tmp_path, "x.parquet").outcome == "succeeded"
    assert pq.read_table(tmp_path / "datasets/it/data.parquet").column("a").to_pylist() == [1, 2, 3]


def test_options_say_how_to_read(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("zip;n\n01234;1\n")
    result = ingest(
        tmp_path, "x.txt", format="csv", options={"delimiter": ";", "types": {"zip": "string", "n": "float64"}}
    )
    assert result.outcome == "succeeded"
    table = pq.read_table(tmp_path / "datasets/it/data.parquet")
    assert table.to_pylist() == [{"zip": "01234", "n": 1.0}]


@pytest.mark.parametrize("kind", ["string", "int64", "float64", "bool", "date32", "timestamp"])
def test_every_type_can_be_asked_for(tmp_path: Path, kind: str) -> None:
    value = {"bool": "true", "date32": "2012-01-31", "timestamp": "2012-01-31 10:00:00"}.get(kind, "7")
    (tmp_path / "x.csv").write_text(f"a\n{value}\n")
    assert ingest(tmp_path, "x.csv", options={"types": {"a": kind}}).outcome == "succeeded"
    found = pq.read_schema(tmp_path / "datasets/it/data.parquet").field("a").type
    assert str(found).startswith({"float64": "double", "date32": "date32"}.get(kind, kind))


def test_a_second_attempt_replaces_the_first(tmp_path: Path) -> None:
    for text in ("a\n1\n2\n", "a\n3\n"):
        (tmp_path / "x.csv").write_text(text)
        ingest(tmp_path, "x.csv")
    assert pq.read_table(tmp_path / "datasets/it/data.parquet").to_pylist() == [{"a": 3}]
    assert [each.name for each in (tmp_path / "datasets/it").iterdir()] == ["data.parquet"]


def test_a_missing_file_is_told_clearly(tmp_path: Path) -> None:
    result = ingest(tmp_path, "gone.csv")
    assert result.outcome == "failed"
    assert result.error is not None
    assert (result.error.code, result.error.message) == (
        "file_missing",
        "the source file is not in the tenant's storage",
    )


@pytest.mark.parametrize("source", ["../other/x.csv", "/etc/passwd", "file:///etc/passwd", "http://127.0.0.1/x.csv"])
def test_a_file_of_somebody_else_is_refused(tmp_path: Path, source: str) -> None:
    result = ingest(tmp_path, source, format="csv")
    assert result.outcome == "failed"
    assert result.error is not None
    assert result.error.code == "outside_storage"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the source file is empty"),
        ("a,b\ncanary,1\ncanary\n", "row 3 (the header is row 1) has 1 values, where 2 are due"),
        ("a,b\ncanary,1,2\n", "row 2 (the header is row 1) has 3 values, where 2 are due"),
        ("canary,canary\n1,2\n", "column 2 has the name of a column before it"),
        (b"a,b\n1,canary\xff\xfe\n", "column 2 is not UTF-8 text"),
        (b"canary\xff,b\n1,2\n", "the source file is not a readable CSV file in UTF-8"),
        ("a\n" + "1\n" * 3_000_000 + "canary\n", "column 1, row 3000002 (the header is row 1) is not of type int64"),
    ],
)
def test_a_malformed_csv_file_is_told_by_place_not_by_value(tmp_path: Path, content: str | bytes, message: str) -> None:
    assert message in str(refusal(tmp_path, content).message)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[{"canary": 1}', "not JSON at line 1, column 15"),
        ('[{"a": "canary"}, "canary"]', "item 2 of the list is not an object"),
        ('[{"a": "canary"}, {"a": 2}]', "field 1 holds values of different kinds"),
        (
            '[{"a": 36893488147419103232000000000000000000000}]',
            "field 1 holds values of different kinds, or out of range",
        ),
        ('[{"canary": NaN}]', "not plain JSON"),
        ("[" * 100_000, "not plain JSON"),
        (b'[{"a": "canary\xff"}]', "not plain JSON in UTF-8"),
        ('{"a": "canary"}\n{"a": 2}\n', "a line is not a JSON object of the same shape"),
        ('{"a": "canary"\n', "a line is not a JSON object"),
        ("canary", "a line is not a JSON object"),
        (" \n ", "holds no columns"),
        ("[]", "holds no columns"),
        ('[{"a": {}}]', "cannot be held by Parquet"),
    ],
)
def test_a_malformed_json_file_is_told_by_place_not_by_value(
    tmp_path: Path, content: str | bytes, message: str
) -> None:
    assert message in str(refusal(tmp_path, content, "x.json").message)


def test_a_malformed_parquet_file_is_told(tmp_path: Path) -> None:
    assert "not a readable Parquet file" in str(refusal(tmp_path, "canary" * 100, "x.parquet").message)
    pq.write_table(pa.table({"a": ["canary"] * 100_000}), tmp_path / "good.parquet", compression="none")
    whole = bytearray((tmp_path / "good.parquet").read_bytes())
    whole[4:60] = b"\xff" * 56
    assert "not a readable Parquet file" in str(refusal(tmp_path, bytes(whole), "y.parquet").message)


def test_what_makes_no_sense_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path, "canary", "x.docx").code == "format_unknown"
    assert refusal(tmp_path, "[]", "x.json", options={"delimiter": ";"}).code == "options_unused"
    assert refusal(tmp_path, "a\n1\n", options={"types": {"b": "string"}}).code == "column_missing"


def test_arrows_own_words_stay_with_the_tenant(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a,b\ncanary,1\ncanary\n")
    result = ingest(tmp_path, "x.csv")
    assert "canary" in (tmp_path / f"runs/{result.job_id}/1/traceback.txt").read_text()


def test_it_stops_when_told_to_and_leaves_nothing(tmp_path: Path) -> None:
    shutil.copy(REAL / "seattle-weather.csv", tmp_path)
    result = harness.run(
        "ingest.file",
        params={"source": "seattle-weather.csv", "dataset": "it"},
        storage=tmp_path,
        should_stop=lambda: StopReason.CANCELLED,
    )
    assert result.outcome == "cancelled"
    assert list((tmp_path / "datasets/it").iterdir()) == []


@pytest.mark.parametrize("dataset", ["", "../x", "A", "a/b", "a.b", "x" * 64])
def test_a_datasets_name_is_plain(tmp_path: Path, dataset: str) -> None:
    with pytest.raises(harness.ParamsRefusedError, match="/dataset"):
        ingest(tmp_path, "x.csv", dataset=dataset)

"""`sql.transform` and `kpi.refresh`: right figures from real data, and a box nothing gets out of."""

import csv
import resource
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from types import FrameType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from apps.jobs import harness
from apps.jobs.context import Context
from apps.jobs.outcome import JobTimeout, StopReason
from apps.jobs.storage import TenantStorage
from workers.catalog import ingest_file, kpi_refresh, sandbox, sql_transform

REAL = Path(str(files("vega_datasets"))) / "_data"
WEATHER = "datasets/seattle-weather/data.parquet"
ENDLESS = "SELECT count(*) AS n FROM range(10000000) a, range(10000000) b WHERE (a.range * b.range) % 7 = 3"

CONTRACT: dict[str, Any] = {
    "owner": "climate",
    "kpi": {
        "name": "Wet days",
        "inputs": {"weather": "seattle-weather"},
        "sql": "SELECT count(*) AS days, sum(precipitation) AS mm FROM weather "
        "WHERE precipitation > 0 AND ($period IS NULL OR starts_with(date, replace($period, '-', '/')))",
        "output": "kpis/wet-days",
    },
}


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    """A tenant's storage that holds Seattle's weather as a dataset."""
    shutil.copy(REAL / "seattle-weather.csv", tmp_path)
    params = {"source": "seattle-weather.csv", "dataset": "seattle-weather"}
    assert harness.run(ingest_file.ingest, params=params, storage=tmp_path).outcome == "succeeded"
    return tmp_path


def transform(storage: Path, sql: str, **options: Any) -> harness.RunResult:
    params = {"inputs": {"weather": WEATHER}, "sql": sql, "output": "out"}
    return harness.run(sql_transform.transform, params=params | options.pop("params", {}), storage=storage, **options)


def refresh(storage: Path, params: dict[str, Any] | None = None, **kpi: Any) -> harness.RunResult:
    contract = {**CONTRACT, "kpi": {**CONTRACT["kpi"], **kpi}}
    return harness.run("kpi.refresh", params=params, contract=contract, storage=storage)


def wet_days(period: str | None) -> tuple[int, float]:
    """The same figure without DuckDB, Arrow or Parquet."""
    with (REAL / "seattle-weather.csv").open(newline="") as file:
        rain = [
            float(row["precipitation"])
            for row in csv.DictReader(file)
            if period is None or row["date"].startswith(period.replace("-", "/"))
        ]
    return sum(1 for mm in rain if mm > 0), sum(rain)


def test_a_transform_writes_a_dataset(storage: Path) -> None:
    result = transform(storage, "SELECT weather, count(*) AS days FROM weather GROUP BY weather ORDER BY weather")
    assert result.outcome == "succeeded"
    with (REAL / "seattle-weather.csv").open(newline="") as file:
        kinds = [row["weather"] for row in csv.DictReader(file)]
    expected = [{"weather": kind, "days": kinds.count(kind)} for kind in sorted(set(kinds))]
    assert pq.read_table(storage / "datasets/out/data.parquet").to_pylist() == expected
    assert result.metrics == {"rows_in": 1461, "rows_out": len(expected)}
    assert result.artifacts["dataset"].rows == len(expected)
    assert result.artifacts["dataset"].uri == f"{storage.as_uri()}/datasets/out/data.parquet"


@pytest.mark.parametrize(
    "sql", ["WITH wet AS (SELECT * FROM weather) SELECT date FROM wet", "FROM weather;", "VALUES (1)"]
)
def test_every_form_of_one_query_will_do(storage: Path, sql: str) -> None:
    assert transform(storage, sql).outcome == "succeeded"


def test_a_large_result_is_written_in_batches(storage: Path) -> None:
    result = transform(storage, "SELECT range AS n FROM range(400000)")
    assert result.metrics["rows_out"] == 400_000
    column = pq.read_table(storage / "datasets/out/data.parquet").column("n")
    assert (column[0].as_py(), column[-1].as_py()) == (0, 399_999)


@pytest.mark.parametrize("period", [None, "2012", "2013", "2014", "2015", "2012-05", "2012-05-04"])
def test_a_kpi_is_the_figure_an_independent_calculation_gives(storage: Path, period: str | None) -> None:
    result = refresh(storage, {"period": period})
    assert result.outcome == "succeeded"
    path = storage / kpi_refresh.result_path("kpis/wet-days", period=period)
    (row,) = pq.ParquetFile(path).read().to_pylist()
    days, millimetres = wet_days(period)
    assert row["days"] == days
    assert (row["mm"] or 0) == pytest.approx(millimetres)
    assert result.artifacts["result"].uri == path.as_uri().replace("%3D", "=")
    assert result.artifacts["result"].rows == 1


def test_a_kpis_figure_never_reaches_the_plane(storage: Path) -> None:
    result = refresh(storage, {"period": "2012"})
    days, millimetres = wet_days("2012")
    assert result.metrics == {"rows_in": 1461, "rows_out": 1}
    assert str(millimetres) not in repr(result)
    assert days not in result.metrics.values()


def test_periods_stand_beside_each_other(storage: Path) -> None:
    for params in ({}, {"period": "2012"}, {"period": "2013"}, {"period": "2013"}):
        refresh(storage, params)
    found = sorted(str(path.relative_to(storage)) for path in (storage / "kpis").rglob("*.parquet"))
    assert found == [
        "kpis/wet-days/data.parquet",
        "kpis/wet-days/period=2012/data.parquet",
        "kpis/wet-days/period=2013/data.parquet",
    ]


@pytest.mark.parametrize("period", ["2012'; DROP TABLE weather", "12", "2012-1", 2012, "2012\n", "../2012"])
def test_a_period_is_a_period(storage: Path, period: object) -> None:
    with pytest.raises(harness.ParamsRefusedError, match="/period"):
        refresh(storage, {"period": period})


def test_a_period_for_a_kpi_without_periods_is_refused(storage: Path) -> None:
    result = refresh(storage, {"period": "2012"}, sql="SELECT count(*) AS days FROM weather")
    assert result.error is not None
    assert result.error.code == "no_period"
    assert refresh(storage, {}, sql="SELECT count(*) AS days FROM weather").outcome == "succeeded"


def test_without_a_contract_there_is_no_kpi(storage: Path) -> None:
    with pytest.raises(harness.ContractRefusedError):
        harness.run("kpi.refresh", storage=storage)


@pytest.mark.parametrize(
    ("kpi", "path"),
    [
        ({"output": "datasets/seattle-weather"}, "/kpi/output"),
        ({"output": "kpis/../x"}, "/kpi/output"),
        ({"inputs": {}}, "/kpi/inputs"),
        ({"inputs": {"weather": "../globex"}}, "/kpi/inputs/weather"),
        ({"sql": 3}, "/kpi/sql"),
    ],
)
def test_a_contract_that_defines_no_kpi_is_refused(storage: Path, kpi: dict[str, Any], path: str) -> None:
    result = refresh(storage, **kpi)
    assert result.error is not None
    assert result.error.code == "bad_contract"
    assert path in str(result.error.message)


def test_a_missing_input_is_told_by_its_name(storage: Path) -> None:
    result = refresh(storage, inputs={"weather": "gone"})
    assert result.error is not None
    assert (result.error.code, result.error.message) == (
        "file_missing",
        "the input 'weather' is not in the tenant's storage",
    )


def test_an_input_that_is_no_parquet_is_told_by_its_name(storage: Path) -> None:
    result = transform(storage, "FROM weather", params={"inputs": {"weather": "seattle-weather.csv"}})
    assert result.error is not None
    assert result.error.message == "the input 'weather' is not a readable Parquet file"


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1; SELECT 2",
        "CREATE TABLE t AS SELECT 1",
        "INSERT INTO weather VALUES (1)",
        "COPY weather TO '/tmp/ops-escape.csv'",
        "ATTACH '/tmp/ops-escape.db'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "PRAGMA database_list",
        "SET threads = 8",
        "RESET threads",
        "CALL duckdb_settings()",
        "EXPLAIN SELECT 1",
        "EXPORT DATABASE '/tmp/ops-escape'",
        "PREPARE p AS SELECT 1",
        "PIVOT weather ON weather",
        "",
        "-- nothing",
    ],
)
def test_only_one_query_is_run(storage: Path, sql: str) -> None:
    if sql == "":
        with pytest.raises(harness.ParamsRefusedError):
            transform(storage, sql)
        return
    result = transform(storage, sql)
    assert result.error is not None
    assert result.error.code == "sql_not_a_query"
    assert not list(Path("/tmp").glob("ops-escape*"))  # noqa: S108 - where it would have gone


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM read_blob('/etc/passwd')",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_json('/etc/passwd')",
        "SELECT * FROM read_parquet('/etc/passwd')",
        "SELECT * FROM parquet_metadata('/etc/passwd')",
        "SELECT * FROM sniff_csv('/etc/passwd')",
        "SELECT * FROM glob('/etc/*')",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM 'http://127.0.0.1:1/x.parquet'",
        "SELECT * FROM query('SELECT * FROM read_text(''/etc/passwd'')')",
        "SELECT getenv('HOME')",
        "SELECT * FROM table_of_ours",
        "SELECT * FROM duckdb_secrets()",
        "SELECT * FROM storage",
        "SELECT * FROM parameters",
        "SELECT nextval('s')",
        "WITH x AS (INSERT INTO weather VALUES (1) RETURNING *) SELECT * FROM x",
    ],
)
def test_nothing_outside_the_inputs_is_read(storage: Path, sql: str) -> None:
    table_of_ours = pa.table({"secret": [1]})  # DuckDB would find it by looking through its callers' variables
    assert table_of_ours.num_rows == 1
    result = transform(storage, sql)
    assert result.outcome == "failed"
    assert result.error is not None
    assert result.error.code in ("sql_permission", "sql_catalog", "sql_binder", "sql_invalid_input")
    assert not (storage / "datasets/out").exists() or list((storage / "datasets/out").iterdir()) == []


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELEC canary", "the SQL failed: ParserException"),
        ("SELECT canary FROM weather", "the SQL failed: BinderException"),
        ("SELECT CAST('canary' AS INT)", "the SQL failed: ConversionException"),
        ("SELECT CAST(date || 'canary' AS INT) FROM weather", "the SQL failed: ConversionException"),
        ("SELECT error('canary')", "the SQL failed: InvalidInputException"),
        (
            "SELECT if(range = 399999, error('canary'), 1) AS x FROM range(400000)",
            "the SQL failed: InvalidInputException",
        ),
        ("SELECT 1 AS canary, 2 AS canary", "column 2 has the name of a column before it"),
        ("SELECT INTERVAL 1 DAY AS canary", "a column's type cannot be held by Parquet"),
        ("SELECT $other", "the SQL asks for $other, which is not given; known: none"),
        ("SELECT ?", "the SQL asks for $1, which is not given; known: none"),
    ],
)
def test_a_failing_query_is_told_by_class_never_by_value(storage: Path, sql: str, message: str) -> None:
    result = transform(storage, sql)
    assert result.outcome == "failed"
    assert result.error is not None
    assert result.error.message == message
    assert "canary" not in repr(result)
    if "canary" in sql and "Exception" in message:
        assert "canary" in (storage / f"runs/{result.job_id}/1/traceback.txt").read_text()
    assert not (storage / "datasets/out/data.parquet").exists()


class Quiet:
    """A Reporter nobody listens to, for the box alone."""

    def log(self, **_: Any) -> None: ...
    def progress(self, **_: Any) -> None: ...
    def metric(self, **_: Any) -> None: ...
    def artifact(self, artifact: Any) -> None: ...
    def should_stop(self) -> None: ...


def test_memory_is_bounded_and_nothing_is_spilt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    storage = TenantStorage(base_url=(tmp_path / "acme").as_uri())
    ctx = Context(job_id="j", tenant_id="acme", type="t.t", attempt=1, fence=1, storage=storage, reporter=Quiet())
    hungry = "SELECT count(*) AS n FROM (SELECT range FROM range(50000000) GROUP BY range)"
    with pytest.raises(sandbox.SqlError) as caught:
        sandbox.write_query(ctx, sql=hungry, inputs={}, output="x.parquet", bindings={}, memory_limit="32MB")
    assert caught.value.code == "sql_out_of_memory"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux enforces the bound")
def test_what_duckdb_does_not_count_is_bounded_too(storage: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = resource.getrlimit(resource.RLIMIT_AS)
    result = transform(storage, "SELECT sum(x) AS s FROM (SELECT unnest(range(200000000)) AS x)")
    assert result.error is not None
    assert (result.outcome, result.error.code) == ("failed", "sql_out_of_memory")
    assert resource.getrlimit(resource.RLIMIT_AS) == before
    assert capfd.readouterr().out == ""


def test_a_query_stops_when_told_to_and_leaves_nothing(storage: Path) -> None:
    answers: Iterator[StopReason | None] = iter([None, None, StopReason.CANCELLED])
    began = time.monotonic()
    result = transform(storage, ENDLESS, should_stop=lambda: next(answers))
    assert result.outcome == "cancelled"
    assert time.monotonic() - began < 10
    assert list((storage / "datasets").rglob("*.part")) == []
    assert not (storage / "datasets/out/data.parquet").exists()


@contextmanager
def alarm(seconds: float) -> Iterator[None]:
    """Raise JobTimeout in the main thread after so long, and again and again, as a worker's deadline does."""

    def ring(_number: int, _frame: FrameType | None) -> None:
        raise JobTimeout

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("sql", [ENDLESS, "SELECT sha256(repeat('a', 300000000)) AS slow_to_interrupt"])
def test_a_deadlines_signal_ends_a_running_query(storage: Path, sql: str) -> None:
    began = time.monotonic()
    with alarm(0.5):
        result = transform(storage, sql)
    assert [each.name for each in threading.enumerate() if each.name.startswith("sql")] == []
    assert result.outcome == "timed_out"
    assert time.monotonic() - began < 10
    assert not (storage / "datasets/out/data.parquet").exists()

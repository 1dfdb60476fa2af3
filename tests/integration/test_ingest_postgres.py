"""`ingest.postgres` against a real PostgreSQL: whole, by what is new, read-only, and never by a string in params."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pyarrow.parquet as pq
import pytest

from apps.jobs import harness
from workers.catalog import ingest_postgres

HERE = "datasets/orders/data.parquet"


@pytest.fixture
def source(superuser: psycopg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A table of somebody's, and acme's secret that leads to it."""
    info = superuser.info
    parts: dict[str, Any] = {
        "host": info.host,
        "port": info.port,
        "user": info.user,
        "password": info.password,
        "dbname": info.dbname,
    }
    dsn = psycopg.conninfo.make_conninfo("", **parts)
    keys = tmp_path / "keys"
    keys.mkdir()
    (keys / "secrets.json").write_text(json.dumps({"acme": {"warehouse": dsn, "broken": "not = a = dsn s3cret"}}))
    monkeypatch.setenv("OPS_KEYS", str(keys))
    superuser.execute(
        b"CREATE SCHEMA shop; CREATE TABLE shop.orders (id bigint, at timestamptz, day date, price numeric(10, 2),"
        b" paid boolean, note text, detail jsonb);"
        b"INSERT INTO shop.orders SELECT n, '2026-01-01T00:00Z'::timestamptz + n * interval '1 s', '2026-01-01',"
        b" n / 4.0, n % 2 = 0, 'order ' || n, '{\"a\": 1}' FROM generate_series(1, 25000) AS n"
    )
    try:
        yield superuser
    finally:
        superuser.execute(b"DROP SCHEMA shop CASCADE")


def ingest(tmp_path: Path, **params: Any) -> harness.RunResult:
    (tmp_path / "acme").mkdir(exist_ok=True)
    asked = {"dsn_secret": "warehouse", "dataset": "orders", **params}
    return harness.run(ingest_postgres.ingest, params=asked, storage=tmp_path / "acme")


def code(result: harness.RunResult) -> tuple[str, str | None]:
    return result.outcome, result.error.code if result.error is not None else None


def test_a_table_becomes_a_dataset_with_its_types(source: Any, tmp_path: Path) -> None:
    result = ingest(tmp_path, table="shop.orders")
    assert (result.outcome, result.artifacts["dataset"].rows) == ("succeeded", 25_000)
    table = pq.read_table(tmp_path / "acme" / HERE)
    assert [str(kind) for kind in table.schema.types] == [
        "int64", "timestamp[us, tz=UTC]", "date32[day]", "decimal128(10, 2)", "bool", "string", "string",
    ]  # fmt: skip
    assert sum(table["id"].to_pylist()) == 25_000 * 25_001 // 2
    assert str(table["price"][2].as_py()) == "0.75"


def test_what_is_new_is_added_once(source: Any, tmp_path: Path) -> None:
    asked = {"query": "SELECT id, note FROM shop.orders WHERE note LIKE 'order%'", "cursor_column": "id"}
    assert ingest(tmp_path, **asked).metrics["rows_new"] == 25_000
    assert ingest(tmp_path, **asked).metrics["rows_new"] == 0
    source.execute(b"INSERT INTO shop.orders (id, note) VALUES (25002, 'order x'), (25001, 'order y')")
    result = ingest(tmp_path, **asked)
    assert (result.metrics["rows_new"], result.metrics["rows_out"]) == (2, 25_002)
    ids = pq.read_table(tmp_path / "acme" / HERE)["id"].to_pylist()
    assert ids == list(range(1, 25_003))
    changed = {**asked, "query": "SELECT id FROM shop.orders"}
    assert code(ingest(tmp_path, **changed)) == ("failed", "columns_changed")


@pytest.mark.parametrize(
    ("query", "outcome", "said"),
    [
        ("DELETE FROM shop.orders RETURNING id", "failed", "sql_42601"),
        ("SELECT 1; DROP SCHEMA shop CASCADE", "failed", "sql_42601"),
        ("WITH d AS (DELETE FROM shop.orders RETURNING id) SELECT * FROM d", "failed", "sql_0a000"),
        ("SELECT setval(pg_get_serial_sequence('events', 'id'), 1) FROM shop.orders", "failed", None),
        ("SELECT note::int FROM shop.orders", "failed", "sql_22p02"),
        ("SELECT pg_sleep(30)", "retry", "sql_57014"),
    ],
    ids=["writes", "two", "writes inside", "changes", "a bad cast", "too slow"],
)
def test_nothing_but_reading_and_not_for_ever(
    source: Any, tmp_path: Path, query: str, outcome: str, said: str | None
) -> None:
    result = ingest(tmp_path, query=query, statement_timeout_s=1)
    assert result.outcome == outcome
    assert result.error is not None
    assert result.error.code == (said or result.error.code)
    assert "order 1" not in repr(result), "what the source says may quote a row"
    assert source.execute(b"SELECT count(*) FROM shop.orders").fetchone() == (25_000,)
    assert not (tmp_path / "acme" / HERE).exists()


def test_where_it_is_reached_is_told_to_nobody(source: Any, tmp_path: Path) -> None:
    result = ingest(tmp_path, table="shop.orders", dsn_secret="broken")
    assert code(result) == ("failed", "bad_secret")
    kept = "".join(path.read_text() for path in (tmp_path / "acme").rglob("*") if path.is_file())
    assert "s3cret" not in repr(result) + kept
    assert code(ingest(tmp_path, table="shop.orders", dsn_secret="none")) == ("failed", "secret_missing")
    with pytest.raises(harness.ParamsRefusedError):
        ingest(tmp_path, table="shop.orders", query="SELECT 1")

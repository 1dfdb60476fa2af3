"""Backfills: every row once, whatever is written meanwhile, in batches that stay short."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from apps.jobs import harness
from tests.support.migrating import Ground, code
from workers.migrations import keys

TOUCH = "UPDATE customers SET touched = touched + 1 WHERE id > %(after)s AND id <= %(upto)s"
PYTHON = '''
"""Batches of a module's own."""

def touch(connection, *, after, limit):
    rows = connection.execute(
        "UPDATE customers SET touched = touched + 1 WHERE id > %s AND id <= %s", [after or 0, (after or 0) + limit]
    ).rowcount
    return ((after or 0) + limit if rows else None), rows

def whole(connection):
    connection.execute("UPDATE customers SET touched = touched + 1")

def undo(connection):
    connection.execute("UPDATE customers SET touched = 0")

def words(connection, *, after, limit):
    order = ["a", "b%c", None]
    connection.execute("INSERT INTO said VALUES (%s)", [after])
    return order[0 if after is None else order.index(after) + 1], 1

def stuck(connection, *, after, limit):
    return 1, 0

def bad(connection, *, after, limit):
    return [1]

def fails(connection):
    raise ValueError("n1 is a row's")
'''


def backfill(ground: Ground, text: str = TOUCH, *, rows: int = 1000, key: str = "id", **batch: Any) -> None:
    """Have a table of `rows`, and a definition that fills it."""
    ground.tenant("acme", rows=rows)
    ground.run("ALTER TABLE tenant_acme.customers ADD COLUMN touched int NOT NULL DEFAULT 0")
    said = {"table": "customers", "key": key, "size": 100, "rest": 0, **batch}
    step = {"name": "fill", "kind": "sql", "phase": "backfill", "file": "fill.sql", "batch": said}
    ground.define(step, files={"fill.sql": text})


def touched(ground: Ground) -> list[tuple[Any, ...]]:
    """Return how many rows were touched how often."""
    return ground.ask("SELECT touched, count(*) FROM tenant_acme.customers GROUP BY 1 ORDER BY 1")


@contextmanager
def meanwhile(work: Callable[[], None]) -> Iterator[None]:
    """Have something going on beside."""
    over = threading.Event()

    def loop() -> None:
        while not over.is_set():
            work()

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_every_row_is_filled_once_and_progress_is_told(ground: Ground) -> None:
    backfill(ground, rows=1000)
    for fence in (1, 2):
        result = ground.attempt("fill", fence=fence, sets_version="1.5")
        assert code(result) == ("succeeded", None)
        assert touched(ground) == [(1, 1000)]
        if fence == 1:
            told = result.progress
    assert ground.ledger("fill") == ("applied", 1000)
    assert ground.one("SELECT version FROM tenant_acme.ops_schema_version") == "1.5"
    assert told[0] == harness.Progress(0, 1000, None)
    assert told[1] == harness.Progress(100, 1000, "100")
    assert (told[-1].done, told[-1].total) == (1000, 1000)
    assert code(ground.attempt("fill", "down", run=2)) == ("succeeded", None)
    assert ground.ledger("fill") == ("reverted", 0)


def test_an_empty_table_is_filled_at_once(ground: Ground) -> None:
    backfill(ground, rows=0)
    assert code(ground.attempt("fill")) == ("succeeded", None)
    assert ground.ledger("fill") == ("applied", 0)


@pytest.mark.parametrize(
    "kind", ["smallint", "integer", "numeric(12,2)", "text", "varchar(40)", "uuid", "date", "timestamptz", "float8"]
)
def test_a_key_of_any_usual_type_leads_through_the_table(ground: Ground, kind: str) -> None:
    text = "UPDATE customers SET touched = touched + 1 WHERE other > %(after)s AND other <= %(upto)s AND name LIKE 'n%'"
    backfill(ground, text, rows=0, key="other", size=7)
    made = {
        "uuid": "md5(n::text)::uuid", "date": "date '2026-01-01' + n", "timestamptz": "now() + n * interval '1 us'",
        "text": "'k' || n % 50", "varchar(40)": "'%s ''' || n",
    }.get(kind, "n - 32769" if kind == "smallint" else "n - 50")  # fmt: skip
    ground.run(f"ALTER TABLE tenant_acme.customers ADD COLUMN other {kind}")
    ground.run(
        f"INSERT INTO tenant_acme.customers (name, country, other) SELECT 'n' || n, 'AT', {made}"
        " FROM generate_series(1, 100) n"
    )
    assert code(ground.attempt("fill")) == ("succeeded", None)
    assert touched(ground) == [(1, 100)]


def test_a_key_that_leads_nowhere_is_refused_by_name(ground: Ground) -> None:
    backfill(ground, TOUCH.replace("id", "name"), key="name", rows=2)
    ground.run("UPDATE tenant_acme.customers SET name = '' WHERE id = 1")
    assert code(ground.attempt("fill")) == ("failed", "batch_key"), "a key before which no batch begins"
    ground.run("ALTER TABLE tenant_acme.customers ALTER name TYPE jsonb USING '1'")
    assert code(ground.attempt("fill", run=2)) == ("failed", "batch_key"), "a type without a least"
    ground.run("ALTER TABLE tenant_acme.customers DROP name")
    assert code(ground.attempt("fill", run=3)) == ("failed", "batch_key"), "no such column"
    assert touched(ground) == [(0, 2)]


def test_a_batch_grows_while_it_is_quick_and_shrinks_when_it_takes_too_long(ground: Ground) -> None:
    backfill(ground, rows=20_000, size=10)
    result = ground.attempt("fill")
    assert code(result) == ("succeeded", None)
    steps = [after.done - before.done for before, after in zip(result.progress, result.progress[1:], strict=False)]
    assert steps[0] == 10
    assert max(steps) > 200, "not ten at a time for ever"
    assert max(steps) <= 640, "nor more than one asked for by far"


def test_a_batch_that_runs_into_its_time_out_is_made_smaller(ground: Ground) -> None:
    # Ten milliseconds a row: a hundred of them take a second, and half of one is allowed.
    slow = TOUCH + " AND pg_sleep(0.01) IS NOT NULL"
    backfill(ground, slow, rows=120, size=100)
    ground.define(
        {
            "name": "fill", "kind": "sql", "phase": "backfill", "file": "fill.sql", "statement_timeout_s": 0.5,
            "batch": {"table": "customers", "key": "id", "size": 100, "rest": 0},
        },
        files={},
    )  # fmt: skip
    result = ground.attempt("fill")
    assert code(result) == ("succeeded", None)
    assert touched(ground) == [(1, 120)]
    assert [line.fields["size"] for line in result.logs if "size" in line.fields] == [25]


def test_rows_that_are_written_meanwhile_are_neither_lost_nor_overwritten(ground: Ground) -> None:
    backfill(ground, rows=4000, size=20, rest=0.5)
    writes = 0
    with psycopg.connect(ground.dsn, autocommit=True) as other:

        def write() -> None:
            nonlocal writes
            writes += 1
            other.execute(
                "UPDATE tenant_acme.customers SET touched = touched + 1000 WHERE id = %s", [writes % 4000 + 1]
            )
            other.execute("INSERT INTO tenant_acme.customers (name, country) VALUES ('new', 'AT')")

        with meanwhile(write):
            assert code(ground.attempt("fill")) == ("succeeded", None)
    assert writes > 10
    reached = ground.ledger("fill")[1]
    assert ground.one("SELECT sum(touched / 1000) FROM tenant_acme.customers") == writes, "no write was lost"
    assert ground.one("SELECT count(*) FROM tenant_acme.customers WHERE touched %% 1000 > 1") == 0, "no row twice"
    assert ground.one("SELECT count(*) FROM tenant_acme.customers WHERE touched %% 1000 = 1") == reached
    assert ground.one("SELECT count(*) FROM tenant_acme.customers WHERE id <= 4000 AND touched %% 1000 = 0") == 0
    assert reached > 4000, "and those that came meanwhile were reached, up to its last look"


def test_a_row_that_is_committed_late_with_an_earlier_key_is_reached(ground: Ground) -> None:
    """A sequence gives keys in order; transactions commit in any. One that is open would be passed over."""
    backfill(ground, rows=10)
    insert = "INSERT INTO tenant_acme.customers (name, country) VALUES ('late', 'AT') RETURNING id"
    with psycopg.connect(ground.dsn) as late, psycopg.connect(ground.dsn, autocommit=True) as other:
        ((early_key,),) = late.execute(insert).fetchall()
        ((late_key,),) = other.execute(insert).fetchall()
        assert early_key < late_key
        commit = threading.Timer(1.0, late.commit)
        commit.start()
        assert code(ground.attempt("fill")) == ("succeeded", None)
        commit.join()
    assert touched(ground) == [(1, 12)]


def test_a_writer_that_never_ends_is_not_passed_over_in_silence(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    backfill(ground, rows=10)
    monkeypatch.setattr(keys, "_WRITERS_S", 0.3)
    with psycopg.connect(ground.dsn) as late:
        late.execute("INSERT INTO tenant_acme.customers (name, country) VALUES ('late', 'AT')")
        assert code(ground.attempt("fill")) == ("retry", "writer_open")
        late.commit()
    assert code(ground.attempt("fill", fence=2)) == ("succeeded", None)
    assert touched(ground) == [(1, 11)]


def python(ground: Ground, function: str, **said: Any) -> None:
    ground.define(
        {"name": "fill", "kind": "python", "phase": "backfill", "function": f"steps:{function}", **said},
        files={"steps.py": PYTHON},
    )


def test_a_function_goes_its_own_way_in_batches(ground: Ground) -> None:
    backfill(ground, rows=950)
    python(ground, "touch", batch={"size": 100, "rest": 0})
    for fence in (1, 2):
        assert code(ground.attempt("fill", fence=fence)) == ("succeeded", None)
        assert touched(ground) == [(1, 950)]
    assert ground.ledger("fill") == ("applied", 950)


def test_a_function_is_given_back_what_it_said(ground: Ground) -> None:
    backfill(ground, rows=0)
    ground.run("CREATE TABLE tenant_acme.said (word text)")
    python(ground, "words", batch={"size": 1, "rest": 0})
    assert code(ground.attempt("fill")) == ("succeeded", None)
    assert ground.ask("SELECT word FROM tenant_acme.said") == [(None,), ("a",), ("b%c",)]


def test_a_whole_function_is_one_transaction_and_can_be_undone(ground: Ground) -> None:
    backfill(ground, rows=10)
    python(ground, "whole", revert="steps:undo")
    for fence in (1, 2):
        assert code(ground.attempt("fill", fence=fence)) == ("succeeded", None)
        assert touched(ground) == [(1, 10)]
    assert code(ground.attempt("fill", "down", run=2)) == ("succeeded", None)
    assert touched(ground) == [(0, 10)]


@pytest.mark.parametrize(
    ("function", "batched", "ended"),
    [
        ("stuck", True, ("failed", "bad_step")),
        ("bad", True, ("failed", "bad_step")),
        ("fails", False, ("retry", "unexpected_error")),
        ("nobody", False, ("failed", "bad_step")),
    ],
)
def test_a_function_that_does_not_keep_to_what_is_agreed_fails(
    ground: Ground, function: str, batched: bool, ended: tuple[str, str]
) -> None:
    backfill(ground, rows=10)
    python(ground, function, **({"batch": {"size": 5, "rest": 0}} if batched else {}))
    result = ground.attempt("fill")
    assert code(result) == ended
    assert "n1" not in repr(result)


def test_two_texts_of_one_function_are_two_functions(ground: Ground) -> None:
    backfill(ground, rows=10)
    python(ground, "whole", revert="steps:undo")
    assert code(ground.attempt("fill")) == ("succeeded", None)
    ground.migration = "01890000-0000-7000-8000-000000000000"
    (ground.root / "crm" / "steps.py").write_text(PYTHON.replace("touched + 1", "touched + 10"))
    assert code(ground.attempt("fill")) == ("succeeded", None)
    assert touched(ground) == [(11, 10)]

"""Locks: nobody waits behind a step for longer than its step allows, and what is not to be had is asked for again."""

from __future__ import annotations

import threading
import time
from typing import Any

import psycopg
import pytest

from tests.integration.migration_steps.test_backfills import backfill, touched
from tests.integration.migration_steps.test_fences import wait_for
from tests.support.migrating import Ground, code
from workers.migrations import session

ADD = {"name": "add", "kind": "sql", "file": "add.sql", "revert": "nothing", "lock_timeout_s": 0.3}
FILES = {"add.sql": "ALTER TABLE customers ADD COLUMN region text"}


def test_a_change_waits_for_a_reader_and_lets_the_others_pass(ground: Ground) -> None:
    """A reader sits in its transaction. The change behind it must not become a wall for all who come after."""
    ground.tenant("acme", rows=10)
    ground.define(ADD, files=FILES)
    longest = 0.0
    waits: list[float] = []
    with psycopg.connect(ground.dsn) as sitting, psycopg.connect(ground.dsn, autocommit=True) as passing:
        sitting.execute("SELECT count(*) FROM tenant_acme.customers")
        result: list[Any] = []
        step = threading.Thread(target=lambda: result.append(ground.attempt("add")))
        step.start()
        wait_for(ground, "SELECT 1 FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND NOT granted")
        until = time.monotonic() + 2
        while time.monotonic() < until:
            began = time.monotonic()
            passing.execute("SELECT count(*) FROM tenant_acme.customers")
            passing.execute("UPDATE tenant_acme.customers SET country = 'DE' WHERE id = 1")
            waits.append(time.monotonic() - began)
        assert not result, "the change is still not to be had"
        longest = max(waits)
        sitting.rollback()
        step.join()
    assert code(result[0]) == ("succeeded", None)
    assert any(line.fields.get("sqlstate") == "55P03" for line in result[0].logs)
    assert longest > 0.1, "those who came while it waited did wait"
    assert longest < 2.0, "but never longer than its lock's time-out, and what a busy machine adds"


def test_a_lock_that_is_never_to_be_had_is_a_later_attempts_business(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "_LONGEST_PAUSE_S", 0.05)
    ground.tenant("acme")
    ground.define({**ADD, "lock_timeout_s": 0.05}, files=FILES)
    with psycopg.connect(ground.dsn) as sitting:
        sitting.execute("SELECT count(*) FROM tenant_acme.customers")
        result = ground.attempt("add")
    assert code(result) == ("retry", "sql_55p03")
    assert len([line for line in result.logs if line.fields.get("sqlstate") == "55P03"]) == session.TRIES - 1
    assert ground.ledger("add") is None


def test_a_batch_that_meets_a_locked_row_is_made_again(ground: Ground) -> None:
    backfill(ground, rows=100, size=50)
    step = {
        "name": "fill", "kind": "sql", "phase": "backfill", "file": "fill.sql", "lock_timeout_s": 0.1,
        "batch": {"table": "customers", "key": "id", "size": 50, "rest": 0},
    }  # fmt: skip
    ground.define(step, files={})
    result: list[Any] = []
    with psycopg.connect(ground.dsn) as holding:
        # The lock of a row, without the table's that a writer has: for that one the batches wait before they begin.
        holding.execute("SELECT FROM tenant_acme.customers WHERE id = 70 FOR UPDATE")
        fill = threading.Thread(target=lambda: result.append(ground.attempt("fill")))
        fill.start()
        wait_for(ground, "SELECT 1 FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'")
        assert ground.ledger("fill") == ("running", 50), "what was before it is done"
        wait_for(ground, "SELECT 1 WHERE NOT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")  # it gave its place up
        holding.rollback()
        fill.join()
    assert code(result[0]) == ("succeeded", None)
    assert any(line.fields.get("sqlstate") == "55P03" for line in result[0].logs)
    assert touched(ground) == [(1, 100)]


def test_nothing_is_held_between_batches(ground: Ground) -> None:
    """A writer that comes while a backfill rests waits for nobody."""
    backfill(ground, rows=300, size=100, rest=0)
    seen: list[list[tuple[Any, ...]]] = []

    def look() -> None:
        with psycopg.connect(ground.dsn, autocommit=True) as other:
            seen.append(
                other.execute(
                    "SELECT mode FROM pg_locks WHERE relation = 'tenant_acme.customers'::regclass AND pid <> %s",
                    [other.info.backend_pid],
                ).fetchall()
            )

    def between(*_: Any) -> None:
        look()

    original = session.pause
    try:
        session.pause = between  # type: ignore[assignment]  # a window for the test to look through
        assert code(ground.attempt("fill")) == ("succeeded", None)
    finally:
        session.pause = original
    assert len(seen) >= 2
    assert [each for each in seen if each] == []

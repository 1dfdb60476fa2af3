"""Who may change a target: the newest attempt, and nobody who was given up and does not know it."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from tests.integration.migration_steps.test_backfills import backfill, touched
from tests.support import client
from tests.support.migrating import Ground, code, words
from workers.migrations import ledger as ledgers
from workers.migrations.ledger import FencedOffError, Ledger, State, token

ADD = {"name": "add", "kind": "sql", "file": "add.sql", "revert": "drop.sql"}
FILES = {
    "add.sql": "INSERT INTO customers (name, country) VALUES ('added', 'AT')",
    "drop.sql": "DELETE FROM customers WHERE name = 'added'",
}


def rows(ground: Ground) -> int:
    return int(ground.one("SELECT count(*) FROM tenant_acme.customers"))


def test_an_older_attempt_changes_nothing(ground: Ground) -> None:
    ground.tenant("acme")
    ground.define(ADD, files=FILES)
    assert code(ground.attempt("add", run=2, fence=2)) == ("succeeded", None)
    for run, fence in ((2, 1), (1, 9)):
        assert code(ground.attempt("add", run=run, fence=fence)) == ("failed", "fenced_off")
        assert code(ground.attempt("add", "down", run=run, fence=fence, sets_version="0")) == ("failed", "fenced_off")
    assert (rows(ground), ground.ledger("add")) == (1, ("applied", 0))
    assert ground.one("SELECT version FROM tenant_acme.ops_schema_version") == "1.4"


def test_tokens_grow_by_runs_and_then_by_fences() -> None:
    assert token(run=1, fence=2) > token(run=1, fence=1) > token(run=0, fence=2**31)


def test_every_write_of_the_ledger_looks_at_the_token(ground: Ground) -> None:
    """Whoever had claimed before, and slept: the row is another's since."""
    ground.tenant("acme")
    old, new = (
        Ledger(schema="tenant_acme", migration=ground.migration, step="x", checksum="c", token=each) for each in (1, 2)
    )
    old.lay(ground.connection)
    old.claim(ground.connection)
    new.claim(ground.connection)
    with pytest.raises(FencedOffError):
        old.note(ground.connection, State.APPLIED)
    with pytest.raises(FencedOffError):
        old.claim(ground.connection)


def test_one_that_wakes_up_after_its_successor_is_fenced_off(ground: Ground) -> None:
    """Stopped in the middle of its batches, given up, overtaken, woken."""
    backfill(ground, rows=2000, size=10, rest=5)
    old = ground.start("fill")
    said = words(old)
    while next(said)["done"] < 30:
        pass
    os.kill(old.pid, signal.SIGSTOP)
    try:
        before = touched(ground)
        assert code(ground.attempt("fill", fence=2)) == ("succeeded", None)
    finally:
        os.kill(old.pid, signal.SIGCONT)
    assert before != [(0, 2000)]
    ended = [word for word in said if "outcome" in word]
    assert [word["outcome"] for word in ended] != ["succeeded"]
    assert touched(ground) == [(1, 2000)]
    assert ground.ledger("fill") == ("applied", 2000)


def test_one_whose_session_is_alive_ends_when_its_successor_comes(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are at work at once: the older one is in the middle of a statement, which is undone as a whole."""
    ground.tenant("acme")
    monkeypatch.setattr(ledgers, "_GRACE_S", 0.2)
    slow = "INSERT INTO customers (name, country) VALUES ('added', 'AT'); SELECT pg_sleep(:s)"
    ground.define({**ADD, "statement_timeout_s": 100}, files={**FILES, "add.sql": slow.replace(":s", "60")})
    old = ground.start("add")
    wait_for(ground, "SELECT 1 FROM pg_stat_activity WHERE query LIKE '%%pg_sleep(60)' AND state = 'active'")
    began = time.monotonic()
    assert code(ground.attempt("add", "down", run=2)) == ("succeeded", None)
    assert time.monotonic() - began < 30
    assert [word["code"] for word in words(old)] == ["sql_57p01"]
    assert (rows(ground), ground.ledger("add")) == (0, ("reverted", 0))


def test_an_older_one_that_comes_while_a_newer_is_at_work_leaves_at_once(ground: Ground) -> None:
    ground.tenant("acme")
    ground.define(
        {**ADD, "statement_timeout_s": 100}, files={**FILES, "add.sql": FILES["add.sql"] + "; SELECT pg_sleep(3)"}
    )
    new = ground.start("add", fence=2)
    wait_for(ground, "SELECT 1 FROM pg_stat_activity WHERE query LIKE '%%pg_sleep(3)' AND state = 'active'")
    assert code(ground.attempt("add", fence=1)) == ("failed", "fenced_off")
    assert [word["outcome"] for word in words(new)] == ["succeeded"]
    assert rows(ground) == 1


def test_many_at_once_do_it_once(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledgers, "_GRACE_S", 0.1)
    backfill(ground, rows=3000, size=50)
    with ThreadPoolExecutor(4) as pool:
        ended = [code(each) for each in pool.map(lambda fence: ground.attempt("fill", fence=fence), (3, 1, 4, 2))]
    assert ended[2] == ("succeeded", None), "the newest wins"
    assert {each for each in ended if each[0] == "failed"} <= {("failed", "fenced_off")}
    assert touched(ground) == [(1, 3000)]


def test_two_migrations_of_a_target_do_not_meet_in_the_ledger(ground: Ground) -> None:
    ground.tenant("acme")
    ground.define(ADD, files=FILES)
    assert code(ground.attempt("add", run=9)) == ("succeeded", None)
    ground.migration = "01890000-0000-7000-8000-000000000000"
    assert code(ground.attempt("add", run=1)) == ("succeeded", None)
    assert rows(ground) == 2


def wait_for(ground: Ground, query: str, *values: Any, within_s: float = 60) -> None:
    """Wait until a query has an answer."""
    with psycopg.connect(ground.dsn, autocommit=True) as looking:
        client.wait_for(lambda: looking.execute(query.encode(), values).fetchall(), what=query, within_s=within_s)

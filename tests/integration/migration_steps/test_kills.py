"""kill -9 at any instant: the next attempt goes on exactly where the target's own ledger stands."""

from __future__ import annotations

import threading

import psycopg
import pytest

from apps.jobs.outcome import StopReason
from tests.integration.migration_steps.test_backfills import PYTHON, TOUCH, backfill, touched
from tests.integration.migration_steps.test_fences import wait_for
from tests.support.migrating import Ground, code, words

AT_WORK = "SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid()"
SLEEPING = f"{AT_WORK} AND query LIKE '%%pg_sleep(60)%%'"


def killed(ground: Ground, step: str, *, when: str, run: int = 1, direction: str = "up") -> None:
    """Begin an attempt in a process of its own, and kill it when a query has an answer."""
    process = ground.start(step, direction, run=run)
    wait_for(ground, when)
    process.kill()
    process.wait()


def test_between_the_change_and_its_commit(ground: Ground) -> None:
    ground.tenant("acme", rows=1)
    once = "ALTER TABLE customers ADD COLUMN region text; UPDATE customers SET name = name || '!'"
    step = {"name": "add", "kind": "sql", "file": "add.sql", "statement_timeout_s": 100}
    ground.define(step, files={"add.sql": f"{once}; SELECT pg_sleep(60)"})
    killed(ground, "add", when=SLEEPING)
    # Its session is gone with it, and its locks: long before the statement would have ended.
    wait_for(ground, f"SELECT 1 WHERE NOT EXISTS ({SLEEPING})", within_s=20)
    assert ground.one("SELECT name FROM tenant_acme.customers") == "n1"
    assert ground.ledger("add") is None
    ground.define(step, files={"add.sql": f"{once}; SELECT pg_sleep(0)"})
    assert code(ground.attempt("add", fence=2)) == ("succeeded", None)
    assert ground.one("SELECT name FROM tenant_acme.customers") == "n1!"


def test_between_the_commit_and_the_word_that_it_is_done(ground: Ground) -> None:
    """The plane never hears of it, and asks for the step again."""
    ground.tenant("acme", rows=1)
    ground.define(
        {"name": "add", "kind": "sql", "file": "add.sql"}, files={"add.sql": "UPDATE customers SET name = name || '!'"}
    )
    killed(ground, "add", when="SELECT 1 FROM tenant_acme.customers WHERE name = 'n1!'")
    assert code(ground.attempt("add", fence=2)) == ("succeeded", None)
    assert ground.one("SELECT name FROM tenant_acme.customers") == "n1!"


def test_inside_a_batch(ground: Ground) -> None:
    slow = TOUCH + " AND (id <> 250 OR pg_sleep(60) IS NOT NULL)"
    backfill(ground, slow, rows=1000)
    step = {
        "name": "fill", "kind": "sql", "phase": "backfill", "file": "fill.sql", "statement_timeout_s": 100,
        "batch": {"table": "customers", "key": "id", "size": 100, "rest": 0},
    }  # fmt: skip
    ground.define(step, files={})
    killed(ground, "fill", when=SLEEPING)
    done = ground.ledger("fill")
    assert done[0] == "running"
    assert touched(ground) == [(0, 1000 - done[1]), (1, done[1])], "the ledger knows what is there"
    assert 0 < done[1] < 250
    checksum = ground.one("SELECT checksum FROM tenant_acme.ops_migration_ledger")
    quick = ground.define(step, files={"fill.sql": slow.replace("60", "0")}).step("fill").checksum
    ground.run(f"UPDATE tenant_acme.ops_migration_ledger SET checksum = '{quick}' WHERE checksum = '{checksum}'")
    assert code(ground.attempt("fill", fence=2)) == ("succeeded", None)
    assert touched(ground) == [(1, 1000)]


@pytest.mark.parametrize("kind", ["sql", "python"])
def test_between_batches_again_and_again(ground: Ground, kind: str) -> None:
    backfill(ground, rows=1500, size=100, rest=30)
    if kind == "python":
        step = {"name": "fill", "kind": "python", "phase": "backfill", "function": "steps:touch"}
        ground.define({**step, "batch": {"size": 100, "rest": 30}}, files={"steps.py": PYTHON})
    for fence in (1, 2, 3):
        process = ground.start("fill", fence=fence)
        said = words(process)
        begun = next(said)["done"]
        while next(said)["done"] < begun + 100:
            pass
        process.kill()
        process.wait()
        assert touched(ground)[-1] == (1, ground.ledger("fill")[1])
    assert ground.ledger("fill")[1] >= 300
    assert code(ground.attempt("fill", fence=4)) == ("succeeded", None)
    assert touched(ground) == [(1, 1500)]


def test_inside_an_index_that_is_made_concurrently(ground: Ground) -> None:
    """It leaves an index that costs every write and serves no read: the next attempt takes it away first."""
    ground.tenant("acme", rows=100)
    step = {
        "name": "index", "kind": "sql", "file": "index.sql", "revert": "drop.sql", "transaction": False,
        "statement_timeout_s": 100,
    }  # fmt: skip
    ground.define(
        step,
        files={
            "index.sql": "-- Found by country.\nCREATE INDEX CONCURRENTLY IF NOT EXISTS customers_country"
            " ON customers (country);\nCOMMENT ON INDEX customers_country IS 'made';",
            "drop.sql": "DROP INDEX CONCURRENTLY IF EXISTS customers_country",
        },
    )
    broken = "SELECT 1 FROM pg_index WHERE indexrelid = to_regclass('tenant_acme.customers_country') AND NOT indisvalid"
    with psycopg.connect(ground.dsn) as writing:
        writing.execute("UPDATE tenant_acme.customers SET country = 'DE' WHERE id = 1")
        killed(ground, "index", when=broken)
        assert ground.ledger("index") == ("running", 0)
        again = threading.Timer(1.0, writing.commit)
        again.start()
        assert code(ground.attempt("index", fence=2)) == ("succeeded", None)
        again.join()
    assert ground.ask(broken) == []
    assert ground.one("SELECT obj_description('tenant_acme.customers_country'::regclass)") == "made"
    assert code(ground.attempt("index", fence=3)) == ("succeeded", None)
    assert code(ground.attempt("index", "down", run=2)) == ("succeeded", None)
    assert ground.one("SELECT to_regclass('tenant_acme.customers_country')") is None


def test_an_index_that_was_finished_is_not_made_again(ground: Ground) -> None:
    """Killed after the statement and before the ledger's word of it; without IF NOT EXISTS."""
    ground.tenant("acme", rows=100)
    text = "CREATE INDEX CONCURRENTLY customers_country ON customers (country); SELECT pg_sleep(60)"
    step = {"name": "index", "kind": "sql", "file": "index.sql", "transaction": False, "statement_timeout_s": 100}
    ground.define(step, files={"index.sql": text})
    killed(ground, "index", when=SLEEPING)
    made = ground.one("SELECT to_regclass('tenant_acme.customers_country')::oid")
    ground.run("UPDATE tenant_acme.ops_migration_ledger SET cursor = 'up 0 good', done = 0")
    process = ground.start("index", fence=2)
    wait_for(ground, SLEEPING)
    process.kill()
    process.wait()
    assert ground.one("SELECT to_regclass('tenant_acme.customers_country')::oid") == made


def test_an_index_that_was_there_before_is_not_taken_for_its_own(ground: Ground) -> None:
    ground.tenant("acme", rows=10)
    ground.run("CREATE INDEX customers_country ON tenant_acme.customers (name)")
    step = {"name": "index", "kind": "sql", "file": "index.sql", "transaction": False}
    ground.define(step, files={"index.sql": "CREATE INDEX CONCURRENTLY customers_country ON customers (country)"})
    for fence in (1, 2):
        assert code(ground.attempt("index", fence=fence)) == ("failed", "sql_42p07")
    ground.run("DROP INDEX tenant_acme.customers_country")
    assert code(ground.attempt("index", fence=3)) == ("succeeded", None)


def test_an_index_that_nobody_waits_for_any_more_leaves_nothing(ground: Ground) -> None:
    ground.tenant("acme", rows=10)
    step = {"name": "index", "kind": "sql", "file": "index.sql", "transaction": False, "statement_timeout_s": 100}
    ground.define(step, files={"index.sql": "CREATE INDEX CONCURRENTLY customers_country ON customers (country)"})
    there = "SELECT to_regclass('tenant_acme.customers_country')"
    with psycopg.connect(ground.dsn) as writing:
        writing.execute("UPDATE tenant_acme.customers SET country = 'DE' WHERE id = 1")

        def stop() -> StopReason | None:
            if ground.one(there) is None:
                return None
            writing.commit()
            return StopReason.CANCELLED

        assert code(ground.attempt("index", should_stop=stop)) in {("cancelled", "cancelled"), ("succeeded", None)}
    assert ground.ask(f"{there} WHERE EXISTS (SELECT FROM pg_index WHERE NOT indisvalid)") == []


def test_an_index_that_cannot_be_made_leaves_nothing(ground: Ground) -> None:
    ground.tenant("acme", rows=10)
    step = {"name": "index", "kind": "sql", "file": "index.sql", "transaction": False}
    ground.define(
        step, files={"index.sql": "CREATE UNIQUE INDEX CONCURRENTLY customers_country ON customers (country)"}
    )
    assert code(ground.attempt("index")) == ("failed", "sql_23505")
    assert ground.one("SELECT to_regclass('tenant_acme.customers_country')") is None

"""A definition tried on a copy: what it locks, rewrites and takes, whether it comes back, what it must not touch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import psycopg
import pytest

from apps.migrations.definition import Definition
from tests.support.migrating import Ground
from workers.migrations import rehearsal, target
from workers.migrations.observer import Lock
from workers.migrations.rehearsal import Rehearsal, Trouble

Session = psycopg.Connection[Any]
SIZES = (100, 300)


def rehearse(ground: Ground, definition: Definition, **more: Any) -> Rehearsal:
    def connect() -> AbstractContextManager[Session]:
        return target.connect(definition, account="platform", tenant_id="acme", target="acme")

    found = rehearsal.rehearse(definition, connect=connect, schema="tenant_acme", **{"sizes": SIZES, **more})
    assert ground.ask("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'ops_rehearsal%%'") == []
    return found


def locks(found: Rehearsal, step: str, direction: str = "up") -> dict[str, Lock]:
    return {
        lock.relation: lock
        for each in found.timed
        if (each.name, each.direction) == (step, direction)
        for lock in each.locks
    }


@contextmanager
def unchanged(ground: Ground) -> Iterator[None]:
    """Hold that nothing of the original changes: no row, no file, no definition, no sequence."""
    asked = (
        "SELECT md5(string_agg(xmin::text || ctid::text || c::text, ',' ORDER BY id)) FROM tenant_acme.customers AS c",
        "SELECT array_agg((relname, relfilenode, xmin)::text ORDER BY oid) FROM pg_class"
        " WHERE relnamespace = 'tenant_acme'::regnamespace",
        "SELECT array_agg((attname, xmin)::text ORDER BY attnum) FROM pg_attribute"
        " WHERE attrelid = 'tenant_acme.customers'::regclass",
        "SELECT last_value FROM tenant_acme.customers_id_seq",
        "SELECT version FROM tenant_acme.ops_schema_version",
    )
    before = [ground.ask(query) for query in asked]
    yield
    assert [ground.ask(query) for query in asked] == before


def step(name: str, revert: str = "nothing", **more: Any) -> dict[str, Any]:
    return {"name": name, "kind": "sql", "file": f"{name}.sql", "revert": revert, **more}


FILL = step("fill", phase="backfill", batch={"table": "customers", "key": "id", "size": 50, "rest": 0})


def test_a_rewrite_and_its_lock_are_foreseen_and_a_mere_addition_is_told_from_it(ground: Ground) -> None:
    ground.tenant("acme", rows=1000)
    definition = ground.define(
        step("widen", revert="narrow.sql"),
        step("add", revert="drop.sql"),
        FILL,
        step("check", phase="verify"),
        files={
            "widen.sql": "ALTER TABLE customers ALTER COLUMN name TYPE varchar(80) USING upper(name)",
            "narrow.sql": "ALTER TABLE customers ALTER COLUMN name TYPE text",
            "add.sql": "ALTER TABLE customers ADD COLUMN region text; CREATE TABLE regions (code text)",
            "drop.sql": "ALTER TABLE customers DROP COLUMN region; DROP TABLE regions",
            "fill.sql": "UPDATE customers SET region = 'x' WHERE id > %(after)s AND id <= %(upto)s",
            "check.sql": "SELECT NOT EXISTS (SELECT FROM customers WHERE region IS NULL)",
        },
    )
    with unchanged(ground):
        found = rehearse(ground, definition)
    assert (found.trouble, found.came_back, found.not_cloned) == (None, True, [])
    widen, add, fill = locks(found, "widen"), locks(found, "add"), locks(found, "fill")
    assert set(widen) == set(add) == set(fill) == {"customers"}, "what a step makes itself is nobody's yet"
    assert (widen["customers"].mode, widen["customers"].rewrites) == ("AccessExclusiveLock", True)
    assert (add["customers"].mode, add["customers"].rewrites) == ("AccessExclusiveLock", False)
    assert (fill["customers"].mode, fill["customers"].rewrites) == ("RowExclusiveLock", False)
    assert widen["customers"].blocking
    assert not fill["customers"].blocking
    assert widen["customers"].held_ms > 0
    assert locks(found, "check") == {}
    ways = [each.direction for each in found.timed if each.name == "widen"]
    assert ways == ["up", "down", "up"] * len(SIZES)
    assert [each.rows for each in found.timed if each.name == "fill" and each.direction == "up"] == [100, 100, 300, 300]
    assert [each.over for each in found.timed if each.name == "widen"] == [100] * 3 + [300] * 3
    assert found.rows["customers"] in range(600, 1500), "by its size, for it was never analysed"


def test_the_longest_transaction_is_what_a_lock_is_held(ground: Ground) -> None:
    ground.tenant("acme", rows=10)
    definition = ground.define(
        step("slow"), files={"slow.sql": "ALTER TABLE customers ADD COLUMN a text; SELECT pg_sleep(0.2)"}
    )
    found = rehearse(ground, definition)
    assert locks(found, "slow")["customers"].held_ms >= 200
    assert found.timed[0].seconds >= 0.2


def test_what_does_not_come_back_is_named(ground: Ground) -> None:
    ground.tenant("acme", rows=10)
    definition = ground.define(
        step("add", revert="drop.sql"),
        files={
            "add.sql": "ALTER TABLE customers ADD COLUMN region text; CREATE INDEX by_name ON customers (name)",
            "drop.sql": "ALTER TABLE customers DROP COLUMN region",
        },
    )
    found = rehearse(ground, definition)
    assert found.came_back is False
    assert found.trouble == Trouble(code="did_not_come_back", differs=["index by_name"])


def test_contract_goes_up_once_there_is_no_more_going_down(ground: Ground) -> None:
    ground.tenant("acme", rows=10)
    contract = {"name": "drop", "kind": "sql", "phase": "contract", "file": "drop.sql", "revert": None}
    definition = ground.define(
        step("add", revert="back.sql"),
        {name: value for name, value in contract.items() if value is not None} | {"revert": "nothing"},
        files={
            "add.sql": "ALTER TABLE customers ADD COLUMN region text",
            "back.sql": "ALTER TABLE customers DROP COLUMN region",
            "drop.sql": "ALTER TABLE customers DROP COLUMN country",
        },
    )
    found = rehearse(ground, definition, sizes=(10,))
    assert (found.trouble, found.came_back) == (None, True)
    assert [(each.name, each.direction) for each in found.timed] == [
        ("add", "up"), ("add", "down"), ("add", "up"), ("drop", "up"),
    ]  # fmt: skip


def test_a_step_that_fails_is_named_with_the_servers_code(ground: Ground) -> None:
    ground.tenant("acme", rows=10)
    definition = ground.define(
        step("one", revert="back.sql"),
        step("two"),
        files={
            "one.sql": "ALTER TABLE customers ADD COLUMN region text NOT NULL DEFAULT ''",
            "back.sql": "ALTER TABLE customers DROP COLUMN region",
            "two.sql": "INSERT INTO nowhere VALUES (1)",
        },
    )
    found = rehearse(ground, definition)
    assert found.trouble == Trouble(code="sql_42p01", step="two", direction="up")
    assert found.came_back is None


def test_a_question_that_some_rows_answer_by_no_is_told_and_does_not_end_the_rehearsal(ground: Ground) -> None:
    ground.tenant("acme", rows=400)
    definition = ground.define(
        step("add", revert="drop.sql"),
        step("check", phase="verify"),
        files={
            "add.sql": "ALTER TABLE customers ADD COLUMN region text",
            "drop.sql": "ALTER TABLE customers DROP COLUMN region",
            "check.sql": "SELECT count(*) = 400 FROM customers",
        },
    )
    found = rehearse(ground, definition)
    assert (found.trouble, found.came_back) == (Trouble(code="verify_failed", step="check", direction="up"), True)
    assert {each.size for each in found.timed if each.name == "add"} == set(SIZES)


@pytest.mark.parametrize(
    ("text", "trouble"),
    [
        ("UPDATE tenant_acme.customers SET name = 'x'", "names_its_schema"),
        ("UPDATE \"tenant_acme\" . customers SET name = 'x'", "names_its_schema"),
        ("DO $$ BEGIN EXECUTE 'UPDATE tenant_ac' || 'me.customers SET name = 1'; END $$", "reaches_outside"),
        ("DO $$ BEGIN EXECUTE 'LOCK TABLE tenant_ac' || 'me.customers IN SHARE MODE'; END $$", "reaches_outside"),
    ],
)
def test_a_step_that_reaches_the_original_changes_nothing_of_it(ground: Ground, text: str, trouble: str) -> None:
    ground.tenant("acme", rows=50)
    definition = ground.define(step("reach"), files={"reach.sql": text})
    with unchanged(ground):
        found = rehearse(ground, definition)
    assert found.trouble is not None
    assert (found.trouble.code, found.trouble.step) == (trouble, "reach")


def test_outside_a_transaction_locks_are_seen_too(ground: Ground) -> None:
    ground.tenant("acme", rows=20_000)
    definition = ground.define(
        step("index", revert="drop.sql", transaction=False),
        files={
            "index.sql": "CREATE INDEX CONCURRENTLY by_name ON customers (md5(repeat(name, 200)))",
            "drop.sql": "DROP INDEX CONCURRENTLY by_name",
        },
    )
    found = rehearse(ground, definition, sizes=(20_000,))
    assert found.trouble is None
    assert locks(found, "index")["customers"].mode == "ShareUpdateExclusiveLock"
    assert not locks(found, "index")["customers"].blocking


def test_python_steps_are_tried_and_what_they_raise_stays_behind(ground: Ground) -> None:
    ground.tenant("acme", rows=30)
    definition = ground.define(
        {"name": "score", "kind": "python", "phase": "backfill", "function": "steps:score", "revert": "nothing",
         "batch": {"size": 10}},
        {"name": "broken", "kind": "python", "phase": "backfill", "function": "steps:broken", "revert": "nothing"},
        files={"steps.py": PYTHON},
    )  # fmt: skip
    found = rehearse(ground, definition, sizes=(30,))
    assert found.timed[0].rows == 30
    assert found.trouble == Trouble(code="step_raised", step="broken", direction="up")
    assert "name of a customer" not in repr(found)


PYTHON = """
def score(connection, *, after, limit):
    rows = connection.execute(
        "UPDATE customers SET name = name || '!' WHERE id IN"
        " (SELECT id FROM customers WHERE id > %s ORDER BY id LIMIT %s) RETURNING id", [after or 0, limit]
    ).fetchall()
    return (max(id for id, in rows) if rows else None), len(rows)


def broken(connection):
    raise ValueError("name of a customer")
"""


def test_what_no_copy_can_show_is_said(ground: Ground) -> None:
    ground.tenant("acme", rows=30)
    definition = ground.define(
        step("one"),
        {"name": "refresh", "kind": "job", "phase": "verify", "type": "kpi.refresh", "params": {}, "revert": "nothing"},
        files={"one.sql": "SELECT 1"},
    )
    found = rehearse(ground, definition, sizes=(30,))
    assert (found.skipped, found.trouble) == (["refresh: job"], None)


def test_no_rehearsal_takes_for_ever(ground: Ground) -> None:
    ground.tenant("acme", rows=10)
    definition = ground.define(step("slow"), files={"slow.sql": "SELECT pg_sleep(25)"})
    found = rehearse(ground, definition, longest_s=0.5)
    assert found.trouble == Trouble(code="took_too_long", step="slow", direction="up")


def test_who_may_not_make_schemas_gets_no_rehearsal(ground: Ground, superuser: Session) -> None:
    ground.tenant("acme", rows=10)
    definition = ground.define(step("one"), files={"one.sql": "SELECT 1"})
    with psycopg.connect(ground.dsn, autocommit=True) as session:
        name, owner = session.info.dbname, session.info.user
    superuser.execute(f"ALTER DATABASE {name} OWNER TO postgres".encode())
    try:
        assert rehearse(ground, definition).trouble == Trouble(code="may_not_make_schemas")
    finally:
        superuser.execute(f"ALTER DATABASE {name} OWNER TO {owner}".encode())


def test_readers_and_writers_of_the_original_never_wait_for_it(ground: Ground) -> None:
    """EXCLUSIVE stands in the way of every lock but ACCESS SHARE: a rehearsal that gets by takes nothing more."""
    ground.tenant("acme", rows=100)
    definition = ground.define(
        step("add", revert="drop.sql"),
        FILL,
        files={
            "add.sql": "ALTER TABLE customers ADD COLUMN region text",
            "drop.sql": "ALTER TABLE customers DROP COLUMN region",
            "fill.sql": "UPDATE customers SET region = 'x' WHERE id > %(after)s AND id <= %(upto)s",
        },
    )
    with psycopg.connect(ground.dsn) as other:
        other.execute("LOCK TABLE tenant_acme.customers IN EXCLUSIVE MODE")
        found = rehearse(ground, definition)
    assert (found.trouble, found.came_back) == (None, True)

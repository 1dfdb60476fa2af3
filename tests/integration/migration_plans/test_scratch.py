"""Scratch schemas come and go: with their session, or by whoever plans next."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import psycopg
import pytest

from tests.support.client import wait_for
from workers.migrations import scratch

Session = psycopg.Connection[Any]
# A planner that makes a schema, says so, and is then never heard of again.
PLANNER = """
import sys, time, psycopg
from workers.migrations import scratch
with psycopg.connect(sys.argv[1], autocommit=True) as session, scratch.schema(session) as name:
    session.execute(f"CREATE TABLE {name}.left_behind ()".encode())
    print(name, flush=True)
    time.sleep(600)
"""


def schemas(session: Session) -> list[str]:
    rows = session.execute("SELECT nspname FROM pg_namespace WHERE starts_with(nspname, 'ops_rehearsal_')").fetchall()
    return [name for (name,) in rows]


def test_a_schema_goes_with_all_that_is_in_it(shopkeeper: Session) -> None:
    with scratch.schema(shopkeeper) as name:
        shopkeeper.execute(f"CREATE TABLE {name}.here ()".encode())
        assert schemas(shopkeeper) == [name]
    assert schemas(shopkeeper) == []


@pytest.mark.parametrize("query", ["SELECT 1 / 0", "SELECT pg_sleep(10)"])
def test_a_schema_goes_whatever_happened_in_it(shopkeeper: Session, query: str) -> None:
    shopkeeper.execute("SET statement_timeout = 100")
    with pytest.raises((psycopg.errors.DivisionByZero, psycopg.errors.QueryCanceled)):
        break_in_it(shopkeeper, query)
    assert schemas(shopkeeper) == []


def break_in_it(session: Session, query: str) -> None:
    with scratch.schema(session) as name:
        session.execute("BEGIN")
        session.execute(f"CREATE TABLE {name}.here ()".encode())
        session.execute(query.encode())


def test_what_a_killed_planner_left_is_swept_and_what_a_living_one_has_is_not(
    shopkeeper: Session, shop_dsn: str
) -> None:
    process = subprocess.Popen([sys.executable, "-c", PLANNER, shop_dsn], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        name = process.stdout.readline().strip()
        assert schemas(shopkeeper) == [name]
        assert scratch.sweep(shopkeeper, older_than_s=0) == [], "its planner is at it"
    finally:
        process.kill()
        process.communicate()
    assert scratch.sweep(shopkeeper) == [], "nobody is at it, but it is young"
    swept = wait_for(
        lambda: scratch.sweep(shopkeeper, older_than_s=0), what="the server noticed that its client is gone"
    )
    assert swept == [name]
    assert schemas(shopkeeper) == []


def test_only_what_rehearsals_made_is_swept(shopkeeper: Session) -> None:
    shopkeeper.execute("CREATE SCHEMA ops_rehearsal_deadbeef; CREATE SCHEMA ops_rehearsal_mine")
    shopkeeper.execute("COMMENT ON SCHEMA ops_rehearsal_mine IS 'operations rehearsal, begun at 2026-01-01'")
    assert scratch.sweep(shopkeeper, older_than_s=0) == []
    shopkeeper.execute("COMMENT ON SCHEMA ops_rehearsal_deadbeef IS 'operations rehearsal, begun at 2026-01-01'")
    assert scratch.sweep(shopkeeper) == ["ops_rehearsal_deadbeef"]

"""A schema copied beside itself: the same shape, some of its rows, and nothing that leads back or stands in the way."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import sql

from tests.support.rich_schema import OF
from workers.migrations import blueprint, clone, digest, scratch
from workers.migrations.clone import Clone

Session = psycopg.Connection[Any]


@pytest.fixture
def other(shop_dsn: str) -> Iterator[Session]:
    """A second session of the shopkeeper's."""
    with psycopg.connect(shop_dsn, autocommit=True) as session:
        yield session


def pieces(session: Session, schema: str) -> dict[str, str]:
    """Return a schema as PostgreSQL itself would write it, without where its sequences stand."""
    found = blueprint.read(session, schema=schema).pieces
    return {each.name: each.statement for each in found if not each.name.startswith("value of")}


def ask(session: Session, query: str, **schemas: str) -> list[tuple[Any, ...]]:
    named = {name: sql.Identifier(schema) for name, schema in schemas.items()}
    return session.execute(sql.SQL(query).format(**named)).fetchall()


def contents(session: Session, schema: str) -> dict[str, str]:
    """Return a digest of each table's rows, with the transactions that wrote them and where they lie."""
    tables = ask(
        session, "SELECT relname FROM pg_class WHERE relnamespace = '{of}'::regnamespace AND relkind = 'r'", of=schema
    )
    return {
        table: hashlib.sha256(
            repr(
                ask(session, "SELECT xmin::text, ctid::text, t::text FROM {of}.{table} AS t", of=schema, table=table)
            ).encode()
        ).hexdigest()
        for (table,) in tables
    }


def copied(session: Session, into: str, *, rows: int = 1000) -> Clone:
    return clone.make(session, of=OF, into=into, rows=rows)


def test_the_copy_has_the_whole_shape(shopkeeper: Session) -> None:
    with scratch.schema(shopkeeper) as into:
        assert copied(shopkeeper, into).not_cloned == []
        original, copy = pieces(shopkeeper, OF), pieces(shopkeeper, into)
        assert len(original) > 40
        assert copy == original


def test_whoever_compares_schemas_sees_no_difference(shopkeeper: Session) -> None:
    """By the digest that drift and reverts are judged by, which is not what the copy was made of."""
    with scratch.schema(shopkeeper) as into:
        copied(shopkeeper, into)
        found = []
        for schema in (OF, into):
            shopkeeper.execute(sql.SQL("SET search_path TO {}").format(sql.Identifier(schema)))
            found.append(digest.objects(shopkeeper, schema=schema))
    original, copy = found
    assert len(original) > 50
    assert {name for name in {*original, *copy} if original.get(name) != copy.get(name)} == set()


def test_the_copy_has_some_rows_and_what_they_refer_to(shopkeeper: Session) -> None:
    with scratch.schema(shopkeeper) as into:
        made = copied(shopkeeper, into, rows=200)
        assert made.rows["regions"] == 50
        assert 200 <= made.rows["customers"] <= 600
        assert 100 <= made.rows["orders"] <= 600, "orders refer to customers anywhere, and those came along"
        assert (made.rows["marked"], made.rows["marks"]) == (10, 3), "a reference by a type of the schema's own"
        assert {table.name: table.rows for table in made.tables if table.rows is not None} == {}, "never analysed"
        assert ask(shopkeeper, "SELECT version FROM {into}.ops_schema_version", into=into) == [("1.4",)]
        strange = "SELECT count(*) FROM {into}.customers WHERE loud <> upper(name) OR felt::text <> '{{ok,sad}}'"
        assert ask(shopkeeper, strange, into=into) == [(0,)]
        changes = "SELECT count(*) FROM {into}.customers WHERE changes IS NOT NULL"
        assert ask(shopkeeper, changes, into=into) == [(0,)], "no trigger fired for a copied row"


def test_a_row_that_refers_to_what_did_not_come_along_is_left_out(shopkeeper: Session) -> None:
    shopkeeper.execute(
        f"CREATE TABLE {OF}.links (id integer PRIMARY KEY, next integer REFERENCES {OF}.links);"
        f"INSERT INTO {OF}.links SELECT n, nullif(n % 100 + 1, 1) FROM generate_series(1, 100) AS n".encode()
    )
    with scratch.schema(shopkeeper) as into:
        made = copied(shopkeeper, into, rows=10)
        assert made.not_cloned == [], "its foreign key is there, and holds"
        assert made.rows["links"] == 0, "each of the first refers to a next one, and the last of them to nothing"


def test_what_happens_in_the_copy_does_not_reach_the_original(shopkeeper: Session) -> None:
    before, standing = contents(shopkeeper, OF), pieces_of_sequences(shopkeeper)
    with scratch.schema(shopkeeper) as into:
        copied(shopkeeper, into)
        insert = "INSERT INTO {into}.customers (region, name, credit) VALUES ('r1', 'new', 1) RETURNING id, number"
        ((number, counted),) = ask(shopkeeper, insert, into=into)
        assert (number, counted) > (3000, 100), "sequences go on where the original's stand"
        ask(shopkeeper, "DELETE FROM {into}.orders RETURNING id", into=into)
        ask(shopkeeper, "UPDATE {into}.customers SET name = name || '!' RETURNING id", into=into)
        shopkeeper.execute(sql.SQL("CALL {}.tidy()").format(sql.Identifier(into)))
        leading_back = shopkeeper.execute(
            "SELECT pg_describe_object(classid, objid, objsubid) FROM pg_depend WHERE pg_describe_object(refclassid,"
            " refobjid, refobjsubid) LIKE %s AND pg_describe_object(classid, objid, objsubid) LIKE %s",
            [f"%{OF}%", f"%{into}%"],
        ).fetchall()
        assert leading_back == []
    assert contents(shopkeeper, OF) == before
    assert pieces_of_sequences(shopkeeper) == standing


def pieces_of_sequences(session: Session) -> list[str]:
    found = blueprint.read(session, schema=OF).pieces
    return [each.statement for each in found if each.name.startswith("value of")]


def test_copying_needs_no_lock_that_anybody_who_reads_does_not_need(shopkeeper: Session, other: Session) -> None:
    """EXCLUSIVE stands in the way of every lock but ACCESS SHARE: who gets by took nothing more."""
    with other.transaction(), scratch.schema(shopkeeper) as into:
        other.execute(sql.SQL("SET search_path TO {}").format(sql.Identifier(OF)))
        other.execute("LOCK TABLE customers, orders, regions, marks, marked, ops_schema_version IN EXCLUSIVE MODE")
        assert copied(shopkeeper, into).not_cloned == []


def test_copying_keeps_no_lock_and_no_snapshot(shopkeeper: Session, other: Session) -> None:
    with scratch.schema(shopkeeper) as into:
        copied(shopkeeper, into)
        held = other.execute(
            "SELECT count(*) FROM pg_locks WHERE pid = %s AND locktype = 'relation'", [shopkeeper.info.backend_pid]
        )
        assert held.fetchone() == (0,)


def test_who_is_locked_out_does_not_wait_for_ever(shopkeeper: Session, other: Session) -> None:
    with other.transaction(), scratch.schema(shopkeeper) as into:
        other.execute(sql.SQL("LOCK TABLE {}.orders").format(sql.Identifier(OF)))
        with pytest.raises(psycopg.errors.LockNotAvailable):
            copied(shopkeeper, into)


def test_what_cannot_be_copied_is_named(shopkeeper: Session) -> None:
    shopkeeper.execute(
        f"""
        CREATE SCHEMA elsewhere;
        CREATE TABLE elsewhere.countries (id integer PRIMARY KEY);
        SET search_path TO {OF};
        CREATE TABLE living (id integer REFERENCES elsewhere.countries);
        CREATE TABLE parts (at date) PARTITION BY RANGE (at);
        CREATE TABLE parts_2026 PARTITION OF parts FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
        CREATE FUNCTION dynamic() RETURNS void LANGUAGE plpgsql AS $$
            BEGIN EXECUTE format('DELETE FROM %I.orders', '{OF}'); END $$;
        CREATE TABLE told (id integer DEFAULT nextval('{OF}.numbers'::text));
        CREATE AGGREGATE longest (text) (SFUNC = textcat, STYPE = text);
        """.encode()
    )
    with scratch.schema(shopkeeper) as into:
        assert copied(shopkeeper, into).not_cloned == [
            "aggregate longest(text)",
            "constraint living_id_fkey of living: it refers to another schema",
            "default of told.id: it names its schema in a text",
            "function dynamic(): it names its schema in a text",
            "table parts: it is partitioned, or inherits",
            "table parts_2026: it is partitioned, or inherits",
        ]


def test_a_function_that_names_its_schema_means_the_copys(shopkeeper: Session) -> None:
    shopkeeper.execute(
        f"CREATE FUNCTION {OF}.clear() RETURNS bigint LANGUAGE sql SET search_path = {OF}, pg_temp AS"
        f" $$ DELETE FROM {OF}.marked; DELETE FROM marks; SELECT count(*) FROM {OF}.marks $$".encode()
    )
    with scratch.schema(shopkeeper) as into:
        assert copied(shopkeeper, into).not_cloned == []
        assert ask(shopkeeper, "SELECT {into}.clear()", into=into) == [(0,)]
        assert ask(shopkeeper, "SELECT count(*) FROM {into}.marked", into=into) == [(0,)]
    assert ask(shopkeeper, "SELECT count(*) FROM {of}.marked", of=OF) == [(10,)]


def test_a_table_may_be_left(shopkeeper: Session) -> None:
    with scratch.schema(shopkeeper) as into:
        made = clone.make(shopkeeper, of=OF, into=into, rows=10, leave=frozenset({"marked"}))
        assert "marked" not in made.rows
        assert made.not_cloned == []

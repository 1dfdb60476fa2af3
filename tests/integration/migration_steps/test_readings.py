"""Reading a target: its version, and a digest that is equal where the schemas are, and names what differs."""

from __future__ import annotations

import json
from pathlib import Path

import psycopg
import pytest

from apps.migrations.definition import Definition
from tests.support.migrating import Ground
from workers.migrations import digest, reading
from workers.migrations.reading import Reading

STEP = {"name": "it", "kind": "sql", "file": "it.sql"}

# Of everything that a schema may hold, in a form that names the schema wherever one can.
RICH = """
CREATE TYPE {s}.mood AS ENUM ('good', 'bad');
CREATE DOMAIN {s}.code AS text CHECK (VALUE ~ '^[A-Z]+$');
CREATE TABLE {s}.parents (id bigint PRIMARY KEY, mood {s}.mood DEFAULT 'good');
CREATE TABLE {s}.things (
    id serial PRIMARY KEY, parent bigint NOT NULL REFERENCES {s}.parents, code {s}.code,
    price numeric(10, 2) CHECK (price > 0),
    twice numeric GENERATED ALWAYS AS (price * 2) STORED, label text COLLATE "C", UNIQUE (parent, code)
);
CREATE INDEX things_lower ON {s}.things (lower(label)) WHERE price > 1;
CREATE VIEW {s}.seen AS SELECT t.id, p.mood FROM {s}.things t JOIN {s}.parents p ON p.id = t.parent;
CREATE MATERIALIZED VIEW {s}.kept AS SELECT count(*) FROM {s}.things;
CREATE FUNCTION {s}.touch() RETURNS trigger LANGUAGE plpgsql SET search_path = {s} AS
    $$ BEGIN PERFORM 1 FROM {s}.parents; NEW.label := 'x'; RETURN NEW; END $$;
CREATE FUNCTION {s}.plus(a int, b int DEFAULT 1) RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT a + b; END;
CREATE TRIGGER touched BEFORE UPDATE ON {s}.things FOR EACH ROW EXECUTE FUNCTION {s}.touch();
ALTER TABLE {s}.things ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON {s}.things USING (parent IN (SELECT id FROM {s}.parents));
CREATE TABLE {s}.parted (id int, at date) PARTITION BY RANGE (at);
CREATE TABLE {s}.parted_1 PARTITION OF {s}.parted FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
CREATE SEQUENCE {s}.numbers INCREMENT 5;
"""


@pytest.fixture
def definition(ground: Ground) -> Definition:
    """A definition whose targets are read."""
    return ground.define(STEP, files={"it.sql": "SELECT 1"})


def read(definition: Definition, target: str = "acme") -> Reading:
    return reading.read(definition, account="platform", tenant_id="acme", target=target)


def test_a_target_says_what_it_is_at(ground: Ground, definition: Definition) -> None:
    ground.tenant("acme", rows=1000)
    found = read(definition)
    assert (found.version, found.problem) == ("1.4", None)
    assert found.objects is not None
    assert "column customers.name" in found.objects
    assert found.digest is not None
    assert found.digest.startswith("sha256:")
    assert found.size_bytes is not None
    assert found.size_bytes > 50_000


def test_what_is_not_there_is_told_and_nothing_raised(ground: Ground, definition: Definition, tmp_path: Path) -> None:
    assert read(definition).problem == "schema_absent"
    assert read(definition, "a b").problem == "schema_absent"
    schema = ground.tenant("acme")
    for change in (f"DELETE FROM {schema}.ops_schema_version", f"DROP TABLE {schema}.ops_schema_version"):
        ground.run(change)
        found = read(definition)
        assert (found.version, found.problem) == (None, "version_absent")
        assert found.digest is not None, "all else is known"
    secrets = tmp_path / "keys" / "secrets.json"
    away = psycopg.conninfo.make_conninfo(ground.dsn, port="1")
    for said, why in (
        ({}, "the tenant has no secret 'crm_database': an operator has to lay it"),
        ({"acme": {"crm_database": "not = a = dsn"}}, "the secret is no connection string"),
        ({"acme": {"crm_database": away}}, "the target cannot be reached"),
    ):
        secrets.write_text(json.dumps(said))
        found = read(definition)
        assert (found.problem, found.why) == ("unreachable", why)


def test_a_version_is_read_as_the_definition_says(ground: Ground) -> None:
    ground.tenant("acme")
    said = {
        "kind": "tenant", "database": "crm_database", "schema": "tenant_{target}",
        "version": {"read": "SELECT value FROM settings", "write": "UPDATE settings SET value = %(version)s"},
    }  # fmt: skip
    definition = ground.define(STEP, files={"it.sql": "SELECT 1"}, targets=said)
    assert read(definition).problem == "version_absent"
    ground.run("CREATE TABLE tenant_acme.settings AS SELECT 7 AS value")
    assert read(definition).version == "7"
    ground.run("ALTER TABLE tenant_acme.settings ALTER value TYPE text")
    ground.run("UPDATE tenant_acme.settings SET value = repeat('7', 65)")
    assert read(definition).version == "7" * 63 + "…", "as long as the plane keeps"


def test_reading_changes_nothing(ground: Ground) -> None:
    ground.tenant("acme")
    said = {
        "kind": "tenant", "database": "crm_database", "schema": "tenant_{target}",
        "version": {
            "read": "UPDATE ops_schema_version SET version = '9' RETURNING version",
            "write": "UPDATE ops_schema_version SET version = %(version)s",
        },
    }  # fmt: skip
    read(ground.define(STEP, files={"it.sql": "SELECT 1"}, targets=said))
    assert ground.one("SELECT version FROM tenant_acme.ops_schema_version") == "1.4"


def test_schemas_of_one_kind_have_one_digest_whatever_they_are_called(ground: Ground, definition: Definition) -> None:
    for key, before in (("acme", ""), ("b", "ALTER TABLE {s}.customers DROP country, ADD country text NOT NULL;")):
        schema = ground.tenant(key)
        ground.run((before + RICH).replace("{s}", schema))
    ground.run("INSERT INTO tenant_b.parents SELECT n FROM generate_series(1, 100) n")
    ground.run("SELECT nextval('tenant_b.numbers'); ANALYZE tenant_b.parents")
    ground.run("UPDATE tenant_b.ops_schema_version SET version = 'x'")
    one, other = read(definition), read(definition, "b")
    assert one.objects == other.objects
    assert one.digest == other.digest
    assert {"function touch()", "trigger things.touched", "policy things.own", "enum mood"} <= set(one.objects or {})


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ("ALTER TABLE things ADD nick text", "column things.nick"),
        ("ALTER TABLE things ALTER label TYPE varchar(20)", "column things.label"),
        ("ALTER TABLE things ALTER label SET NOT NULL", "column things.label"),
        ("ALTER TABLE parents ALTER mood SET DEFAULT 'bad'", "column parents.mood"),
        ("ALTER TABLE things DROP CONSTRAINT things_price_check", "constraint things.things_price_check"),
        ("CREATE INDEX another ON things (price)", "index another"),
        ("DROP INDEX things_lower; CREATE INDEX things_lower ON things (label)", "index things_lower"),
        ("CREATE OR REPLACE VIEW seen AS SELECT t.id, p.mood, 1 FROM things t JOIN parents p USING (id)", "view seen"),
        ("CREATE OR REPLACE FUNCTION plus(a int, b int DEFAULT 1) RETURNS int LANGUAGE sql AS 'SELECT 2'",
         "function plus(a integer, b integer)"),
        ("ALTER TABLE things DISABLE TRIGGER touched", "trigger things.touched"),
        ("ALTER TABLE things NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY", "table things"),
        ("ALTER POLICY own ON things USING (true)", "policy things.own"),
        ("ALTER TYPE mood ADD VALUE 'odd'", "enum mood"),
        ("ALTER SEQUENCE numbers INCREMENT 6", "sequence numbers"),
        ("ALTER TABLE things ADD CHECK (price < 10) NOT VALID", "constraint things.things_price_check1"),
        ("ALTER TABLE parted DETACH PARTITION parted_1", "table parted_1"),
    ],
)  # fmt: skip
def test_what_differs_is_named(ground: Ground, definition: Definition, change: str, name: str) -> None:
    schema = ground.tenant("acme")
    ground.run(RICH.replace("{s}", schema))
    before = read(definition)
    ground.run(f"SET search_path TO {schema}; {change}; RESET search_path")
    after = read(definition)
    assert before.objects is not None
    assert after.objects is not None
    assert after.digest != before.digest
    differing = {key for key in before.objects.keys() | after.objects.keys() if _differs(key, before, after)}
    assert name in differing
    assert len(differing) <= 3, "and little else"


def _differs(name: str, before: Reading, after: Reading) -> bool:
    return (before.objects or {}).get(name) != (after.objects or {}).get(name)


def test_the_planes_own_tables_are_not_the_modules(ground: Ground, definition: Definition) -> None:
    ground.tenant("acme")
    before = read(definition).digest
    ground.attempt("it", sets_version="1.5")
    assert ground.ledger("it") == ("applied", 0)
    assert read(definition).digest == before
    ground.run(
        f"CREATE TABLE tenant_acme.{digest.DJANGO[0]} (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text)"
    )
    assert read(definition).digest == before, "nor is what Django notes of its migrations"


def test_a_name_is_left_out_only_where_it_is_the_schemas() -> None:
    told = "tenant_a.f(x) my_tenant_a.g tenant_ab.h \"tenant_a\".i 'tenant_a' tenant_a_b"
    assert digest.relative(told, schema="tenant_a") == "f(x) my_tenant_a.g tenant_ab.h i '<schema>' tenant_a_b"


def test_a_role_that_may_make_nothing_uses_the_ledger_that_was_laid_for_it(
    ground: Ground, superuser: psycopg.Connection[object], tmp_path: Path
) -> None:
    """What docs/migration-steps.md says that the least role needs."""
    schema = ground.tenant("acme", rows=5)
    name = f"least_{ground.migration[:8]}"
    superuser.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'x'".encode())
    try:
        ground.define({**STEP}, files={"it.sql": "UPDATE customers SET country = 'DE'"})
        assert ground.attempt("it").outcome == "succeeded"
        ground.run(
            f"GRANT USAGE ON SCHEMA {schema} TO {name}; GRANT SELECT, UPDATE ON {schema}.customers TO {name};"
            f"GRANT SELECT, INSERT, UPDATE ON {schema}.ops_migration_ledger TO {name}"
        )
        least = psycopg.conninfo.make_conninfo(ground.dsn, user=name, password="x")
        (tmp_path / "keys" / "secrets.json").write_text(json.dumps({"acme": {"crm_database": least}}))
        ground.migration = "01890000-0000-7000-8000-000000000000"
        assert ground.attempt("it").outcome == "succeeded"
    finally:
        ground.run(f"REVOKE ALL ON ALL TABLES IN SCHEMA {schema} FROM {name}")
        ground.run(f"REVOKE ALL ON SCHEMA {schema} FROM {name}")
        superuser.execute(f"DROP ROLE {name}".encode())

"""What SQL does, read off PostgreSQL's own parse tree."""

from __future__ import annotations

import pytest

from apps.migrations import effects
from apps.migrations.effects import BadSqlError, Effect

QUIET = frozenset({Effect.WRITES, Effect.CREATES})


def done(sql: str) -> dict[Effect, list[str]]:
    """Return what a text does, but for writing and making things, by effect."""
    found: dict[Effect, list[str]] = {}
    for fact in effects.read(sql).facts:
        if fact.effect not in QUIET:
            found.setdefault(fact.effect, []).append(fact.what)
    return found


@pytest.mark.parametrize(
    ("sql", "effect", "what"),
    [
        ("ALTER TABLE t DROP COLUMN c", Effect.DESTROYS, "column t.c"),
        ("DROP TABLE t, u", Effect.DESTROYS, "table t"),
        ("DROP MATERIALIZED VIEW m", Effect.DESTROYS, "matview m"),
        ("DROP TYPE e", Effect.DESTROYS, "type e"),
        ("TRUNCATE t", Effect.DESTROYS, "all rows of t"),
        ("DELETE FROM t", Effect.DESTROYS, "all rows of t"),
        ("WITH x AS (DELETE FROM t RETURNING 1) SELECT * FROM x", Effect.DESTROYS, "all rows of t"),
        ("ALTER TABLE t RENAME TO u", Effect.RENAMES, "table t"),
        ("ALTER TABLE t RENAME COLUMN c TO d", Effect.RENAMES, "column t.c"),
        ("ALTER TYPE e RENAME TO f", Effect.RENAMES, "type e"),
        ("ALTER TABLE t ALTER c TYPE bigint", Effect.REWRITES, "the type of t.c"),
        ("ALTER TABLE t ADD c uuid DEFAULT gen_random_uuid()", Effect.REWRITES, "a default for t.c that may differ"),
        ("ALTER TABLE t ADD c bigserial", Effect.REWRITES, "a value of its own in each row for t.c"),
        ("ALTER TABLE t ADD c int GENERATED ALWAYS AS (d + 1) STORED", Effect.REWRITES, "a value of its own"),
        ("ALTER TABLE t ADD c int GENERATED ALWAYS AS IDENTITY", Effect.REWRITES, "a value of its own"),
        ("ALTER TABLE t SET UNLOGGED", Effect.REWRITES, "SET UNLOGGED of t"),
        ("VACUUM FULL t", Effect.REWRITES, "VACUUM FULL"),
        ("CLUSTER t", Effect.REWRITES, "CLUSTER of t"),
        ("REFRESH MATERIALIZED VIEW m", Effect.REWRITES, "materialized view m"),
        ("ALTER TABLE t ALTER c SET NOT NULL", Effect.SCANS, "SET NOT NULL of t.c"),
        ("ALTER TABLE t ADD CONSTRAINT x CHECK (c > 1)", Effect.SCANS, "constraint x of t"),
        ("ALTER TABLE t ADD CONSTRAINT x FOREIGN KEY (c) REFERENCES u", Effect.SCANS, "constraint x of t"),
        (
            "ALTER TABLE t ADD CONSTRAINT x CHECK (c > 1) NOT VALID; ALTER TABLE t VALIDATE CONSTRAINT x",
            Effect.SCANS,
            "constraint x of t is validated under the lock that added it",
        ),
        ("ALTER TABLE t ADD c int CHECK (c > 1)", Effect.SCANS, "a CHECK of t.c"),
        ("CREATE INDEX i ON t (c)", Effect.BLOCKS, "index i on t"),
        ("ALTER TABLE t ADD UNIQUE (c)", Effect.BLOCKS, "an index for constraint without a name of t"),
        ("REINDEX TABLE t", Effect.BLOCKS, "REINDEX of t"),
        ("LOCK TABLE t", Effect.BLOCKS, "LOCK of t"),
        ("ALTER TABLE t ADD c int NOT NULL", Effect.REQUIRES, "t.c is NOT NULL without a default"),
        ("UPDATE t SET c = 1 WHERE id > %(after)s AND id <= %(upto)s", Effect.FILLS, "update of t"),
        ("INSERT INTO t SELECT * FROM u", Effect.FILLS, "insert of t"),
        ("MERGE INTO t USING u ON t.id = u.id WHEN MATCHED THEN DELETE", Effect.FILLS, "merge of t"),
        ("CREATE INDEX CONCURRENTLY i ON t (c)", Effect.STANDS_ALONE, "CREATE INDEX CONCURRENTLY"),
        ("DROP INDEX CONCURRENTLY i", Effect.STANDS_ALONE, "DROP INDEX CONCURRENTLY"),
        ("REINDEX INDEX CONCURRENTLY i", Effect.STANDS_ALONE, "REINDEX CONCURRENTLY"),
        ("VACUUM t", Effect.STANDS_ALONE, "VACUUM"),
        ("CLUSTER", Effect.STANDS_ALONE, "CLUSTER of all tables"),
        ("ALTER TABLE t DETACH PARTITION p CONCURRENTLY", Effect.STANDS_ALONE, "DETACH PARTITION CONCURRENTLY"),
        ("CREATE DATABASE d", Effect.STANDS_ALONE, "CREATE DATABASE"),
        ("BEGIN", Effect.CONTROLS, "BEGIN"),
        ("SAVEPOINT s", Effect.CONTROLS, "SAVEPOINT"),
        ("COMMIT", Effect.CONTROLS, "COMMIT"),
        ("SET search_path = x", Effect.NAMES_SCHEMA, "SET search_path"),
        ("SET LOCAL ROLE x", Effect.NAMES_SCHEMA, "SET role"),
        ("SELECT set_config('search_path', 'x', true)", Effect.NAMES_SCHEMA, "SET search_path"),
        ("SET LOCAL lock_timeout = '1h'", Effect.TIMES, "SET lock_timeout"),
        ("SELECT set_config('statement_timeout', '0', true)", Effect.TIMES, "SET statement_timeout"),
        ("SELECT * FROM s.t", Effect.NAMES_SCHEMA, "schema s"),
        ("SELECT s.f(1)", Effect.NAMES_SCHEMA, "schema s"),
        ("SELECT s.t.c FROM t", Effect.NAMES_SCHEMA, "schema s"),
        ("SELECT c::s.e FROM t", Effect.NAMES_SCHEMA, "schema s"),
        ("DROP TABLE s.t", Effect.NAMES_SCHEMA, "schema s"),
        ("DROP TRIGGER g ON s.t", Effect.NAMES_SCHEMA, "schema s"),
        ("DROP FUNCTION s.f(int)", Effect.NAMES_SCHEMA, "schema s"),
        ("COMMENT ON COLUMN s.t.c IS 'x'", Effect.NAMES_SCHEMA, "schema s"),
        ("CREATE FUNCTION s.f() RETURNS int LANGUAGE sql RETURN 1", Effect.NAMES_SCHEMA, "schema s"),
        ("CREATE ROLE r", Effect.REACHES, "CREATE ROLE"),
        ("CREATE EXTENSION x", Effect.REACHES, "CREATE EXTENSION"),
        ("DROP SCHEMA s CASCADE", Effect.REACHES, "DROP SCHEMA s"),
        ("ALTER TABLE t SET SCHEMA s", Effect.REACHES, "SET SCHEMA"),
        ("COPY t FROM PROGRAM 'id'", Effect.REACHES, "COPY"),
        ("DO $$ BEGIN END $$", Effect.OPAQUE, "DO"),
        ("CALL p()", Effect.OPAQUE, "CALL"),
    ],
)
def test_a_statements_effect_is_seen(sql: str, effect: Effect, what: str) -> None:
    assert any(each.startswith(what) for each in done(sql).get(effect, [])), done(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "ALTER TABLE t ADD c text",
        "ALTER TABLE t ADD c timestamptz NOT NULL DEFAULT now()",
        "ALTER TABLE t ADD c int NOT NULL DEFAULT 3",
        "ALTER TABLE t ADD CONSTRAINT x CHECK (c > 1) NOT VALID",
        "ALTER TABLE t VALIDATE CONSTRAINT x",
        "ALTER TABLE t ADD PRIMARY KEY USING INDEX i",
        "ALTER INDEX i RENAME TO j",
        "INSERT INTO t VALUES (1), (2)",
        "INSERT INTO t DEFAULT VALUES",
        "SET LOCAL work_mem = '1GB'",
        "CREATE TEMP TABLE x AS SELECT 1 AS a; UPDATE x SET a = 2",
        "SELECT t.c FROM t JOIN pg_catalog.pg_class ON true",
        "SELECT 'x'::pg_catalog.text, count(*)::int FROM information_schema.tables",
        "CREATE OR REPLACE VIEW v AS SELECT 1",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql SET search_path = '' RETURN 1",
        "CREATE TABLE t (id int PRIMARY KEY, c int NOT NULL); CREATE INDEX ON t (c); UPDATE t SET c = 1; TRUNCATE t;"
        " ALTER TABLE t ALTER c TYPE bigint, ADD CHECK (c > 1); ALTER TABLE t RENAME c TO d; DROP TABLE t",
    ],
)
def test_what_harms_nobody_has_no_effect(sql: str) -> None:
    assert done(sql) == {}


def test_a_temporary_table_needs_no_revert() -> None:
    assert effects.read("CREATE TEMP TABLE x (a int); CREATE INDEX i ON x (a)").of(Effect.CREATES) == []


@pytest.mark.parametrize(
    ("sql", "writes"),
    [
        ("SELECT NOT EXISTS (SELECT FROM t WHERE c IS NULL)", False),
        ("EXPLAIN SELECT 1", False),
        ("SELECT * FROM t FOR UPDATE", True),
        ("SELECT * INTO u FROM t", True),
        ("WITH x AS (UPDATE t SET c = 1 RETURNING c) SELECT bool_and(c > 0) FROM x", True),
        ("COMMENT ON TABLE t IS 'x'", True),
    ],
)
def test_writing_is_told_from_asking(sql: str, writes: bool) -> None:
    assert bool(effects.read(sql).of(Effect.WRITES)) is writes


def test_what_is_made_is_known_by_names_that_a_revert_would_say() -> None:
    made = effects.read(
        "CREATE TABLE t (id int); ALTER TABLE u ADD c int; CREATE INDEX i ON u (c, d); CREATE VIEW v AS SELECT 1;"
        "ALTER TABLE u ADD CONSTRAINT x CHECK (e > 1) NOT VALID; CREATE TYPE y AS ENUM ('a'); CREATE SEQUENCE q;"
        "CREATE TRIGGER g BEFORE INSERT ON u FOR EACH ROW EXECUTE FUNCTION f(); CREATE POLICY p ON u"
    ).of(Effect.CREATES)
    assert {fact.what: set(fact.names) for fact in made} == {
        "table t": {"t"},
        "column u.c": {"c"},
        "index i": {"i", "c", "d"},
        "view v": {"v"},
        "constraint x of u": {"x", "e"},
        "type y": {"y"},
        "sequence q": {"q"},
        "trigger g of u": {"g"},
        "policy p of u": {"p"},
    }


def test_statements_begin_behind_their_comments_and_errors_have_their_line() -> None:
    assert effects.read("-- one\n/* and\nmore */ SELECT 1;\n\nSELECT ';';\n").lines == (3, 5)
    assert effects.read("-- nothing\n").lines == ()
    with pytest.raises(BadSqlError, match='syntax error at or near "SELEC"') as refused:
        effects.read("SELECT 1;\nSELEC 2;")
    assert refused.value.line == 2


def test_a_batchs_bounds_are_read_line_for_line_and_other_percent_signs_mean_themselves() -> None:
    reading = effects.read("UPDATE t SET c = 5 % 2\n WHERE n LIKE 'a%'\n AND id > %(after)s AND id <= %(upto)s")
    assert reading.bounds == {"after", "upto"}
    with pytest.raises(BadSqlError):
        effects.read("SELECT %(other)s")


@pytest.mark.parametrize(
    "sql",
    ["SELECT 1" + "+1" * 30_000, "SELECT " + "(SELECT " * 50 + "1" + ")" * 50, "SELECT 'a'" + "||'b'" * 200],
    ids=["too long", "too deep", "too many operators"],
)
def test_what_is_too_much_to_be_read_is_opaque_and_ends_no_process(sql: str) -> None:
    assert list(done(sql)) == [Effect.OPAQUE]

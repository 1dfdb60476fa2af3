"""`sql` steps against a real PostgreSQL: up, again, down; all or nothing; what their errors say, and do not."""

from __future__ import annotations

import json
import time
from pathlib import Path

import psycopg
import pytest

from apps.jobs import harness
from apps.jobs.outcome import StopReason
from tests.support.migrating import Ground, code

ADD = {"name": "add_region", "kind": "sql", "file": "10-add.sql", "revert": "10-add.revert.sql"}
FILES = {
    "10-add.sql": "ALTER TABLE customers ADD COLUMN region text;",
    "10-add.revert.sql": "ALTER TABLE customers DROP COLUMN region;",
}


def columns(ground: Ground, schema: str = "tenant_acme") -> list[str]:
    found = ground.ask(
        "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped",
        f"{schema}.customers",
    )
    return [name for (name,) in found]


def version(ground: Ground) -> str:
    return str(ground.one("SELECT version FROM tenant_acme.ops_schema_version"))


def one_step(ground: Ground, text: str, **said: object) -> None:
    """Define a migration of one step with this text."""
    ground.define({"name": "it", "kind": "sql", "file": "it.sql", **said}, files={"it.sql": text})


def test_a_step_goes_up_once_and_down_once(ground: Ground) -> None:
    ground.tenant("acme")
    ground.define(ADD, files=FILES)
    for fence in (1, 2):
        assert code(ground.attempt("add_region", fence=fence)) == ("succeeded", None)
    assert "region" in columns(ground)
    assert ground.ledger("add_region") == ("applied", 0)
    for fence in (1, 2):
        assert code(ground.attempt("add_region", "down", run=2, fence=fence)) == ("succeeded", None)
    assert "region" not in columns(ground)
    assert ground.ledger("add_region") == ("reverted", 0)
    assert code(ground.attempt("add_region", run=3)) == ("succeeded", None), "and up again, as in a drill"
    assert "region" in columns(ground)


def test_targets_are_apart(ground: Ground) -> None:
    ground.tenant("acme")
    ground.tenant("globex-eu")
    ground.define(ADD, files=FILES)
    assert code(ground.attempt("add_region", target="globex-eu")) == ("succeeded", None)
    assert "region" in columns(ground, "tenant_globex_eu")
    assert "region" not in columns(ground)
    one_step(ground, "SELECT * FROM orders")
    ground.run("CREATE TABLE public.orders (id int)")
    try:
        assert code(ground.attempt("it")) == ("failed", "sql_42p01"), "another schema's table is not there"
    finally:
        ground.run("DROP TABLE public.orders")


def test_what_is_not_there_needs_no_undoing(ground: Ground) -> None:
    ground.tenant("acme")
    ground.define(ADD, files=FILES)
    assert code(ground.attempt("add_region", "down", run=2)) == ("succeeded", None)
    assert ground.ledger("add_region") == ("reverted", 0)
    assert code(ground.attempt("add_region", run=1, fence=9)) == ("failed", "fenced_off"), "the way up is closed"
    assert "region" not in columns(ground)


def test_a_step_that_leaves_nothing_to_undo_is_only_marked(ground: Ground) -> None:
    ground.tenant("acme", rows=3)
    one_step(ground, "UPDATE customers SET country = 'DE'")
    assert code(ground.attempt("it")) == ("succeeded", None)
    assert code(ground.attempt("it", "down", run=2)) == ("succeeded", None)
    assert ground.ledger("it") == ("reverted", 0)
    assert ground.ask("SELECT DISTINCT country FROM tenant_acme.customers") == [("DE",)]


def test_the_version_is_written_with_the_step_or_not_at_all(ground: Ground) -> None:
    ground.tenant("acme", rows=1)
    one_step(ground, "ALTER TABLE customers ADD COLUMN region text; SELECT 1 / (id - 1) FROM customers")
    assert code(ground.attempt("it", sets_version="1.5")) == ("failed", "sql_22012")
    assert (version(ground), columns(ground)) == ("1.4", ["id", "name", "country"])
    assert ground.ledger("it") is None, "what is not done is not in the ledger"
    ground.define(ADD, files=FILES)
    assert code(ground.attempt("add_region", sets_version="1.5")) == ("succeeded", None)
    assert version(ground) == "1.5"
    assert code(ground.attempt("add_region", "down", run=2, sets_version="1.4")) == ("succeeded", None)
    assert version(ground) == "1.4"


def test_a_version_is_written_as_the_definition_says(ground: Ground) -> None:
    ground.tenant("acme")
    ground.run("CREATE TABLE tenant_acme.settings (key text, value text)")
    said = {
        "kind": "tenant",
        "database": "crm_database",
        "schema": "tenant_{target}",
        "version": {
            "read": "SELECT value FROM settings WHERE key = 'version'",
            "write": "UPDATE settings SET value = %(version)s WHERE key LIKE 'ver%'",
        },
    }
    ground.define(ADD, files=FILES, targets=said)
    assert code(ground.attempt("add_region", sets_version="1.5")) == ("failed", "version_not_written")
    assert "region" not in columns(ground)
    ground.run("INSERT INTO tenant_acme.settings VALUES ('version', '1.4')")
    assert code(ground.attempt("add_region", sets_version="1.5")) == ("succeeded", None)
    assert ground.one("SELECT value FROM tenant_acme.settings") == "1.5"
    assert version(ground) == "1.4"


@pytest.mark.parametrize("text", ["COMMIT; SELECT 1", "SELECT 1; ROLLBACK", "BEGIN; SELECT 1", "SELECT 1; END"])
def test_a_text_may_not_end_the_transaction_that_the_ledger_is_in(ground: Ground, text: str) -> None:
    ground.tenant("acme")
    one_step(ground, f"ALTER TABLE customers ADD COLUMN region text; {text}")
    assert code(ground.attempt("it")) == ("failed", "transaction_control")
    assert "region" not in columns(ground)


def test_a_definition_that_changed_is_refused(ground: Ground) -> None:
    ground.tenant("acme")
    ground.define(ADD, files=FILES)
    planned = ground.params("add_region")
    assert code(ground.attempt("add_region")) == ("succeeded", None)
    ground.define(ADD, files={"10-add.sql": "ALTER TABLE customers ADD COLUMN region varchar(80);"})
    done = harness.run("migration.step", params=planned, storage=ground.storage, fence=2)
    assert code(done) == ("failed", "definition_changed"), "the folder is not the plan's"
    assert code(ground.attempt("add_region", fence=2)) == ("failed", "definition_changed"), "nor what was done"
    unknown = {**planned, "definition": {**planned["definition"], "to": "1.6"}}
    done = harness.run("migration.step", params=unknown, storage=ground.storage, fence=2)
    assert code(done) == ("failed", "definition_missing")


@pytest.mark.parametrize(
    ("text", "ended"),
    [
        ("SELECT count(*) = 2 FROM customers", ("succeeded", None)),
        ("SELECT count(*) = 3 FROM customers", ("failed", "verify_failed")),
        ("SELECT NULL::boolean", ("failed", "verify_failed")),
        ("SELECT name FROM customers LIMIT 1", ("failed", "verify_shape")),
        ("SELECT true FROM customers", ("failed", "verify_shape")),
        ("SELECT true; SELECT true", ("failed", "bad_step")),
        ("DELETE FROM customers WHERE id = 1 RETURNING true", ("failed", "sql_25006")),
    ],
    ids=["true", "false", "null", "no boolean", "two rows", "two questions", "a change"],
)
def test_a_verification_is_one_true(ground: Ground, text: str, ended: tuple[str, str | None]) -> None:
    ground.tenant("acme", rows=2)
    one_step(ground, text, phase="verify")
    assert code(ground.attempt("it", sets_version="1.5")) == ended
    assert version(ground) == ("1.5" if ended[1] is None else "1.4")
    assert ground.one("SELECT count(*) FROM tenant_acme.customers") == 2


def test_what_was_verified_is_not_asked_again(ground: Ground) -> None:
    ground.tenant("acme", rows=2)
    one_step(ground, "SELECT count(*) = 2 FROM customers", phase="verify")
    assert code(ground.attempt("it")) == ("succeeded", None)
    ground.run("DELETE FROM tenant_acme.customers")
    assert code(ground.attempt("it", fence=2)) == ("succeeded", None)


def test_neither_rows_nor_secrets_are_told(ground: Ground) -> None:
    ground.tenant("acme", rows=3)
    one_step(ground, "ALTER TABLE customers ADD CHECK (name <> 'n2')")
    failed = ground.attempt("it")
    assert code(failed) == ("failed", "sql_23514")
    one_step(ground, "SELECT name::int FROM customers")
    also = ground.attempt("it", run=2)
    assert code(also) == ("failed", "sql_22p02")
    assert "n2" not in repr(failed)
    assert "n1" not in repr(also)
    assert "s3cret" not in repr(failed) + repr(also)


def test_a_target_that_cannot_be_used_says_how(ground: Ground, tmp_path: Path) -> None:
    ground.define(ADD, files=FILES)
    assert code(ground.attempt("add_region")) == ("failed", "schema_absent")
    assert code(ground.attempt("add_region", target="a b")) == ("failed", "bad_schema")
    ground.tenant("acme")
    secrets = tmp_path / "keys" / "secrets.json"
    info = psycopg.conninfo.conninfo_to_dict(ground.dsn)
    away = psycopg.conninfo.make_conninfo("", **{**info, "port": "1"})
    for said, ended in (
        ({"acme": {"crm_database": away}, "platform": {"crm_database": ground.dsn}}, ("retry", "unreachable")),
        ({"acme": {"crm_database": "not = a = dsn s3cret"}}, ("failed", "bad_secret")),
        ({"globex": {"crm_database": ground.dsn}}, ("failed", "secret_missing")),
        ({"acme": {"crm_database": ground.dsn}}, ("succeeded", None)),
    ):
        secrets.write_text(json.dumps(said))
        result = ground.attempt("add_region")
        assert code(result) == ended
        assert "s3cret" not in repr(result)


def test_an_attempt_that_is_told_to_stop_ends_its_statement(ground: Ground) -> None:
    ground.tenant("acme")
    one_step(ground, "ALTER TABLE customers ADD COLUMN region text; SELECT pg_sleep(60)", statement_timeout_s=100)
    until = time.monotonic() + 0.5
    began = time.monotonic()
    stopped = ground.attempt("it", should_stop=lambda: StopReason.CANCELLED if time.monotonic() > until else None)
    assert code(stopped) == ("cancelled", "cancelled")
    assert time.monotonic() - began < 20
    assert "region" not in columns(ground)
    assert ground.ask("SELECT 1 FROM pg_stat_activity WHERE query LIKE '%%pg_sleep(60)' AND state = 'active'") == []


def test_a_statement_that_takes_too_long_is_ended_and_tried_later(ground: Ground) -> None:
    ground.tenant("acme")
    one_step(ground, "SELECT pg_sleep(60)", statement_timeout_s=0.2)
    assert code(ground.attempt("it")) == ("retry", "sql_57014")

"""`sql` steps against a real PostgreSQL: up, again, down; what their errors say; locks that are not to be had."""

from __future__ import annotations

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

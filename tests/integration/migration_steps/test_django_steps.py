"""`django` steps: the module's own migrations on a target's schema, in a process that knows nothing of the plane."""

from __future__ import annotations

from typing import Any

import psutil
import psycopg
import pytest

from tests.integration.migration_steps.test_fences import wait_for
from tests.integration.migration_steps.test_kills import SLEEPING
from tests.support.migrating import Ground, code, words

SETTINGS = "tests.support.crm_django.settings"


def django(ground: Ground, *, to: str = "0002_region", revert: str = "0001_initial", **said: Any) -> None:
    step = {"name": "models", "kind": "django", "settings": SETTINGS, "app": "crm", "to": to, "revert": revert}
    ground.define({**step, "statement_timeout_s": 100, **said}, files={})


@pytest.fixture(autouse=True)
def acme(ground: Ground) -> None:
    """Acme's schema, with nothing of Django's in it."""
    ground.tenant("acme")


def applied(ground: Ground) -> list[str]:
    return [name for (name,) in ground.ask("SELECT name FROM tenant_acme.django_migrations ORDER BY id")]


def test_the_modules_migrations_go_up_once_and_down_once(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://the-planes-own")
    django(ground)
    first = ground.attempt("models", sets_version="1.5")
    assert code(first) == ("succeeded", None)
    assert [(word.done, word.total) for word in first.progress] == [(0, 2), (1, 2), (2, 2)]
    assert code(ground.attempt("models", fence=2)) == ("succeeded", None)
    assert applied(ground) == ["0001_initial", "0002_region"]
    assert ground.ask("SELECT name, region FROM tenant_acme.crm_customer") == [("made", None)]
    assert ground.ledger("models") == ("applied", 2)
    assert ground.one("SELECT version FROM tenant_acme.ops_schema_version") == "1.5"
    for fence in (1, 2):
        assert code(ground.attempt("models", "down", run=2, fence=fence, sets_version="1.4")) == ("succeeded", None)
    assert applied(ground) == ["0001_initial"]
    assert ground.ledger("models")[0] == "reverted"
    assert ground.one("SELECT version FROM tenant_acme.ops_schema_version") == "1.4"


def test_all_the_way_down_is_zero(ground: Ground) -> None:
    django(ground, revert="zero")
    assert code(ground.attempt("models")) == ("succeeded", None)
    assert code(ground.attempt("models", "down", run=2)) == ("succeeded", None)
    assert applied(ground) == []
    assert ground.one("SELECT to_regclass('tenant_acme.crm_customer')") is None


@pytest.mark.parametrize(
    ("said", "ended"),
    [
        ({"to": "0009_nobody"}, ("failed", "bad_step")),
        ({"app": "nobody"}, ("failed", "bad_step")),
        ({"settings": "nobody.settings"}, ("failed", "bad_settings")),
        ({"to": "0004_broken"}, ("failed", "sql_22p02")),
    ],
)
def test_what_cannot_be_done_says_so_and_quotes_nothing(
    ground: Ground, said: dict[str, str], ended: tuple[str, str]
) -> None:
    django(ground, **said)
    result = ground.attempt("models")
    assert code(result) == ended
    assert "made" not in repr(result)
    assert "s3cret" not in repr(result)
    kept = (ground.storage / "runs" / result.job_id / "1" / "django.txt").read_text()
    assert "Traceback" in kept, "what the module said lies with its tenant"
    assert "s3cret" not in kept


def test_a_way_up_never_takes_anything_back(ground: Ground) -> None:
    django(ground, to="0003_slow")
    assert code(ground.attempt("models")) == ("succeeded", None)
    django(ground, to="0002_region")
    ground.migration = "01890000-0000-7000-8000-000000000000"
    assert code(ground.attempt("models")) == ("failed", "wrong_way")
    assert applied(ground) == ["0001_initial", "0002_region", "0003_slow"]


def test_killed_in_the_middle_it_ends_with_its_parent_and_is_resumed(ground: Ground) -> None:
    django(ground, to="0003_slow")
    ground.run("CREATE TABLE tenant_acme.slow AS SELECT 1")
    process = ground.start("models")
    wait_for(ground, SLEEPING)
    (child,) = psutil.Process(process.pid).children()
    assert "s3cret" not in " ".join(child.cmdline()) + repr(child.environ())
    process.kill()
    process.wait()
    child.wait(timeout=30)
    wait_for(ground, f"SELECT 1 WHERE NOT EXISTS ({SLEEPING})")
    assert applied(ground) == ["0001_initial", "0002_region"]
    assert ground.ledger("models")[0] == "running"
    ground.run("DROP TABLE tenant_acme.slow")
    assert code(ground.attempt("models", fence=2)) == ("succeeded", None)
    assert ground.ask("SELECT name, region FROM tenant_acme.crm_customer") == [("made", "x")]


def test_one_that_was_given_up_does_nothing_any_more(ground: Ground) -> None:
    """Overtaken between two migrations: the ledger is looked at in the transaction of each."""
    django(ground, to="0003_slow")
    with psycopg.connect(ground.dsn) as holding:
        old = ground.start("models")
        wait_for(ground, "SELECT 1 FROM pg_class WHERE relname = 'ops_migration_ledger'")
        wait_for(ground, "SELECT 1 FROM tenant_acme.ops_migration_ledger WHERE state = 'running'")
        holding.execute("UPDATE tenant_acme.ops_migration_ledger SET token = token + 1")
        holding.commit()
        assert [word["code"] for word in words(old) if "code" in word] == ["fenced_off"]
    assert ground.ledger("models")[0] == "running"
    assert code(ground.attempt("models", fence=9)) == ("succeeded", None)
    assert ground.ask("SELECT name, region FROM tenant_acme.crm_customer") == [("made", "x")]


def test_a_table_that_is_locked_is_asked_for_again(ground: Ground) -> None:
    django(ground, to="0001_initial", revert="zero")
    assert code(ground.attempt("models")) == ("succeeded", None)
    django(ground, to="0002_region", lock_timeout_s=0.2)
    ground.migration = "01890000-0000-7000-8000-000000000000"
    process = None
    with psycopg.connect(ground.dsn) as sitting:
        sitting.execute("SELECT count(*) FROM tenant_acme.crm_customer")
        process = ground.start("models")
        wait_for(ground, "SELECT 1 FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'")
        wait_for(ground, "SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM pg_locks WHERE NOT granted)")
        sitting.rollback()
    assert [word["outcome"] for word in words(process) if "outcome" in word] == ["succeeded"]
    assert applied(ground) == ["0001_initial", "0002_region"]

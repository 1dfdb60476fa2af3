"""What tests of steps ask for: a module's own database on the suite's PostgreSQL, and a role that owns its schemas."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from django.conf import settings
from psycopg.conninfo import make_conninfo

from tests.support.migrating import Ground


@pytest.fixture(scope="session")
def module_database(superuser: psycopg.Connection[Any]) -> Iterator[str]:
    """A module's database and the connection string of the role that owns it; no superuser, as in life."""
    name = f"crm_{uuid4().hex[:8]}"
    superuser.execute(f"CREATE ROLE {name} LOGIN PASSWORD 's3cret-of-crm'".encode())
    superuser.execute(f"CREATE DATABASE {name} OWNER {name}".encode())
    info = superuser.info
    yield make_conninfo("", host=info.host, port=info.port, dbname=name, user=name, password="s3cret-of-crm")
    superuser.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
    superuser.execute(f"DROP ROLE {name}".encode())


def end_sessions(connection: psycopg.Connection[Any]) -> None:
    """End whatever a killed process left on the server, and see it gone: the next test looks at who is at work."""
    others = (
        "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        " AND backend_type = 'client backend'"  # the server's own, a vacuum at work, are nobody's to end
    )
    until = time.monotonic() + 30
    while connection.execute(f"SELECT pg_terminate_backend(pid) {others}".encode()).fetchall():
        assert time.monotonic() < until
        time.sleep(0.02)  # the pause of a wait on a condition


@pytest.fixture
def ground(module_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ground]:
    """The module's database with nothing in it, acme's and the account's secrets, and a folder for definitions."""
    keys, root, storage = tmp_path / "keys", tmp_path / "migrations", tmp_path / "acme"
    for folder in (keys, root, storage):
        folder.mkdir()
    (keys / "secrets.json").write_text(json.dumps({"platform": {"crm_database": module_database}}))
    monkeypatch.setenv("OPS_KEYS", str(keys))
    monkeypatch.setattr(settings, "ENVIRONMENT", replace(settings.ENVIRONMENT, migrations=(root,)))
    with psycopg.connect(module_database, autocommit=True) as connection:
        made = Ground(root=root, storage=storage, dsn=module_database, connection=connection)
        try:
            yield made
        finally:
            for process in made.processes:
                process.kill()
                process.communicate()
            end_sessions(connection)
            for (schema,) in made.ask("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'tenant%%'"):
                made.run(f"DROP SCHEMA {schema} CASCADE")

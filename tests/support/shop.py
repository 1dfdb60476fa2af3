"""A module's database with a schema for each tenant, to be migrated: `shop`, at version 1.4."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

from tests.support.client import Truth
from tests.support.tenants import admit

TABLES = """
CREATE TABLE {schema}.ops_schema_version (version text NOT NULL);
INSERT INTO {schema}.ops_schema_version VALUES ('1.4');
CREATE TABLE {schema}.orders (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, net_cents bigint NOT NULL, tax_base bigint NOT NULL DEFAULT 100,
    fresh boolean NOT NULL DEFAULT false
);
INSERT INTO {schema}.orders (net_cents) SELECT number * 7 FROM generate_series(1, {orders}) AS number;
"""
STATE = """
SELECT (SELECT version FROM {schema}.ops_schema_version), count(*), sum(net_cents),
       EXISTS (SELECT 1 FROM information_schema.columns
                WHERE table_schema = {name} AND table_name = 'orders' AND column_name = 'total_cents')
  FROM {schema}.orders
"""


class Shop:
    """The database, and the tenants of a plane that have a schema in it."""

    def __init__(self, *, truth: Truth, superuser_url: str, home: Path, name: str) -> None:
        self.name = name
        self.tenants: list[str] = []
        self._truth = truth
        parts = urlsplit(superuser_url)
        # The module's own role, as in life: what a migration may do is what this may.
        host = parts.netloc.rpartition("@")[2]
        self.url = parts._replace(netloc=f"{name}:{name}@{host}", path=f"/{name}").geturl()
        self._admin = superuser_url
        self._secrets = home / "keys" / "secrets.json"
        with psycopg.connect(superuser_url, autocommit=True) as session:
            owner = sql.Identifier(name)
            session.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(owner, sql.Literal(name)))
            session.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(owner, owner))

    def open_for(self, tenants: Sequence[str], *, orders: int = 50, plan: str = "gold") -> None:
        """Make tenants of the plane, each with a schema of so many orders, and lay the secret that leads to it."""
        for tenant in tenants:
            admit(self._truth, tenant, plan=plan)
        with psycopg.connect(self.url, autocommit=True) as session:
            for tenant in tenants:
                session.execute(sql.SQL("CREATE SCHEMA {}").format(self._schema(tenant)))
                session.execute(
                    sql.SQL(TABLES).format(schema=self._schema(tenant), orders=sql.Literal(orders))
                )  # fmt: skip
        self.tenants += tenants
        laid = json.loads(self._secrets.read_text()) if self._secrets.exists() else {}
        for tenant in tenants:
            laid.setdefault(tenant, {})["shop_database"] = self.url
        self._secrets.write_text(json.dumps(laid))
        self._secrets.chmod(0o600)

    def state(self, tenant: str) -> tuple[str, int, int, bool]:
        """Return a tenant's version, how many orders it has, the sum of their net, and whether they have a total."""
        query = sql.SQL(STATE).format(schema=self._schema(tenant), name=sql.Literal(self.schema(tenant)))
        with psycopg.connect(self.url, autocommit=True) as session:
            version, count, total, has = session.execute(query).fetchone() or (None, 0, 0, False)
        return str(version), int(count), int(total or 0), bool(has)

    def rows(self, tenant: str, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Return the rows of a query in a tenant's schema."""
        with self.session(tenant) as session:
            return list(session.execute(query.encode(), values).fetchall())

    def execute(self, tenant: str, statement: str, *values: Any) -> None:
        """Change something in a tenant's schema."""
        with self.session(tenant) as session:
            session.execute(statement.encode(), values)

    @contextmanager
    def session(self, tenant: str, *, autocommit: bool = True) -> Iterator[psycopg.Connection]:
        """Yield a session in a tenant's schema."""
        with psycopg.connect(self.url, autocommit=autocommit) as session:
            session.execute(sql.SQL("SET search_path TO {}").format(self._schema(tenant)))
            if not autocommit:
                session.commit()
            yield session

    @contextmanager
    def away(self) -> Iterator[None]:
        """Let nobody of the module in, and end who is; afterwards as before."""
        role = sql.Identifier(self.name)
        with psycopg.connect(self._admin, autocommit=True) as session:
            session.execute(sql.SQL("ALTER ROLE {} NOLOGIN").format(role))
            try:
                session.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", [self.name]
                )
                yield
            finally:
                session.execute(sql.SQL("ALTER ROLE {} LOGIN").format(role))

    def schema(self, tenant: str) -> str:
        """Return the name of a tenant's schema."""
        return f"shop_{tenant.replace('-', '_')}"

    def close(self) -> None:
        """Drop the database."""
        with psycopg.connect(self._admin, autocommit=True) as session:
            session.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(self.name)))
            session.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(self.name)))

    def _schema(self, tenant: str) -> sql.Identifier:
        return sql.Identifier(self.schema(tenant))

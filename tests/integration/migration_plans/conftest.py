"""A tenant's schema in the suite's PostgreSQL, of a role that owns it and has no power beside."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.integration.migration_steps.conftest import ground, module_database
from tests.support import rich_schema

__all__ = ["ground", "module_database", "shop_dsn", "shopkeeper"]

Session = psycopg.Connection[Any]


@pytest.fixture
def shop_dsn(superuser: Session) -> Iterator[str]:
    """Return how the shopkeeper connects; all that is the shopkeeper's goes at the end."""
    superuser.execute("CREATE ROLE shopkeeper LOGIN PASSWORD 'shop'")
    superuser.execute("GRANT CREATE ON DATABASE ops TO shopkeeper")
    info = superuser.info
    try:
        yield psycopg.conninfo.make_conninfo(
            host=info.host, port=info.port, dbname=info.dbname, user="shopkeeper", password="shop"
        )
    finally:
        superuser.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'shopkeeper'")
        superuser.execute("DROP OWNED BY shopkeeper CASCADE")
        superuser.execute("DROP ROLE shopkeeper")


@pytest.fixture
def shopkeeper(shop_dsn: str) -> Iterator[Session]:
    """A session of the shopkeeper's, beside the schema `shop_of_acme`."""
    with psycopg.connect(shop_dsn, autocommit=True) as session:
        rich_schema.make(session, schema=rich_schema.OF)
        yield session

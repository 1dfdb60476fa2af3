"""What integration tests ask for beside the database: to look behind every wall, to reconfigure, to be the loops."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

import psycopg
import pytest
from psycopg.rows import dict_row

from apps.tenancy.context import across_tenants
from tests.support.database import InRole

Control = Callable[[], AbstractContextManager[None]]
Change = Callable[..., int]

CONFIGURATION = ("tenants", "plans", "subscriptions", "contracts", "policies", "environments")


class Look(Protocol):
    """Asks PostgreSQL past every wall."""

    def __call__(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """Return the rows of a query."""
        ...


@pytest.fixture
def look(db: None, superuser: psycopg.Connection) -> Look:
    """Read what is committed, whoever's it is."""

    def ask(query: str, *values: Any) -> list[dict[str, Any]]:
        with superuser.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(query.encode(), values).fetchall()

    return ask


@pytest.fixture
def change(db: None, superuser: psycopg.Connection) -> Iterator[Change]:
    """Change anything past every wall; configuration is as before when the test is over. Returns the rows changed."""
    keep = "; ".join(f"CREATE TEMP TABLE kept_{table} AS TABLE {table}" for table in CONFIGURATION)
    bring_back = "; ".join(
        f"DELETE FROM {table}; INSERT INTO {table} SELECT * FROM kept_{table}; DROP TABLE kept_{table}"
        for table in CONFIGURATION
    )
    superuser.execute(keep.encode())
    try:
        yield lambda statement, *values: superuser.execute(statement.encode(), values).rowcount
    finally:
        # As a replica no foreign key is asked: the rows go and come back under the jobs that name them.
        superuser.execute(f"SET LOCAL session_replication_role = replica; {bring_back}".encode())


@pytest.fixture
def control(
    in_role: InRole,
) -> Control:
    """Return a context of the loops and workers: their database role, across tenants."""

    @contextmanager
    def enter() -> Iterator[None]:
        with in_role("control"), across_tenants():
            yield

    return enter

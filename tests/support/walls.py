"""What is asked at the walls between tenants, and of which tables."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any

import pytest
from django.db import Error, connection, models, transaction

from apps.events.models import Event, FailedReaction
from apps.evidence.models import Emission, Nodes, Outlet, Record, SealedCheckpoint
from apps.jobs.models import Attempt, Decision, Dependency, Job, LogChunk
from apps.tenancy.models import IdempotencyKey

OWNED: list[type[models.Model]] = [Job, Dependency, Attempt, Decision, LogChunk, Event, Record, Nodes, SealedCheckpoint]
OWNED += [IdempotencyKey, Emission, Outlet, FailedReaction]
TABLES = [model._meta.db_table for model in OWNED]
tables = pytest.mark.parametrize("table", TABLES)


def ask(query: str, *values: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query, values)
        return list(cursor.fetchall())


def tenants_in(table: str) -> list[str]:
    """Return whose rows of `table` plain SQL finds now."""
    return [tenant for (tenant,) in ask(f"SELECT DISTINCT tenant_id FROM {table} ORDER BY 1")]


@contextmanager
def refused(*words: str) -> Any:
    """Expect PostgreSQL to refuse, with one of the words; what was open goes on behind it."""
    with pytest.raises(Error, match="|".join(words or ("permission denied",))), transaction.atomic():
        yield


def ask_nothing(statement: str, *values: Any) -> int:
    """Run a statement; return how many rows it touched."""
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return int(cursor.rowcount)

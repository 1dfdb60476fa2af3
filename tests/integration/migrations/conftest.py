"""What tests of migrations ask for: one that is asked for, told events, evidence as it was written."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Protocol

import pytest

from apps.migrations.definition import Definition
from tests.integration.conftest import Control, Look
from tests.support.campaigning import Campaign, definition, requested


class Made(Protocol):
    """Asks for a migration."""

    def __call__(self, of: Definition | None = None, **more: Any) -> Campaign: ...


Told = Callable[..., list[str]]
Proven = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def made(db: None, control: Control) -> Made:
    """Return an asker for migrations."""

    def make(of: Definition | None = None, **more: Any) -> Campaign:
        chosen = of or definition()
        return Campaign(migration=requested(chosen, **more), of=chosen, control=control)

    return make


@pytest.fixture
def told(look: Look) -> Told:
    """Return a reader of what was told about a migration, in the order in which it was written."""

    def of(campaign: Campaign) -> list[str]:
        rows = look("SELECT type FROM events WHERE subject = %s ORDER BY occurred_at, event_id", str(campaign.id))
        return [row["type"].removeprefix("operations.migration.") for row in rows]

    return of


@pytest.fixture
def proven(look: Look) -> Proven:
    """Return a reader of the evidence of a migration or target, oldest first: its predicate's name and what it says."""

    def of(subject: Any) -> list[dict[str, Any]]:
        rows = look(
            "SELECT kind, tenant_id, predicate, payload FROM evidence_records WHERE subject_id = %s ORDER BY fence",
            str(getattr(subject, "id", subject)),
        )
        return [
            {**json.loads(bytes(row["payload"]))["predicate"], "_": row["predicate"], "_of": row["tenant_id"]}
            for row in rows
        ]

    return of

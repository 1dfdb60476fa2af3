"""What tests of migrations ask for: one that is asked for, told events, evidence as it was written."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Protocol

import pytest

from apps.migrations.definition import Definition
from apps.migrations.models import Step
from apps.migrations.operations import moving, steps
from tests.integration.conftest import Control, Look
from tests.support.campaigning import Campaign, definition, requested
from tests.support.database import InRole


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


class Steps:
    """A campaign's steps, carried on in the loops' role."""

    def __init__(self, campaign: Campaign, in_role: InRole) -> None:
        self.campaign, self._in_role = campaign, in_role

    def begin(self, name: str = "add", direction: str = "up", *, key: str = "acme") -> Step:
        """Submit a step's job; return the step as it is then."""
        step_id = self.campaign.step(key, name).step_id
        with self._in_role("control"):
            steps.begin(step_id, direction=direction, definition=self.campaign.definition)
        return self.campaign.step(key, name)

    def stop(self, name: str = "add", *, key: str = "acme") -> Step:
        """Ask a step's job to stop; return the step as it is then."""
        step_id = self.campaign.step(key, name).step_id
        with self._in_role("control"):
            steps.stop(step_id, why="its migration is paused")
        return self.campaign.step(key, name)

    def look(self) -> None:
        """Take over what jobs say."""
        self.campaign.by_itself(steps.look)

    def put(self, name: str, key: str = "acme", **values: Any) -> None:
        """Bring a step where a test needs it."""
        self.campaign.by_itself(
            lambda: Step.objects.filter(migration_id=self.campaign.id, target__key=key, name=name).update(**values)
        )


@pytest.fixture
def begun(made: Made, in_role: InRole) -> Any:
    """Return a maker of campaigns whose first wave began."""

    def make(*defined: Any, **more: Any) -> Steps:
        campaign = made(definition(*defined, **more)).started(["acme"], ["globex"])
        campaign.by_itself(moving.begin_wave, number=0, facts={})
        return Steps(campaign, in_role)

    return make

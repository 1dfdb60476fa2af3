"""What the plane consists of: its own parts, registered as expected before anybody has heard of them. For the watcher.

A part that is deployed and silent is an alarm; one that is taken out of the inventory is forgotten. What an operator
changed about a part stays as the operator said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction

from apps.core.database import ClockTimestamp
from apps.core.ids import uuid7
from apps.health.models import PLATFORM, Component
from apps.health.operations.standing import forget

BY = "inventory"
PROCESS_TERMS: dict[str, Any] = {
    "interval_s": None,
    "grace_s": 60.0,
    "failure_threshold": 1,
    "success_threshold": 2,
    "kind": "process",
}
# Beat is judged by its tick, which comes every 15 s through the broker and a control worker.
TICK_TERMS: dict[str, Any] = {**PROCESS_TERMS, "interval_s": 20.0, "grace_s": 12.0, "success_threshold": 1}
QUEUE_TERMS: dict[str, Any] = {
    "interval_s": None,
    "grace_s": 90.0,
    "failure_threshold": 2,
    "success_threshold": 1,
    "kind": "queue",
}
SERVICE_TERMS: dict[str, Any] = {
    "interval_s": None,
    "grace_s": 60.0,
    "failure_threshold": 1,
    "success_threshold": 1,
    "kind": "service",
}
DATABASE, BROKER = f"{PLATFORM}/database", f"{PLATFORM}/broker"


@dataclass(frozen=True, kw_only=True)
class Queue:
    """A Celery queue and the pool that serves it; `environment` None: it is none of jobs'."""

    pool: str
    queue: str
    environment: str | None

    @property
    def part(self) -> str:
        """Its component's name."""
        return f"queue-{self.pool}"


@dataclass(frozen=True, kw_only=True)
class Inventory:
    """The processes by name (`scheduler`, `worker-default` …) and the queues that should be there."""

    processes: Sequence[str]
    queues: Sequence[Queue]


def keep(inventory: Inventory) -> int:
    """Register what is missing, forget what is no part any more; return how many rows that changed."""
    wanted = {name: {**terms, "depends_on": depends} for name, terms, depends in _parts(inventory)}
    every = Component.every.filter(tenant=None, module=PLATFORM)
    there = {row.component: row for row in every}
    missing = [
        Component(component_id=uuid7(), module=PLATFORM, component=name, declared_by=BY, expected=True, **terms)
        for name, terms in wanted.items()
        if name not in there
    ]
    Component.every.bulk_create(missing, ignore_conflicts=True)
    own = every.filter(declared_by=BY)
    fresh = {"awaited_from": ClockTimestamp(), "deleted_at": None, "expected": True}
    back = own.filter(component__in=wanted).exclude(deleted_at=None, expected=True).update(**fresh)
    with transaction.atomic():
        gone = list(own.exclude(component__in=wanted).filter(deleted_at=None).select_for_update(no_key=True))
        for row in gone:
            forget(row)
    _await(missing)
    return len(missing) + back + len(gone)


def _await(made: Sequence[Component]) -> None:
    """Let the clock look at the rows just made: expected ones have their grace from now."""
    Component.every.filter(component_id__in=[row.component_id for row in made]).update(due_at=ClockTimestamp())


def _parts(inventory: Inventory) -> list[tuple[str, dict[str, Any], list[str]]]:
    parts: list[tuple[str, dict[str, Any], list[str]]] = [
        ("database", SERVICE_TERMS, []),
        ("broker", SERVICE_TERMS, []),
    ]
    for name in inventory.processes:
        if name == "beat":
            parts.append((name, TICK_TERMS, [DATABASE, BROKER, f"{PLATFORM}/worker-control"]))
        else:
            parts.append((name, PROCESS_TERMS, [DATABASE, *([BROKER] if name.startswith("worker-") else [])]))
    for queue in inventory.queues:
        above = [BROKER, f"{PLATFORM}/worker-{queue.pool}"]
        parts.append((queue.part, QUEUE_TERMS, above))
    return parts

"""What people decide about components and policies: pause, resume, terms, probes, rules. As operators."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any
from uuid import UUID

from django.db import transaction

from apps.core.database import ClockTimestamp, clock
from apps.core.ids import uuid7
from apps.health import lifecycle
from apps.health.models import Component, Policy
from apps.health.operations.standing import forget, owned_by, standing_of, write
from apps.tenancy.context import acting_for

PROBED = {"http": {"url"}, "tcp": {"host", "port"}, "sql": {"source", "query"}}


class NoComponentError(Exception):
    """There is no such component."""


def pause(*, component_id: UUID) -> None:
    """Let nobody worry about a component until it is resumed, whatever it says. Raises `NoComponentError`."""
    row = _row(component_id)
    with owned_by(row), transaction.atomic():
        row = _locked(component_id)
        write(row, step=lifecycle.pause(standing_of(row), at=clock()))


def resume(*, component_id: UUID) -> None:
    """Await a paused component anew. Raises `NoComponentError`."""
    row = _row(component_id)
    with owned_by(row), transaction.atomic():
        row = _locked(component_id)
        more = {"probe_due_at": ClockTimestamp()} if row.probe else {}
        write(row, step=lifecycle.resume(standing_of(row), at=clock()), more=more)


def set_terms(*, component_id: UUID, values: Mapping[str, Any], by: str) -> None:
    """Change what is agreed of a component; from now on it is the operator's to change. Raises `NoComponentError`."""
    row = _row(component_id)
    with owned_by(row), transaction.atomic():
        row = _locked(component_id)
        for name, value in values.items():
            setattr(row, name, value)
        more = {**values, "declared_by": f"operator:{by}"[:128], "awaited_from": clock()}
        if row.probe:
            more["probe_due_at"] = more["awaited_from"]
        row.awaited_from = more["awaited_from"]
        write(row, step=(standing_of(row), ()), more=more)


def declare(*, tenant_id: str | None, module: str, component: str, values: Mapping[str, Any], by: str) -> UUID:
    """Register a component that an operator names; return its id."""
    made = Component(
        component_id=uuid7(),
        tenant_id=tenant_id,
        module=module,
        component=component,
        declared_by=f"operator:{by}"[:128],
        **values,
    )
    with acting_for(tenant_id) if tenant_id else nullcontext():
        Component.every.bulk_create([made])
        fresh: dict[str, Any] = {"due_at": ClockTimestamp()}
        if made.probe:
            fresh["probe_due_at"] = ClockTimestamp()
        Component.every.filter(component_id=made.component_id).update(**fresh)
    return made.component_id


def remove(*, component_id: UUID) -> None:
    """Forget a component, until it is heard of again. Raises `NoComponentError`."""
    row = _row(component_id)
    with owned_by(row), transaction.atomic():
        forget(_locked(component_id))


def set_policy(*, policy_id: str, values: Mapping[str, Any], by: str) -> None:
    """Write a recovery policy."""
    changed = {**values, "changed_by": by, "changed_at": ClockTimestamp()}
    Policy.objects.update_or_create(policy_id=policy_id, defaults=changed)


def _row(component_id: UUID) -> Component:
    row = Component.every.filter(component_id=component_id).first()
    if row is None:
        raise NoComponentError("There is no such component.")
    return row


def _locked(component_id: UUID) -> Component:
    return Component.every.select_for_update(no_key=True).get(component_id=component_id)

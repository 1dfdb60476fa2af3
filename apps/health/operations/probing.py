"""Probes: what the plane asks a component itself. Claimed here, asked by the watcher's threads, settled here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection, transaction

from apps.core.database import clock, loaded
from apps.health.lifecycle import Flip, Signal
from apps.health.models import Component
from apps.health.operations.standing import Measured, hear

# A probe whose asker died is due again by itself: claiming it was nothing but moving the date.
CLAIM = """
UPDATE health_status SET probe_due_at = clock_timestamp() + make_interval(secs => greatest(coalesce(interval_s, 60), 1))
 WHERE component_id IN (
       SELECT component_id FROM health_status
        WHERE probe_due_at <= statement_timestamp() AND deleted_at IS NULL AND status <> 'paused'
        ORDER BY probe_due_at LIMIT %s FOR UPDATE SKIP LOCKED)
RETURNING component_id, kind, tenant_id, probe
"""


class Probe(NamedTuple):
    """Something to be asked now: how, for whom, and where."""

    component_id: UUID
    kind: str
    tenant_id: str | None
    asked: Mapping[str, Any]


class Answer(NamedTuple):
    """What came of it: well or not, by which code, in which time."""

    well: bool
    code: str
    took_ms: float


def claim(*, limit: int) -> list[Probe]:
    """Return what is due, and put each off by its interval."""
    if limit <= 0:
        return []
    with connection.cursor() as cursor:
        cursor.execute(CLAIM, [limit])
        return [Probe(row[0], row[1], row[2], loaded(row[3]) or {}) for row in cursor.fetchall()]


def settle(component_id: UUID, *, answer: Answer) -> tuple[Flip, ...]:
    """Write what a probe was answered; return the flips."""
    with transaction.atomic():
        found = Component.every.select_for_update(no_key=True).filter(component_id=component_id, deleted_at=None)
        row = found.first()
        if row is None:
            return ()
        signal = Signal.SUCCESS if answer.well else Signal.FAIL
        measured = Measured(answer.took_ms if answer.well else None, 1, int(not answer.well))
        return hear(row, signal=signal, at=clock(), reason=answer.code, measured=measured)

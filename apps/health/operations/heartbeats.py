"""What a module says of its components: signals, measures, and what was agreed. In its tenant's context.

The first to speak of a component is the one who speaks for it; another module's word on it is refused, so that nobody
can say of a broken connector that it is well. A component without a tenant is the platform's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db import IntegrityError, connection, transaction

from apps.core.database import clock
from apps.core.ids import uuid7
from apps.health.lifecycle import Signal
from apps.health.models import PLATFORM, Component
from apps.health.operations.standing import Measured, hear

MOST_OF_A_TENANT = 1000
DEFAULTS: dict[str, Any] = {"interval_s": 60.0, "grace_s": 30.0, "failure_threshold": 3, "success_threshold": 1}
ALONE = "SELECT pg_advisory_xact_lock(hashtextextended('health ' || coalesce(%s, ''), 0))"


class NotYoursError(Exception):
    """Another module speaks for this component."""


class ReservedError(Exception):
    """The plane's own parts report by themselves."""


class TooManyComponentsError(Exception):
    """The tenant has as many components as a tenant may have."""


@dataclass(frozen=True, kw_only=True)
class Beat:
    """A module's word on a component. `terms`: columns of what was agreed, those it says; the others stay."""

    module: str
    component: str
    tenant_id: str | None
    region: str
    said_by: str
    signal: Signal = Signal.SUCCESS
    reason: str = ""
    run_id: str | None = None
    latency_ms: float | None = None
    checks: int | None = None
    errors: int | None = None
    version: str | None = None
    terms: Mapping[str, Any] | None = None


def report(beat: Beat) -> Component:
    """Write a signal and return its component.

    Raises `NotYoursError`, `ReservedError`, `TooManyComponentsError`. Inside a transaction.
    """
    if beat.module == PLATFORM:
        raise ReservedError
    row = _locked(beat) or _declared(beat)
    if row.declared_by != beat.said_by and not row.declared_by.startswith("operator:"):
        raise NotYoursError
    at = clock()
    more: dict[str, Any] = {}
    if beat.terms and not row.declared_by.startswith("operator:"):  # what an operator agreed, an operator changes
        more |= beat.terms
        for name, value in beat.terms.items():
            setattr(row, name, value)
    if row.deleted_at is not None:
        more["deleted_at"] = None
    if beat.version is not None:
        more["version"] = beat.version
    latency_ms = beat.latency_ms
    if beat.signal is Signal.START:
        more |= {"run_id": beat.run_id, "run_started_at": at}
    elif beat.run_id is not None and beat.run_id == row.run_id and row.run_started_at is not None:
        latency_ms = latency_ms if latency_ms is not None else (at - row.run_started_at).total_seconds() * 1000
        more |= {"run_id": None, "run_started_at": None}
    hear(row, signal=beat.signal, at=at, reason=beat.reason, measured=_measured(beat, latency_ms=latency_ms), more=more)
    return row


def _measured(beat: Beat, *, latency_ms: float | None) -> Measured | None:
    if beat.signal is Signal.START:
        return None
    if beat.checks is not None:
        return Measured(latency_ms, beat.checks, beat.errors or 0)
    return Measured(latency_ms, 1, int(beat.signal is Signal.FAIL))


def _locked(beat: Beat) -> Component | None:
    found = Component.every.select_for_update(no_key=True).filter(
        tenant_id=beat.tenant_id, module=beat.module, component=beat.component
    )
    return found.first()


def _declared(beat: Beat) -> Component:
    """Register a component at its first word; of two that come first at once, the second finds the first's."""
    with connection.cursor() as cursor:
        cursor.execute(ALONE, [beat.tenant_id])
    if Component.every.filter(tenant_id=beat.tenant_id, deleted_at=None).count() >= MOST_OF_A_TENANT:
        raise TooManyComponentsError
    made = Component(
        component_id=uuid7(),
        tenant_id=beat.tenant_id,
        module=beat.module,
        component=beat.component,
        region=beat.region,
        declared_by=beat.said_by,
        **{**DEFAULTS, **(beat.terms or {})},
    )
    try:
        with transaction.atomic():
            Component.every.bulk_create([made])
    except IntegrityError:  # the lock above is this tenant's, so only an operator's row can have come between
        found = _locked(beat)
        if found is None:
            raise
        return found
    row = _locked(beat)
    if row is None:
        raise LookupError("the component that was just registered is not there")
    return row

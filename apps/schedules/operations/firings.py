"""Events become firings, and firings jobs: the event log's follower for triggers. For the submitter.

The firings of a batch of events are written by the transaction that moves the follower past them: killed anywhere, it
finds neither or both. A firing is unique by trigger and event, and settled in the transaction that submits its job.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from apps.core.database import clock
from apps.core.ids import uuid7
from apps.events import operations as event_log
from apps.events import queries as events
from apps.events.models import Event
from apps.jobs.models import Job
from apps.schedules import matching
from apps.schedules.models import Firing, Trigger
from apps.schedules.operations.submitting import Came, submit_template

CONSUMER = "triggers"
BATCH = 200
WAITING = """
SELECT firing_id, tenant_id FROM trigger_firings WHERE state = 'waiting' ORDER BY created_at LIMIT 200
"""
# How long the chain is that led to a job: the firing that made it, or one of those it is part of.
DEPTH = """
WITH RECURSIVE line AS (
    SELECT job_id, parent_id, 1 AS step FROM jobs WHERE job_id = %(job)s AND tenant_id = %(tenant)s
    UNION ALL
    SELECT j.job_id, j.parent_id, line.step + 1 FROM line JOIN jobs j ON j.job_id = line.parent_id WHERE line.step < 16
)
SELECT coalesce(max(f.depth), 0) FROM line JOIN trigger_firings f ON f.job_id = line.job_id
"""


def follow() -> tuple[int, bool]:
    """Write the firings of the next events; return how many events there were, and whether anybody listens.

    Across tenants. With no trigger there is nothing to read: the follower then keeps up with the log's head.
    """
    with transaction.atomic():
        head = events.head()
        triggers = list(Trigger.every.filter(deleted_at=None, enabled=True))
        position = events.position_of(consumer=CONSUMER)
        if not triggers:
            if head > position:
                event_log.advance(consumer=CONSUMER, position=head)
            return 0, False
        found = events.after(position=position, limit=BATCH)
        if not found:
            return 0, True
        firings = [made for event in found for made in _met(event, triggers=triggers)]
        Firing.every.bulk_create(firings, ignore_conflicts=True)
        event_log.advance(consumer=CONSUMER, position=found[-1].sequence or position)
    return len(found), True


def waiting_now() -> Sequence[tuple[UUID, str]]:
    """Return (firing, tenant) of what is to be settled. Across tenants."""
    with connection.cursor() as cursor:
        cursor.execute(WAITING)
        return [(each, tenant_id) for each, tenant_id in cursor.fetchall()]


def settle(firing_id: UUID) -> bool:
    """Submit the firing's job, or say why there is none; return whether it is settled. In its tenant's context."""
    firing = Firing.objects.select_for_update(skip_locked=True).filter(firing_id=firing_id, state="waiting").first()
    if firing is None:
        return False
    trigger = Trigger.objects.get(trigger_id=firing.trigger_id)
    came = Came("skipped", "trigger_deleted", None)
    if trigger.deleted_at is None:
        came = submit_template(firing.job or {}, tenant_id=firing.tenant_id, owner=trigger.owner, trigger="event")
    settled = {"state": came.state, "reason_code": came.reason_code, "job_id": came.job_id, "settled_at": clock()}
    Firing.objects.filter(firing_id=firing_id, state="waiting").update(**settled)
    return True


def _met(event: Event, *, triggers: Sequence[Trigger]) -> list[Firing]:
    """Return the firings of one event: of its own tenant's triggers, made before it happened."""
    mine = [
        each
        for each in triggers
        if each.tenant_id == event.tenant_id
        and each.created_at <= event.occurred_at
        and matching.type_fits(each.event_type, event.type)
    ]
    if not mine:
        return []
    about = {"subject": event.subject, "data": event.data, "job": _job_of(event)}
    mine = [each for each in mine if matching.fits(each.conditions, about)]
    depth = _depth(event) + 1 if mine else 0
    return [_firing(event, trigger=each, depth=depth) for each in mine]


def _firing(event: Event, *, trigger: Trigger, depth: int) -> Firing:
    facts = {
        "id": str(event.event_id),
        "type": event.type,
        "subject": event.subject,
        "time": event.occurred_at.isoformat().replace("+00:00", "Z"),
        "data": event.data,
    }
    reason: str | None = None
    job: dict[str, Any] | None = None
    if depth > matching.MAX_DEPTH:
        reason = "trigger_chain_too_long"
    else:
        try:
            job = matching.filled(trigger.job, event=facts)
        except matching.UnresolvedError:
            reason = "placeholder_unresolved"
    return Firing(
        firing_id=uuid7(),
        trigger_id=trigger.trigger_id,
        tenant_id=trigger.tenant_id,
        event_id=event.event_id,
        event_type=event.type,
        event_subject=event.subject,
        job=job,
        depth=depth,
        state="refused" if reason else "waiting",
        reason_code=reason,
        settled_at=clock() if reason else None,
    )


def _job_id(event: Event) -> UUID | None:
    return UUID(event.subject) if event.type.startswith("operations.job.") else None


def _job_of(event: Event) -> dict[str, Any]:
    job_id = _job_id(event)
    job = None if job_id is None else Job.every.filter(job_id=job_id, tenant_id=event.tenant_id).first()
    if job is None:
        return {}
    return {
        "type": job.type,
        "contract": job.contract,
        "environment": job.environment_id,
        "trigger": job.trigger,
        "submitted_by": job.submitted_by,
        "parent_id": str(job.parent_id) if job.parent_id else None,
    }


def _depth(event: Event) -> int:
    job_id = _job_id(event)
    if job_id is None:
        return 0
    with connection.cursor() as cursor:
        cursor.execute(DEPTH, {"job": job_id, "tenant": event.tenant_id})
        return int((cursor.fetchone() or (0,))[0])

"""What is told about others' events: jobs that failed for good, components that fall and rise, migrations that stop.

Idempotent by event.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from apps.events.models import Event
from apps.jobs.fingerprint import dedup_key, of_failure
from apps.jobs.lifecycle import Priority
from apps.jobs.models import Job
from apps.migrations import events as migration_events
from apps.migrations import news
from apps.migrations.models import Migration
from apps.migrations.news import Meaning
from apps.migrations.operations.step_jobs import JOB_TYPE as MIGRATION_STEP
from apps.notifications.lifecycle import Action, Category, Classification, Severity
from apps.notifications.operations import notify

BY = "notifications"
HEALTH = "health"
MIGRATIONS = "migrations"
OF_JOB = ("tenant", "type", "priority", "parent", "error", "reason_code")
# What a component's status is worth waking somebody for.
OF_STATUS = {"down": Severity.CRITICAL, "degraded": Severity.WARNING, "unknown": Severity.WARNING}


def on_job_failed(event: Event) -> None:
    """Raise an alert for a job that failed or timed out for good. A step of a plan raises none: its plan does.

    Nor does a step of a migration. Alike failures share a key, so that a thousand of them are one alert that was
    repeated.
    """
    if event.data.get("parent_id") or event.data.get("type") == MIGRATION_STEP:
        return
    job = Job.every.only(*OF_JOB).filter(job_id=UUID(event.subject)).first()
    if job is None or job.parent_id is not None:
        return
    reason = event.data.get("error_class") or event.data.get("reason_code") or event.data["status"]
    notify(
        tenant_id=job.tenant_id,
        action=Action.TRIGGER,
        severity=Severity.CRITICAL if job.priority == Priority.CRITICAL else Severity.ERROR,
        category=Category.ALERT,
        source="jobs",
        component=job.type,
        summary=f"{job.type} {event.data['status'].replace('_', ' ')} for good: {reason}",
        dedup_key=job_key(job),
        details={
            "job_id": str(job.job_id),
            "type": job.type,
            "status": event.data["status"],
            "attempt": event.data["attempt"],
            "error_class": event.data.get("error_class"),
            "reason_code": event.data.get("reason_code"),
        },
        links={"job": f"/operations/jobs/{job.job_id}"},
        by=BY,
        cause_event_id=event.event_id,
    )


def on_health_degraded(event: Event) -> None:
    """Raise an alert for a component that is not as it should be; what it depends on mutes it."""
    data = event.data
    muted_by = data.get("muted_by") or []
    where = f"{data['module']}/{data['component']}"
    notify(
        tenant_id=event.tenant_id,
        action=Action.TRIGGER,
        severity=OF_STATUS.get(data["status"], Severity.WARNING),
        category=Category.ALERT,
        source=data["module"],
        component=data["component"],
        group=HEALTH,
        summary=f"{where} is {data['status']}: {data.get('reason') or 'no reason given'}",
        dedup_key=health_key(data),
        details={
            "status": data["status"],
            "previous": data.get("previous"),
            "reason": data.get("reason"),
            **{f"affected_{name}": count for name, count in (data.get("affected") or {}).items()},
        },
        links={"component": f"/operations/health/{where}"},
        classification=_classification(data.get("classification")),
        inhibited_by=", ".join(muted_by)[:200] or None,
        by=BY,
        cause_event_id=event.event_id,
    )


def on_health_recovered(event: Event) -> None:
    """Resolve the alert of a component that is well again."""
    data = event.data
    notify(
        tenant_id=event.tenant_id,
        action=Action.RESOLVE,
        severity=Severity.INFO,
        category=Category.ALERT,
        source=data["module"],
        component=data["component"],
        summary="",
        dedup_key=health_key(data),
        by=BY,
        cause_event_id=event.event_id,
    )


def on_health_distrusted(event: Event) -> None:
    """Raise an alert when health does not trust its own ears: until it does, nobody else's alarm means anything."""
    notify(
        tenant_id=None,
        action=Action.TRIGGER,
        severity=Severity.CRITICAL,
        category=Category.ALERT,
        source=HEALTH,
        component="ingest",
        group=HEALTH,
        summary=f"Health does not trust its own ears: {event.data.get('reason') or 'no reason given'}",
        dedup_key="health:trust",
        details={"reason": event.data.get("reason")},
        by=BY,
        cause_event_id=event.event_id,
    )


def on_health_trusted(event: Event) -> None:
    """Resolve that alert."""
    notify(
        tenant_id=None,
        action=Action.RESOLVE,
        severity=Severity.INFO,
        category=Category.ALERT,
        source=HEALTH,
        component="ingest",
        summary="",
        dedup_key="health:trust",
        by=BY,
        cause_event_id=event.event_id,
    )


def on_migration_news(event: Event) -> None:
    """Raise an alert for a migration that stopped itself or asks for a person; resolve it once somebody saw to it."""
    meaning = news.meaning(event.type, event.data)
    if meaning in {Meaning.TROUBLE, Meaning.QUESTION}:
        severity = _severity(event, default=Severity.ERROR if meaning is Meaning.TROUBLE else Severity.WARNING)
        _about_migration(event, action=Action.TRIGGER, severity=severity)
    elif meaning is Meaning.NOT_BEGUN:
        _about_migration(event, action=Action.TRIGGER, severity=Severity.WARNING, category=Category.EVENT)
    elif meaning in {Meaning.GIVEN_UP, Meaning.GOES_ON, Meaning.WELL}:
        _about_migration(event, action=Action.RESOLVE, severity=Severity.INFO)


def on_migration_target(event: Event) -> None:
    """Tell a tenant of a failure at its own target; one on whose account the migration runs hears it of that.

    That a target was set aside when its turn came is told in any case: a migration goes on without it, and ends well.
    """
    if event.type == migration_events.TARGET_SET_ASIDE:
        _about_migration(event, action=Action.TRIGGER, severity=Severity.WARNING, category=Category.EVENT)
        return
    own = Migration.every.filter(id=UUID(event.data["migration_id"]), tenant_id=event.tenant_id).exists()
    if own:
        return
    failed = event.type == migration_events.TARGET_FAILED
    severity, action = (Severity.ERROR, Action.TRIGGER) if failed else (Severity.INFO, Action.RESOLVE)
    _about_migration(event, action=action, severity=severity)


def _about_migration(event: Event, *, action: Action, severity: Severity, category: Category = Category.ALERT) -> None:
    data = event.data
    counts = {name: data[name] for name in ("status", "wave", "step", "done", "total", "reason") if name in data}
    following = news.next_step(data)
    notify(
        tenant_id=event.tenant_id,
        action=action,
        severity=severity,
        category=category,
        source=data["module"],
        component=data["name"],
        group=MIGRATIONS,
        summary=news.sentence(event.type, data) if action is Action.TRIGGER else "",
        dedup_key=migration_key(data) if category is Category.ALERT else None,
        details={"migration_id": data["migration_id"], **counts, **({"next": following} if following else {})},
        links={"migration": f"/operations/migrations/{data['migration_id']}"},
        by=BY,
        cause_event_id=event.event_id,
    )


def migration_key(data: dict[str, Any]) -> str:
    """Return the key of a migration's alert: of each tenant there is at most one open."""
    return f"migration:{data['migration_id']}"


def _severity(event: Event, *, default: Severity) -> Severity:
    word = event.data.get("severity")
    return Severity(word) if word in list(Severity) else default


def job_key(job: Job) -> str:
    """Return the key of a failed job's alert: alike failures of a tenant share it."""
    return dedup_key(
        of_failure(tenant_id=job.tenant_id, job_type=job.type, error=job.error, reason_code=job.reason_code)
    )


def health_key(data: dict[str, Any]) -> str:
    """Return the key of a component's alert."""
    return f"health:{data['module']}/{data['component']}"[:255]


def _classification(word: Any) -> Classification:
    return Classification(word) if word in list(Classification) else Classification.INTERNAL

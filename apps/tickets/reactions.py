"""What tickets do about events: trouble that is told becomes a ticket, successes resolve, and tickets' news are told.

Each is called by the reactor in the order of the log, at least once, in a transaction of the control role across
tenants. Trouble is counted by its event's place in the log, so the same event again changes nothing.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import Q

from apps.events import queries as event_log
from apps.events.models import Event
from apps.events.reacting import interested
from apps.evidence.queries import leaf_of_record
from apps.jobs import queries as job_queries
from apps.jobs.events import FAILED
from apps.jobs.fingerprint import fingerprint, module_of, of_failure
from apps.migrations import events as migration_events
from apps.migrations import news
from apps.migrations.news import Meaning
from apps.migrations.operations.step_jobs import JOB_TYPE as MIGRATION_STEP
from apps.tickets import events, telling
from apps.tickets.lifecycle import Severity
from apps.tickets.models import Ticket
from apps.tickets.operations.opening import report
from apps.tickets.operations.settling import settled
from apps.tickets.operations.successes import awaited, concerned, succeeded
from apps.tickets.trouble import Trouble

MIGRATION = "migration"
# What of another event's data may stand in a ticket: words and counts that say what kind of trouble it is.
ABOUT = ("action", "component", "policy", "budget_per_hour", "category", "reason", "wave", "step")


def _wanted(position: int, upto: int) -> Q | None:
    """Want every failure, and of all successes those that some open ticket waits for, or one of this very window."""
    failed = event_log.told_of(FAILED, field="type", position=position, upto=upto)
    matter = failed | awaited()
    if not matter:
        return None
    tenants, types = {tenant for tenant, _ in matter}, {job_type for _, job_type in matter}
    return Q(type=FAILED) | Q(tenant_id__in=tenants, data__type__in=types)


@interested(_wanted)
def on_job_ended(event: Event) -> None:
    """Hear failures and successes as one follower, in the order of the log.

    Two would go at paces of their own, and successes would resolve what a failure between them, told late, reopens not.
    """
    (on_job_failed if event.type == FAILED else on_job_completed)(event)


def on_job_failed(event: Event) -> None:
    """Open a ticket about a job that failed for good, or count it.

    A plan's steps are their plan's trouble, a migration's are the migration's.
    """
    if event.data.get("parent_id") is not None or event.tenant_id is None or event.data["type"] == MIGRATION_STEP:
        return
    job_id = UUID(event.data["job_id"])
    job = job_queries.ended(job_id)
    error = (job.error if job else None) or {"class": event.data.get("error_class")}
    reason = event.data.get("reason_code")
    job_type = event.data["type"]
    told = {name: error.get(name) for name in ("class", "code", "message", "location") if error.get(name)}
    report(
        Trouble(
            tenant_id=event.tenant_id,
            module=module_of(job_type),
            issue=_issue(job_type, error=error, reason=reason, status=event.data["status"]),
            source="job",
            kind=job_type,
            fingerprint=of_failure(tenant_id=event.tenant_id, job_type=job_type, error=error, reason_code=reason),
            about={**told, "reason_code": reason, "status": event.data["status"]},
            job_id=job_id,
            sequence=event.sequence,
            at=event.occurred_at,
            links=[("event", str(event.event_id))],
        )
    )


def on_job_completed(event: Event) -> None:
    """Attach a job type's success to the tickets of its failures; the second one resolves them."""
    if event.data.get("parent_id") is not None or event.tenant_id is None:
        return
    sequence = event.sequence or 0
    tickets = concerned(tenant_id=event.tenant_id, job_type=event.data["type"], sequence=sequence)
    if not tickets:
        return
    job_id = UUID(event.data["job_id"])
    job = job_queries.ended(job_id)
    record_id = None if job is None else job.record_id
    leaf = None if record_id is None else leaf_of_record(record_id)
    for each in tickets:
        succeeded(each, job_id=job_id, record_id=record_id, leaf=leaf, sequence=sequence, at=event.occurred_at)


def on_recovery_exhausted(event: Event) -> None:
    """Open a ticket: a component was recovered as often as its budget allows, and is not well."""
    data = event.data
    module, component = str(data.get("module") or "platform"), str(data.get("component") or event.subject)
    issue = f"Recovery of {module}/{component} is over its budget"
    links = [("component", f"{module}/{component}")]
    _report(event, module=module, kind="health.recovery", about=component, issue=issue, source="recovery", links=links)


def on_alert_undelivered(event: Event) -> None:
    """Open a ticket: somebody should have been told and nobody was, by any route."""
    data = event.data
    module, component = str(data.get("source") or "platform"), str(data.get("component") or "")
    severity = data.get("severity")
    issue = f"An alert about {'/'.join(each for each in (module, component) if each)} reached nobody"
    links = [("notification", str(data.get("notification_id") or event.subject))]
    about = f"{component} {severity}"
    _report(event, module=module, kind="alert.undelivered", about=about, issue=issue, source="alert", links=links)


def on_migration_news(event: Event) -> None:
    """Open a ticket about a migration that stalls or stops itself, one for each; resolve it when all is well."""
    meaning = news.meaning(event.type, event.data)
    migration = str(event.data.get("migration_id") or event.subject)
    if meaning is Meaning.TROUBLE:
        module = str(event.data.get("module") or "migrations")
        issue = news.sentence(event.type, event.data)
        links = [("migration", migration)]
        _report(
            event, module=module, kind=MIGRATION, about=migration, issue=issue, source=MIGRATION, links=links,
            following=news.next_step(event.data),
        )  # fmt: skip
    elif meaning is Meaning.WELL:
        done = event.type == migration_events.COMPLETED
        said = "it completed" if done else "every target is back at its version"
        settled(source=MIGRATION, ref=migration, resolution=f"The migration is over: {said}.", sequence=event.sequence)


def on_ticket_news(event: Event) -> None:
    """Have those told whom a ticket's news concern."""
    ticket = Ticket.objects.filter(id=UUID(event.data["ticket_id"])).first()
    if ticket is None:
        return
    data, by, cause = event.data, str(event.data["by"]), event.event_id
    if event.type == events.ASSIGNED:
        telling.assigned(ticket, assignee=data.get("assignee"), team=data.get("team"), by=by, cause=cause)
    elif event.type == events.MENTIONED:
        telling.mentioned(ticket, people=data["people"], teams=data["teams"], by=by, cause=cause)
    elif event.type == events.ESCALATED:
        telling.escalated(ticket, reason=data["reason"], tells=data["tells"], number=data["number"], cause=cause)
    elif event.type == events.SLA_BREACHED:
        telling.breached(ticket, goal=data["goal"], cause=cause)
    elif event.type == events.ACKNOWLEDGED:
        telling.acknowledged(ticket, by=by, cause=cause)
    elif event.type == events.RESOLVED:
        telling.over(ticket, by=by, cause=cause)
    elif event.type == events.MERGED:
        telling.silenced(ticket, by=by, cause=cause)


def _report(
    event: Event,
    *,
    module: str,
    kind: str,
    about: str,
    issue: str,
    source: str,
    links: list[tuple[str, str]],
    following: str | None = None,
) -> None:
    """Report trouble that is no job's; `about` is what tells it from other trouble of the kind.

    `following`: what a person may do about it, in a sentence.
    """
    known = {name: event.data[name] for name in ABOUT if isinstance(event.data.get(name), str | int | float)}
    known |= {"next": following} if following else {}
    mark = fingerprint(tenant_id=event.tenant_id, module=module, kind=kind, error_class=about, message="")
    severity = str(event.data.get("severity"))
    report(
        Trouble(
            tenant_id=event.tenant_id,
            module=module,
            issue=issue,
            source=source,
            kind=kind,
            severity=Severity(severity) if severity in set(Severity) else Severity.ERROR,
            fingerprint=mark,
            about=known,
            sequence=event.sequence,
            at=event.occurred_at,
            links=[*links, ("event", str(event.event_id))],
        )
    )


def _issue(job_type: str, *, error: dict[str, Any], reason: str | None, status: str) -> str:
    """Return a failure in a line: the author's own sentence where there is one."""
    how = "timed out" if status == "timed_out" else "failed"
    short = str(error.get("class") or reason or "").rpartition(".")[2]
    said = error.get("message") or error.get("code") or reason or ""
    return f"{job_type} {how}: {': '.join(each for each in dict.fromkeys((short, str(said))) if each)}"

"""Every read of tickets that others may use, in the current context."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Q

from apps.core.clock import DatabaseClock
from apps.jobs import queries as job_queries
from apps.jobs.fingerprint import of_failure
from apps.jobs.models import Job, Process
from apps.tickets import diff
from apps.tickets.entries import Entry, Kind
from apps.tickets.escalation import Chain
from apps.tickets.lifecycle import OPEN_STATES, State
from apps.tickets.models import OPEN, Link, Ticket, Watcher
from apps.tickets.models import Entry as EntryRow
from apps.tickets.sla import Clock, Policy, clocks
from apps.tickets.timers import Standing

MOST_ENTRIES = 500


@dataclass(frozen=True, kw_only=True)
class Filters:
    """Which tickets; None is all. `open`: those that still owe somebody something, or those that do not.

    `tenant_id` is for whoever reads across tenants.
    """

    tenant_id: str | None = None
    before: UUID | None = None
    status: str | None = None
    open: bool | None = None
    module: str | None = None
    severity: str | None = None
    source: str | None = None
    kind: str | None = None
    assignee: str | None = None
    team: str | None = None
    fingerprint: str | None = None
    job_id: UUID | None = None

    def conditions(self) -> dict[str, Any]:
        """Return the filters that are set, as lookups."""
        lookups = {
            "tenant_id": self.tenant_id,
            "id__lt": self.before,
            "status": self.status,
            "module": self.module,
            "severity": self.severity,
            "source": self.source,
            "kind": self.kind,
            "assignee": self.assignee,
            "team_id": self.team,
            "fingerprint": self.fingerprint,
        }
        return {name: value for name, value in lookups.items() if value is not None}


def page(filters: Filters, *, limit: int) -> list[Ticket]:
    """Return the newest tickets that pass `filters`."""
    rows = Ticket.objects.filter(**filters.conditions())
    if filters.open is not None:
        rows = rows.filter(status__in=OPEN) if filters.open else rows.exclude(status__in=OPEN)
    if filters.job_id is not None:
        rows = rows.filter(_about_job(filters.job_id))
    return list(rows.order_by("-id")[:limit])


def _about_job(job_id: UUID) -> Q:
    """Return what holds of tickets about a job: they name it, or count it among so many that they name no more."""
    linked = Link.objects.filter(kind="job", ref=str(job_id)).values("ticket_id")
    job = job_queries.ended(job_id)
    if job is None or job.error is None or job.ended_at is None:
        return Q(id__in=linked)
    mark = of_failure(tenant_id=job.tenant_id, job_type=job.type, error=job.error, reason_code=job.reason_code)
    # Of tickets about the same, one after the other: the first that has seen it since. The reactor may have been late.
    counted = Ticket.objects.filter(fingerprint=mark, last_seen_at__gte=job.ended_at).order_by("id").values("id")[:1]
    return Q(id__in=linked) | Q(id__in=counted)


def one(ticket_id: UUID, *, tenant_id: str) -> Ticket | None:
    """Return the tenant's ticket; None where there is none of this id, or it is another's."""
    return Ticket.objects.filter(id=ticket_id, tenant_id=tenant_id).first()


def entries_of(ticket: Ticket) -> list[EntryRow]:
    """Return a ticket's log, oldest first; of a very long one the last 500 entries."""
    return list(EntryRow.objects.filter(ticket_id=ticket.id).order_by("-id")[:MOST_ENTRIES])[::-1]


def links_of(ticket: Ticket) -> list[Link]:
    """Return what else a ticket is about, in the order in which it was said."""
    return list(Link.objects.filter(ticket_id=ticket.id).order_by("id"))


def watchers_of(ticket: Ticket) -> list[str]:
    """Return who is told of what becomes of a ticket."""
    return list(Watcher.objects.filter(ticket_id=ticket.id).order_by("id").values_list("person", flat=True))


def merged_into(ticket: Ticket) -> list[UUID]:
    """Return the tickets that point to this one, newest first."""
    return list(Ticket.objects.filter(merged_into_id=ticket.id).order_by("-id").values_list("id", flat=True)[:200])


def children_of(ticket: Ticket) -> list[UUID]:
    """Return the tickets of a storm, newest first."""
    return list(Ticket.objects.filter(parent_id=ticket.id).order_by("-id").values_list("id", flat=True)[:200])


def log_of(ticket: Ticket) -> list[Entry]:
    """Return the whole log as decisions read it."""
    rows = EntryRow.objects.filter(ticket_id=ticket.id).order_by("id")
    return [Entry(kind=Kind(row.kind), at=row.at, by=row.by, data=row.data) for row in rows]


def policy_of(ticket: Ticket) -> Policy:
    """Return what is promised about a ticket, as it was when it was opened."""
    return Policy.read(ticket.promise)


def clocks_of(ticket: Ticket, *, now: datetime | None = None) -> list[Clock]:
    """Return the cycles of a ticket's clocks as they stand at `now`, the database's time if it is left out."""
    at = now or DatabaseClock.ask(connection).now()
    return clocks(log_of(ticket), policy=policy_of(ticket), now=at)


def standing_of(ticket: Ticket) -> Standing:
    """Return what the timers ask of a ticket."""
    parent = None if ticket.parent_id is None else Ticket.objects.filter(id=ticket.parent_id).first()
    return Standing(
        state=State(ticket.status),
        entries=log_of(ticket),
        policy=policy_of(ticket),
        chain=Chain.read(**ticket.chain) if ticket.chain else Chain(),
        resolved_at=ticket.resolved_at,
        quiet=parent is not None and State(parent.status) in OPEN_STATES,
    )


@dataclass(frozen=True, kw_only=True)
class Compared:
    """The first bad run beside the last good one. `good` None: there was none to compare with."""

    bad: diff.Run
    good: diff.Run | None
    changes: Sequence[diff.Change]
    same: Sequence[str]


def compared(ticket: Ticket) -> Compared | None:
    """Return what was different when a job's ticket began; None for what is no job's, or whose job is gone."""
    job = None if ticket.first_job_id is None else Job.objects.filter(job_id=ticket.first_job_id).first()
    if job is None:
        return None
    bad = _run(job)
    before = job_queries.last_good(job)
    if before is None:
        return Compared(bad=bad, good=None, changes=[], same=[])
    good = _run(before)
    return Compared(bad=bad, good=good, changes=diff.between(good=good, bad=bad), same=diff.same(good=good, bad=bad))


def _run(job: Job) -> diff.Run:
    decided = job_queries.decisions_of([job.job_id]).get(job.job_id, {})
    worker = None if job.worker_id is None else Process.objects.filter(process_id=job.worker_id).first()
    artifacts = (job.result or {}).get("artifacts", [])
    return diff.Run(
        job_id=str(job.job_id),
        finished_at=None if job.finished_at is None else job.finished_at.isoformat().replace("+00:00", "Z"),
        params=job.params,
        contract=job.contract,
        contract_digest=job.contract_digest,
        environment=job.environment_id,
        region=job.region,
        worker=None if worker is None else f"{worker.name}, process {worker.process_id}",
        version=getattr(worker, "version", None),
        policies={point: each.policy_revision for point, each in sorted(decided.items())},
        inputs=job_queries.inputs_of(job),
        outputs={str(each.get("name")): each.get("digest") for each in artifacts},
    )

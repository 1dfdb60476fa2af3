"""The evidence of a resolution: who said that it is over, on what grounds, and a digest of the whole log until then.

A record of the tenant's own evidence log, appended by the statement that resolves the ticket. What is the platform's
own has no such log: there the ticket's log is all there is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from apps.core.digests import digest_of
from apps.evidence.models import Predicate
from apps.evidence.statements import Statement, statement
from apps.tenancy.queries import region_of
from apps.tickets.models import Entry, Ticket

KIND = "ticket"


def resolution(
    ticket: Ticket, *, resolution: str, by: str, successes: Sequence[Mapping[str, Any]] = ()
) -> tuple[Statement, str, int] | None:
    """Return the statement that `ticket` is resolved, its region and its fence; None for the platform's own.

    The fence is the version that the resolution makes, so that another one after a reopening is another record. What
    people wrote is in it by its digest alone: evidence holds nobody's sentences.
    """
    region = None if ticket.tenant_id is None else region_of(ticket.tenant_id)
    if region is None:
        return None
    log = _log_of(ticket)
    body = {
        "tenant": ticket.tenant_id,
        "region": region,
        "module": ticket.module,
        "source": ticket.source,
        "kind": ticket.kind,
        "severity": ticket.severity,
        "fingerprint": ticket.fingerprint,
        "occurrences": ticket.occurrences,
        "opened_at": ticket.opened_at.isoformat(),
        "outcome": "resolved",
        "resolved_by": by,
        "resolution_digest": digest_of(resolution),
        "first_job": str(ticket.first_job_id) if ticket.first_job_id else None,
        "last_job": str(ticket.last_job_id) if ticket.last_job_id else None,
        "successes": [dict(each) for each in successes],
        "log": {"entries": len(log), "digest": digest_of(log)},
    }
    made = statement(
        predicate=Predicate.OUTCOME,
        kind=KIND,
        subject_id=str(ticket.id),
        subject_digest=digest_of({"id": str(ticket.id), "module": ticket.module, "issue": ticket.issue}),
        body=body,
    )
    return made, region, ticket.version + 1


def log_digest(ticket: Ticket, *, entries: int) -> str:
    """Return the digest of a ticket's first `entries` entries, as a resolution's evidence holds it: to compare."""
    return digest_of(_log_of(ticket)[:entries])


def _log_of(ticket: Ticket) -> list[dict[str, Any]]:
    rows = Entry.objects.filter(ticket_id=ticket.id).order_by("id")
    return [{"kind": row.kind, "at": row.at.isoformat(), "by": row.by, "data": row.data} for row in rows]

"""One alert's page and one ticket's: what is wrong, who was told, who is at it, and what was different this time."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse

from apps.console import beside, parts, telling
from apps.console.visits import Visit, not_there, tenants_page
from apps.notifications import queries as notifications
from apps.tickets import queries as tickets


@tenants_page
def alert(request: HttpRequest, visit: Visit, alert_id: UUID) -> HttpResponse:
    """Show an alert's page, or, for the page itself, the part that renews."""
    row = notifications.one(alert_id, tenant_id=visit.tenant_id)
    if row is None:
        return not_there(request, visitor=visit.visitor, visit=visit)
    context = {
        "visit": visit,
        "alert": row,
        "job_id": beside.job_of(row.details),
        "details": telling.flat(row.details) if row.details else [],
        "deliveries": notifications.deliveries_of(row.pk),
    }
    return _paged(request, visit, name="alert", key=row.pk, title=row.summary, context=context, over=row.resolved)


@tenants_page
def ticket(request: HttpRequest, visit: Visit, ticket_id: UUID) -> HttpResponse:
    """Show a ticket's page, or, for the page itself, the part that renews."""
    row = tickets.one(ticket_id, tenant_id=visit.tenant_id)
    if row is None:
        return not_there(request, visitor=visit.visitor, visit=visit)
    compared = tickets.compared(row)
    context = {
        "visit": visit,
        "ticket": row,
        "about": telling.flat(row.about) if row.about else [],
        "entries": [(each, telling.entry(each.kind, each.data, by=each.by)) for each in tickets.entries_of(row)],
        "clocks": tickets.clocks_of(row),
        "compared": compared,
        "over": row.status in {"resolved", "closed"},  # one that came back is resolved no more
    }
    over = row.status == "closed"
    return _paged(request, visit, name="ticket", key=row.pk, title=row.issue, context=context, over=over)


def _paged(
    request: HttpRequest, visit: Visit, *, name: str, key: UUID, title: str, context: dict[str, Any], over: bool
) -> HttpResponse:
    """Answer with the part `name`, alone where it asks for itself, else on its page."""
    address = reverse(f"console:{name}", args=[visit.tenant_id, key])
    part = parts.part(
        request, name=name, template=f"console/{name}.html", context=context, address=address, renews=not over
    )
    if parts.is_renewal(request):
        return parts.answered(request, part)
    whole = {"visit": visit, "visitor": visit.visitor, "part": part, "title": title}
    return render(request, "console/trouble.html", whole)

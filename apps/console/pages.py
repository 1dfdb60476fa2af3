"""A tenant's page: its job history, and beside it what is wrong and who is at it."""

from __future__ import annotations

from dataclasses import replace
from http import HTTPStatus
from typing import Any, Final

from django.db import connection
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse

from apps.console import asking, parts
from apps.console import beside as beside_panels
from apps.console.asking import Asked
from apps.console.visits import Visit, Visitor, is_fragment, persons_page, tenants_page
from apps.core.clock import DatabaseClock
from apps.jobs import glances, queries
from apps.jobs.lifecycle import State
from apps.jobs.types import REGISTRY

PAGE: Final = 40
# A row shows none of them, and each may be 16 KiB.
HEAVY: Final = ("params", "result", "obligations", "plan", "retry", "progress")


@persons_page
def home(request: HttpRequest, visitor: Visitor) -> HttpResponse:
    """Lead to one's tenant; who has several chooses, who has none is told what to do about it."""
    if len(visitor.seats) == 1 and not visitor.is_operator:
        return HttpResponseRedirect(reverse("console:overview", args=[visitor.seats[0].tenant_id]))
    status = HTTPStatus.OK if visitor.seats else HTTPStatus.FORBIDDEN
    return render(request, "console/home.html", {"visitor": visitor}, status=status)


@tenants_page
def overview(request: HttpRequest, visit: Visit) -> HttpResponse:
    """Show the whole page."""
    asked = asking.read(request.GET, types=_types())
    context = {
        "visit": visit,
        "visitor": visit.visitor,
        "asked": asked,
        "types": _types(),
        "statuses": asking.STATUSES,
        "spans": [(key, words) for key, (words, _) in asking.SPANS.items()],
        "history": _history(request, visit, asked),
        "beside": _beside(request, visit),
    }
    return render(request, "console/overview.html", context)


@tenants_page
def history(request: HttpRequest, visit: Visit) -> HttpResponse:
    """Show the history alone: as it is now, or as a person asked for it. Opened by itself it is the whole page."""
    asked = asking.read(request.GET, types=_types())
    if not is_fragment(request):
        return HttpResponseRedirect(_address("overview", visit, asked))
    answer = parts.answered(request, _history(request, visit, asked))
    if not parts.is_renewal(request):
        answer.headers["HX-Push-Url"] = _address("overview", visit, asked)
    return answer


@tenants_page
def beside(request: HttpRequest, visit: Visit) -> HttpResponse:
    """Show what stands beside the history alone."""
    return parts.answered(request, _beside(request, visit))


def _history(request: HttpRequest, visit: Visit, asked: Asked) -> dict[str, Any]:
    """Return the history's part: one page of jobs, newest first, and where the tenant's newest jobs stand."""
    now = DatabaseClock.ask(connection).now()
    filters = asked.filters(tenant_id=visit.tenant_id, now=now)
    jobs = queries.page(filters, limit=PAGE + 1, without=HEAVY)
    shown = jobs[:PAGE]
    older = replace(asked, before=str(shown[-1].job_id)) if len(jobs) > PAGE else None
    standing = _standing(visit)
    context = {
        "visit": visit,
        "asked": asked,
        "jobs": [(job, glances.ran(job)) for job in shown],
        "standing": standing,
        "counted": sum(count for _, count in standing),
        "stretch": glances.STRETCH,
        "older": older and _address("overview", visit, older),
        "newest": asked.before and _address("overview", visit, replace(asked, before="")),
    }
    return parts.part(
        request,
        name="history",
        template="console/history.html",
        context=context,
        address=reverse("console:history", args=[visit.tenant_id]),
        query=asked.query(),
        renews=not asked.before,
    )


def _standing(visit: Visit) -> list[tuple[str, int]]:
    """Return (status, count) of the tenant's newest jobs, in the order of a job's life."""
    counts = glances.standing(tenant_id=visit.tenant_id)
    return [(state.value, counts[state.value]) for state in State if counts.get(state.value)]


def _beside(request: HttpRequest, visit: Visit) -> dict[str, Any]:
    """Return the part beside the history: alerts, tickets, and the health of what the tenant uses."""
    return parts.part(
        request,
        name="beside",
        template="console/beside.html",
        context={
            "visit": visit,
            "alerts": beside_panels.alerts(visit),
            "tickets": beside_panels.tickets(visit),
            "health": beside_panels.health(visit),
        },
        address=reverse("console:beside", args=[visit.tenant_id]),
    )


def _address(name: str, visit: Visit, asked: Asked) -> str:
    query = asking.encoded(asked)
    return reverse(f"console:{name}", args=[visit.tenant_id]) + (f"?{query}" if query else "")


def _types() -> list[str]:
    """Return the installed types; asking the table for its types would read all of it."""
    return sorted(each.name for each in REGISTRY)

"""One job's page: how it stands and why, its story, what was recovered from, its proof, its log as it is written."""

from __future__ import annotations

import json
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, Final
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse

from apps.console import beside, parts, telling
from apps.console.visits import Visit, not_there, tenants_page
from apps.evidence import keys, receipts
from apps.evidence.logs import Log
from apps.evidence.queries import Verdict, examine, states_of
from apps.jobs import glances, parsing, queries, representation
from apps.jobs.models import Job
from apps.jobs.queries import LogLine
from apps.jobs.types import REGISTRY
from apps.jobs.why import explain

MOST_ATTEMPTS: Final = 50
LINES: Final = 500
LINES_AT_FIRST: Final = 200


@tenants_page
def job(request: HttpRequest, visit: Visit, job_id: UUID) -> HttpResponse:
    """Show the whole page of a job."""
    row = glances.one(tenant_id=visit.tenant_id, job_id=job_id)
    if row is None:
        return not_there(request, visitor=visit.visitor, visit=visit)
    from_start = request.GET.get("log") == "whole"
    after = (0, 0) if from_start else glances.position_before_last(job_id=row.job_id, lines=LINES_AT_FIRST)
    context = {
        "visit": visit,
        "visitor": visit.visitor,
        "job": row,
        "story": _story(request, visit, row),
        "log": _log(visit, row, after=after),
        "is_cut": after != (0, 0),
    }
    return render(request, "console/job.html", context)


@tenants_page
def story(request: HttpRequest, visit: Visit, job_id: UUID) -> HttpResponse:
    """Show how the job stands now."""
    row = glances.one(tenant_id=visit.tenant_id, job_id=job_id)
    if row is None:
        return not_there(request, visitor=visit.visitor, visit=visit)
    return parts.answered(request, _story(request, visit, row))


@tenants_page
def log(request: HttpRequest, visit: Visit, job_id: UUID) -> HttpResponse:
    """Show the log's lines after a position, and where the next are asked for."""
    row = glances.one(tenant_id=visit.tenant_id, job_id=job_id)
    if row is None:
        return not_there(request, visitor=visit.visitor, visit=visit)
    after = parsing.position(request.GET.get("after"))
    found = _log(visit, row, after=after)
    if found["live"] and not found["lines"]:
        return HttpResponse(status=HTTPStatus.NO_CONTENT)
    return render(request, "console/log_lines.html", {"visit": visit, "log": found})


@tenants_page
def receipt(request: HttpRequest, visit: Visit, job_id: UUID) -> HttpResponse:
    """Hand out the job's receipt, as the file that docs/verify_evidence.py checks."""
    row = glances.one(tenant_id=visit.tenant_id, job_id=job_id)
    if row is None:
        return not_there(request, visitor=visit.visitor, visit=visit)
    document = receipts.receipt(subject_id=str(row.job_id), log=Log(row.tenant_id, row.region), ring=keys.ring())
    return HttpResponse(
        json.dumps(document, indent=1) + "\n",
        content_type="application/json",
        headers={"Content-Disposition": f'attachment; filename="receipt-{row.job_id}.json"'},
    )


def _story(request: HttpRequest, visit: Visit, row: Job) -> dict[str, Any]:
    """Return the part that tells of the job; it renews itself until nothing can change any more but its log."""
    attempts = glances.last_attempts(job_id=row.job_id, limit=MOST_ATTEMPTS)
    by_hand = glances.done_by_hand(tenant_id=visit.tenant_id, job_id=row.job_id)
    decisions = queries.every_decision_of(row.job_id)
    verdicts = examine(subject_id=str(row.job_id))
    over = row.outcome is not None
    emitted = _emitted(row)
    why = explain(row, keep_forecast=False)
    context = {
        "visit": visit,
        "job": row,
        "why": why,
        "waited": telling.waited(why["waits"]["parts"]),
        "over": over,
        "error": row.error,
        "ran": glances.ran(row),
        "timeline": telling.timeline(
            representation.timeline(row, attempts=attempts, decisions=decisions), by_hand=by_hand
        ),
        "cut": max(0, row.fence - len(attempts)) if len(attempts) == MOST_ATTEMPTS else 0,
        "recoveries": telling.recoveries(attempts, over=over, by_hand=by_hand),
        "upstreams": queries.upstreams_of([row.job_id]).get(row.job_id, []),
        "evidence": _evidence(verdicts),
        "emitted": emitted,
        "tickets": beside.tickets_about(visit, row.job_id),
        "params": telling.flat(REGISTRY.shown(row.type, row.params)) if row.params else [],
        "progress": _progress(row),
    }
    sealed = all(verdict.number is not None for verdict in verdicts)
    return parts.part(
        request,
        name="story",
        template="console/story.html",
        context=context,
        address=reverse("console:story", args=[visit.tenant_id, row.job_id]),
        renews=not (over and sealed and emitted is not None and row.status != "pending_audit"),
    )


def _progress(row: Job) -> dict[str, Any] | None:
    """Return how far a running attempt says it is."""
    told = row.progress
    if row.status != "running" or not isinstance(told, dict) or "done" not in told:
        return None
    return {"done": told["done"], "total": told.get("total"), "message": told.get("message")}


def _evidence(verdicts: Iterable[Verdict]) -> dict[str, Any]:
    """Return the verdict on the job's records: touched, waiting for their seal, or whole."""
    found = list(verdicts)
    if not all(verdict.intact for verdict in found):
        standing = "touched"
    else:
        standing = "sealed" if found and all(verdict.number is not None for verdict in found) else "unsealed"
    return {"standing": standing if found else "none", "records": found}


def _emitted(row: Job) -> str | None:
    """Return what the sink calls the batch that brought it the job's outcome; None while it has not accepted one."""
    if row.evidence_id is None:
        return None
    _, ref = states_of([row.evidence_id]).get(row.evidence_id, ("pending", None))
    return ref


def _log(visit: Visit, row: Job, *, after: tuple[int, int]) -> dict[str, Any]:
    """Return the next lines and where the ones after them are asked for: by itself while the job is not over."""
    # The job was read before its lines: those of a job that is over are all there, if they fit.
    lines = queries.log_lines(job_id=row.job_id, after=after, limit=LINES)
    end = (lines[-1].fence, lines[-1].line) if lines else after
    more = len(lines) == LINES
    address = reverse("console:log", args=[visit.tenant_id, row.job_id])
    return {
        "lines": _marked(lines, before=after[0]),
        "again": f"{address}?after={end[0]}.{end[1]}",
        "more": more,
        "live": row.outcome is None,
    }


def _marked(lines: Iterable[LogLine], *, before: int) -> list[tuple[LogLine, bool]]:
    """Return the lines, each with whether another dispatch begins with it."""
    found, fence = [], before
    for line in lines:
        found.append((line, line.fence != fence))
        fence = line.fence
    return found

"""The admin's first page: what waits and runs now, how jobs ended lately, which pools are full, which processes beat.

Runs inside the operator's request. Reads through the apps' queries, each of them bounded; writes nothing.
"""

from __future__ import annotations

from typing import Any

from django.db import connection
from django.http import HttpRequest

from apps.core.admin.markup import badge, link, listing, mono, span
from apps.core.clock import DatabaseClock
from apps.events import queries as events
from apps.health import queries as health
from apps.health.models import Component
from apps.jobs import overview
from apps.jobs.admin.jobs import STATUS_COLOURS
from apps.jobs.admin.pools import LEASE_COLOURS, lease_state
from apps.jobs.admin.story import error_in_brief
from apps.jobs.models import Environment, Job, Process
from apps.migrations import standing as migrations
from apps.migrations.lifecycle import ACTIVE
from apps.migrations.models import Migration

FAILURES_SHOWN = 8


def fill(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Return the page's context with `now`, `lately`, `pools`, `processes` and `failures` in it (unfold's callback)."""
    if not request.user.has_perm("jobs.view_job"):
        return context
    return {
        **context,
        "title": "Overview",
        "plane": {
            "now": _now(),
            "lately": _lately(),
            "pools": _pools(),
            "processes": _processes(),
            "failures": _failures(),
            "stretch": overview.STRETCH,
        },
    }


def _now() -> list[dict[str, Any]]:
    """Return the figures at the top, in the order of a job's life, and the log's own backlog."""
    counts = overview.counts_now()
    tiles = [
        {"title": status, "figure": _bounded(counts[status]), "link": listing(Job, "show", status__exact=status)}
        for status in overview.LIVE
    ]
    unnumbered = events.unnumbered(most=overview.MOST + 1)
    ill = health.not_well()
    return [
        *tiles,
        {"title": "events to number", "figure": _bounded(unnumbered), "link": ""},
        {
            "title": "not well",
            "figure": _bounded(ill),
            "link": listing(Component, "show", status__in="degraded,down,unknown"),
        },
        {
            "title": "migrations under way",
            "figure": migrations.under_way(),
            "link": listing(Migration, "show", status__in=",".join(sorted(ACTIVE))),
        },
    ]


def _lately() -> list[dict[str, Any]]:
    """Return where the newest jobs stand, each status with its share in percent."""
    counts = overview.statuses_lately()
    total = sum(counts.values())
    return [
        {
            "status": listing(Job, status, status__exact=status),
            "badge": badge(status, STATUS_COLOURS.get(status, "default")),
            "colour": STATUS_COLOURS.get(status, "default"),
            "count": count,
            "share": round(100 * count / total, 1),
        }
        for status, count in counts.items()
    ]


def _pools() -> list[dict[str, Any]]:
    """Return the environments with how full each is."""
    return [
        {
            "name": link(Environment, pool.name),
            "held": pool.held,
            "slots": pool.slots,
            "share": min(100, round(100 * pool.held / pool.slots)) if pool.slots else 0,
            "waiting": _bounded(pool.waiting),
            "capacity": pool.capacity,
            "standing": _standing(pool),
        }
        for pool in overview.pools_now()
    ]


def _standing(pool: overview.PoolNow) -> Any:
    if pool.paused:
        return badge(f"paused: {pool.pause_reason or 'no reason given'}", "warning")
    return badge("open", "success") if pool.capacity else badge("no live worker", "danger")


def _processes() -> dict[str, Any]:
    """Return the table of processes."""
    rows = []
    for process in overview.processes_now():
        state = lease_state(state=process.state, left_s=process.left_s)
        rows.append(
            (
                link(Process, process.process_id, process.name),
                process.role,
                badge(state, LEASE_COLOURS.get(state, "default")),
                f"{span(process.beat_age_s)} ago",
                f"{process.host} · {process.pid}",
            )
        )
    return {"headers": ("Process", "Role", "State", "Last beat", "Where"), "rows": rows}


def _failures() -> dict[str, Any]:
    """Return the table of the last failures."""
    now = DatabaseClock.ask(connection).now()
    rows = [
        (
            link(Job, failure.job_id, str(failure.job_id)[-12:]),
            failure.type,
            failure.tenant_id,
            badge(failure.outcome, "danger"),
            mono(error_in_brief(failure.error)),
            f"{span(now - failure.finished_at)} ago",
        )
        for failure in overview.failures_lately(limit=FAILURES_SHOWN)
    ]
    return {"headers": ("Job", "Type", "Tenant", "Ended", "Error", "When"), "rows": rows}


def _bounded(count: int) -> str:
    return f"{overview.MOST}+" if count > overview.MOST else str(count)

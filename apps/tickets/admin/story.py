"""A ticket's story as an admin page tells it: tables made of its log, its clocks and what it is compared with."""

from __future__ import annotations

from typing import Any

from apps.core.admin.markup import badge, brief, link, mono, span
from apps.core.ids import BadIdError, parse_id
from apps.jobs.models import Job
from apps.tickets import queries
from apps.tickets.models import Entry, Ticket
from apps.tickets.sla import Clock

COLOURS = {
    "opened": "danger",
    "repeated": "warning",
    "severity_raised": "danger",
    "acknowledged": "info",
    "ack_expired": "warning",
    "started": "primary",
    "escalated": "warning",
    "escalation_ended": "danger",
    "response_breached": "danger",
    "resolution_breached": "danger",
    "succeeded": "success",
    "resolved": "success",
    "auto_resolved": "success",
    "reopened": "danger",
}


def story_of(ticket: Ticket) -> dict[str, Any]:
    """Return the tables of `ticket`'s page by name."""
    found = queries.compared(ticket)
    return {
        "log": _table(
            ("At", "What", "Who", "Detail"),
            [
                (
                    f"{each.at:%Y-%m-%d %X}",
                    badge(each.kind, COLOURS.get(each.kind, "default")),
                    each.by,
                    brief(each.data),
                )
                for each in queries.entries_of(ticket)
            ],
        ),
        "clocks": _table(
            ("Goal", "Cycle", "Promised", "Used", "Left", "State", "Overdue at"),
            [_clock(each) for each in queries.clocks_of(ticket)],
        ),
        "changes": _table(
            ("Where", "Last good run", "First bad run"),
            [] if found is None else [(each.field, mono(each.good), mono(each.bad)) for each in found.changes],
        ),
        "runs": None if found is None else _runs(found),
        "refs": _table(("Kind", "Id"), [(each.kind, _ref(each.kind, each.ref)) for each in queries.links_of(ticket)]),
        "watchers": ", ".join(queries.watchers_of(ticket)),
        "related": [link(Ticket, each) for each in (*queries.merged_into(ticket), *queries.children_of(ticket))],
    }


def _line(entry: Entry) -> tuple[Any, ...]:
    what = badge(entry.kind, COLOURS.get(entry.kind, "default"))
    return f"{entry.at:%Y-%m-%d %X}", what, entry.by, brief(entry.data)


def _table(headers: tuple[str, ...], rows: list[tuple[Any, ...]]) -> dict[str, Any]:
    return {"headers": headers, "rows": rows}


def _clock(clock: Clock) -> tuple[Any, ...]:
    state = "stands still" if clock.paused else "runs" if clock.stopped_at is None else "stopped"
    left = span(clock.remaining_s) if clock.remaining_s >= 0 else f"{span(-clock.remaining_s)} over"
    return (
        clock.goal.value,
        clock.cycle,
        span(clock.goal_s),
        span(clock.elapsed_s),
        badge(left, "danger" if clock.breached else "success"),
        state,
        f"{clock.breach_at:%Y-%m-%d %X}" if clock.breach_at else "",
    )


def _runs(found: queries.Compared) -> dict[str, Any]:
    good = None if found.good is None else link(Job, found.good.job_id)
    return {"bad": link(Job, found.bad.job_id), "good": good, "same": ", ".join(found.same)}


def _ref(kind: str, ref: str) -> Any:
    """Return a reference, of a job the way to it. Callers say what they like: not all that is called a job is an id."""
    try:
        return link(Job, parse_id(ref)) if kind == "job" else mono(ref)
    except BadIdError:
        return mono(ref)

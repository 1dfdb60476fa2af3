"""A migration's story as its admin page tells it: tables of its plan, waves and targets, and who agreed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db import connection
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from apps.core.admin.markup import as_json, badge, bar, brief, link, listing, mono, span
from apps.core.clock import DatabaseClock
from apps.evidence.models import Record
from apps.jobs.models import Job
from apps.migrations import representation, standing
from apps.migrations.advice import what_next
from apps.migrations.lifecycle import OVER, State
from apps.migrations.models import Approval, Migration, Step, Target, Wave
from apps.tenancy.principals import ALL

TARGETS_SHOWN = 100
COLOURS = {
    "draft": "default",
    "awaiting_approval": "info",
    "running": "primary",
    "paused": "warning",
    "inconclusive": "warning",
    "aborting": "warning",
    "reverting": "warning",
    "reverted": "info",
    "succeeded": "success",
    "failed": "danger",
    "waiting": "default",
    "held": "warning",
    "baking": "primary",
    "passed": "success",
    "set_aside": "default",
    "verifying": "primary",
    "verifying_back": "warning",
    "upgraded": "success",
    "stuck": "danger",
    "pending": "default",
    "stopping": "warning",
    "done": "success",
    "succeed": "success",
    "fail": "danger",
}


def standing_badge(word: str | None) -> Any:
    """Return a state or a verdict as a badge; nothing of none."""
    return "" if word is None else badge(word, COLOURS.get(word, "default"))


def story_of(migration: Migration) -> dict[str, Any]:
    """Return the tables of a migration's page by name, in the operator's context."""
    crowd = standing.crowd(migration.id, seen=ALL, after=None, limit=TARGETS_SHOWN)
    plan = migration.plan or {}
    return {
        "live": migration.status not in OVER,
        "standing": standing_badge(migration.status),
        "times": _times(migration),
        "next": what_next(
            status=State(migration.status),
            reason=migration.reason_code,
            begun=migration.started_at is not None,
            contracting=migration.contract_begun_at is not None,
        ),
        "bar": bar(migration.progress, COLOURS[migration.status]),
        "percent": f"{100 * migration.progress:.0f}",
        "eta": _eta(migration),
        "evidence": link(Record, migration.evidence_ref) if migration.evidence_ref else None,
        "waves": _table(
            ("Wave", "State", "Targets", "Verdict", "What its gates saw", "Began", "Ended"),
            [
                _wave(each, targets=crowd.by_wave.get(each.number, Counter()))
                for each in Wave.objects.filter(migration_id=migration.id).order_by("number")
            ],
        ),
        "targets": _table(
            ("Target", "Wave", "State", "Steps", "Version", "Now at", "Why"),
            [_target(each, steps=crowd.steps.get(each.target_id, [])) for each in crowd.targets],
        ),
        "more_targets": listing(Target, "All targets", q=migration.id) if crowd.next else None,
        "set_aside": _table(
            ("Target", "Why", "Version", "What differs"),
            [
                (
                    link(Target, each.target_id, each.key),
                    _why(each.reason_code, each.reason),
                    each.version_before or "",
                    ", ".join(each.differs),
                )
                for each in crowd.set_aside
            ],
        ),
        "approvals": _table(
            ("Who", "When", "Note", "Plan"),
            [
                (each.approver, _at(each.at), each.note, mono(each.plan_checksum[:19]))
                for each in Approval.objects.filter(migration_id=migration.id).order_by("at")
            ],
        ),
        "plan": _plan(plan),
    }


def _plan(plan: Mapping[str, Any]) -> dict[str, Any]:
    rehearsal = plan.get("rehearsal") or {}
    rehearsed = [each for each in rehearsal.get("steps") or () if isinstance(each, Mapping)]
    return {
        "document": as_json(dict(plan) or None),
        "steps": _table(
            ("Step", "Phase", "Kind"),
            [(each.get("name"), each.get("phase"), each.get("kind")) for each in plan.get("steps") or ()],
        ),
        "rehearsal": _table(
            ("Step", "Direction", "Took", "Strongest locks"),
            [
                (each.get("name"), each.get("direction"), span(each.get("seconds") or 0), _locks(each.get("locks")))
                for each in rehearsed
            ],
        ),
        "came_back": rehearsal.get("came_back"),
        "problem": rehearsal.get("problem"),
        "on": rehearsal.get("on"),
        "estimate": _estimate(plan.get("estimate")),
        "reasons": [str(each) for each in plan.get("risk_reasons") or ()],
        "findings": [_finding(each) for each in plan.get("findings") or ()],
    }


def _finding(found: Any) -> str:
    """Return a warning as the linter prints it: where, which rule, what is wrong."""
    if not isinstance(found, Mapping):
        return str(found)
    where = ":".join(str(found[name]) for name in ("file", "line") if found.get(name))
    said = ": ".join(str(found[name]) for name in ("level", "rule", "message") if found.get(name))
    return f"{where} {said}".strip() or brief(dict(found))


def _estimate(found: Any) -> str | None:
    length = found.get("duration_s") if isinstance(found, Mapping) else None
    if not isinstance(length, Mapping):
        return None
    said = [(name, length.get(name)) for name in ("low", "likely", "high")]
    return " · ".join(f"{name} {span(value)}" for name, value in said if isinstance(value, int | float)) or None


def _locks(locks: Any) -> str:
    found = {str(each.get("mode")): each for each in locks or () if isinstance(each, Mapping)}
    return ", ".join(sorted(found))


def _eta(migration: Migration) -> str | None:
    eta = representation.eta_of(migration, now=DatabaseClock.ask(connection).now())
    return None if eta is None else span(eta)


def _wave(row: Wave, *, targets: Counter[str]) -> tuple[Any, ...]:
    up = targets["upgraded"] / targets.total() if targets.total() else 0.0
    words = _lines(f"{count} {state.replace('_', ' ')}" for state, count in sorted(targets.items()))
    return (
        row.number,
        standing_badge(row.state),
        format_html("{}{}", bar(up, "success"), words),
        standing_badge(row.verdict),
        _gates(row.facts),
        _at(row.started_at),
        _at(row.finished_at),
    )


def _gates(facts: Mapping[str, Any]) -> SafeString | str:
    """Return what each gate said and the figures it said it by, a line each; else what holds the wave back."""
    gates = facts.get("gates")
    if not isinstance(gates, Mapping):
        held = facts.get("held_by") or ()
        return f"held by {', '.join(map(str, held))}" if held else ""
    return format_html_join(
        "", '<div class="ops-row">{} <span>{}</span></div>', (_gate(*each) for each in gates.items())
    )


def _gate(name: str, said: Any) -> tuple[Any, str]:
    if not isinstance(said, Mapping):
        return "", f"{name} {_word(said)}"
    figures = [(word.replace("_", " "), value) for word, value in said.items() if word != "verdict" and value]
    text = ", ".join(f"{word}: {_word(value)}" for word, value in figures)
    return standing_badge(said.get("verdict")), f"{name.replace('_', ' ')}{f' ({text})' if text else ''}"


def _word(value: Any) -> str:
    if value is True:
        return "yes"
    return ", ".join(map(str, value)) if isinstance(value, list) else f"{value}"


def _times(migration: Migration) -> str:
    """Return in a line since when it runs, stands still or is over."""
    named = (("began", migration.started_at), ("stands still since", migration.stopped_at))
    said = [f"{name} {at:%Y-%m-%d %X}" for name, at in (*named, ("ended", migration.finished_at)) if at is not None]
    return " · ".join(said)


def _at(moment: datetime | None) -> SafeString | str:
    return "" if moment is None else format_html('<span class="ops-moment">{}</span>', f"{moment:%Y-%m-%d %X}")


def _target(row: Target, *, steps: Sequence[Step]) -> tuple[Any, ...]:
    version = " → ".join(each for each in (row.version_before, row.version_after) if each)
    failed = next((each.error for each in steps if each.state == "failed" and each.error), None)
    going = next((each for each in steps if each.state in {"running", "stopping", "failed"}), None)
    return (
        link(Target, row.target_id, row.key),
        row.wave,
        standing_badge(row.state),
        bar(part_done(steps), COLOURS.get(row.state, "primary")),
        version,
        "" if going is None else _now_at(going),
        _why(row.reason_code, row.reason or failed),
    )


def _why(code: str | None, sentence: str | None) -> str:
    return ": ".join(each for each in (code, sentence) if each)


def _now_at(step: Step) -> Any:
    how_far = f" {step.done} of {step.total or '?'}" if step.done is not None else ""
    text = f"{step.name}{how_far}"
    return text if step.job_id is None else link(Job, step.job_id, text)


def part_done(steps: Sequence[Step]) -> float:
    """Return how much of a target's steps is done, each step counting as one."""
    if not steps:
        return 0.0
    return sum(_part(each) for each in steps) / len(steps)


def _part(step: Step) -> float:
    if step.state == "done":
        return 1.0
    return min(1.0, step.done / step.total) if step.done and step.total and step.direction == "up" else 0.0


def _lines(words: Iterable[str]) -> SafeString:
    return format_html_join("", '<div class="ops-moment">{}</div>', ((word,) for word in words))


def _table(headers: tuple[str, ...], rows: Sequence[tuple[Any, ...]]) -> dict[str, Any]:
    return {"headers": headers, "rows": rows}

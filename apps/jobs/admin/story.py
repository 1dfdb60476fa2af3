"""A job's story as an admin page tells it: tables made of what is kept beside the job, each bounded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils.safestring import SafeString

from apps.core.admin.markup import badge, brief, link, log_lines, moment, mono
from apps.evidence.models import Record
from apps.evidence.queries import examine
from apps.jobs import representation
from apps.jobs.models import Attempt, Decision, Job, LogChunk

# A job that nobody claims gathers a dispatch every few seconds: its page shows the last of them.
MOST_ATTEMPTS = 50
MOST_CHUNKS = 20

WHAT_COLOURS = {
    "succeeded": "success",
    "failed": "danger",
    "timed_out": "danger",
    "worker_lost": "danger",
    "unclaimed": "warning",
    "unpublished": "warning",
    "finished_late": "warning",
    "started": "primary",
    "dispatched": "primary",
}


def story_of(job: Job) -> dict[str, Any]:
    """Return the tables of `job`'s page by name, `more_attempts` and `more_lines` telling what they leave out."""
    attempts = list(Attempt.objects.filter(job_id=job.job_id).order_by("-fence")[: MOST_ATTEMPTS + 1])
    kept = attempts[:MOST_ATTEMPTS][::-1]
    decisions = list(Decision.objects.filter(job_id=job.job_id).order_by("decision_id"))
    chunks = list(LogChunk.objects.filter(job_id=job.job_id).order_by("-fence", "-first_line")[: MOST_CHUNKS + 1])
    return {
        "timeline": _table(
            ("At", "What", "Detail"),
            [
                (moment(each["at"]), badge(each["what"], WHAT_COLOURS.get(each["what"], "default")), brief(_rest(each)))
                for each in representation.timeline(job, attempts=kept, decisions=decisions)
            ],
        ),
        "attempts": _table(
            ("Fence", "Attempt", "Ending", "Started", "Finished", "Worker", "Lines", "Error", "Late"),
            [_attempt(each) for each in kept],
        ),
        "decisions": _table(
            ("Decision", "Point", "Action", "Answer", "Reason", "Revision", "Decided"),
            [_decision(each) for each in decisions],
        ),
        "log": [(chunk.fence, log_lines(chunk.lines)) for chunk in chunks[:MOST_CHUNKS][::-1]],
        "evidence": _table(("Record", "States", "Verdict"), _evidence(job)),
        "more_attempts": len(attempts) > MOST_ATTEMPTS,
        "more_lines": len(chunks) > MOST_CHUNKS,
    }


def _table(headers: tuple[str, ...], rows: list[tuple[Any, ...]]) -> dict[str, Any]:
    return {"headers": headers, "rows": rows}


def _rest(happened: Mapping[str, Any]) -> dict[str, Any]:
    """Return a moment's detail; of an error, its code and class are enough here."""
    rest = {name: value for name, value in happened.items() if name not in {"at", "what"}}
    if isinstance(rest.get("error"), dict):
        rest["error"] = error_in_brief(rest["error"])
    return rest


def error_in_brief(error: Mapping[str, Any] | None) -> str:
    """Return an error's class and code, or what it has of them."""
    told = error or {}
    return " ".join(str(told[name]) for name in ("class", "code") if told.get(name))


def _attempt(row: Attempt) -> tuple[Any, ...]:
    ending = badge(row.ending, WHAT_COLOURS.get(row.ending, "default"))
    late = f"{row.late_ending} {representation.instant(row.late_at)}" if row.late_at else ""
    return (
        link(Attempt, row.pk, row.fence),
        row.number or "never claimed",
        ending,
        moment(representation.instant(row.started_at)),
        moment(representation.instant(row.finished_at)),
        row.worker_pid or "",
        row.log_lines,
        error_in_brief(row.error),
        late,
    )


def _decision(row: Decision) -> tuple[Any, ...]:
    return (
        link(Decision, row.pk, str(row.decision_id)[-12:]),
        row.point,
        row.action,
        badge("allowed", "success") if row.allowed else badge("refused", "warning"),
        f"{row.reason_code} {row.reason}".strip(),
        mono(row.policy_revision),
        moment(representation.instant(row.decided_at)),
    )


def _evidence(job: Job) -> list[tuple[SafeString, ...]]:
    return [
        (
            link(Record, verdict.record_id),
            badge(verdict.predicate, "info"),
            badge(verdict.finding, "success" if verdict.intact else "danger"),
        )
        for verdict in examine(subject_id=str(job.job_id))
    ]

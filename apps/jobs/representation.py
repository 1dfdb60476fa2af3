"""A job as the API tells it, and its story. Values in, plain JSON values out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from apps.jobs.lifecycle import WAITING, Priority, State
from apps.jobs.models import Attempt, Decision, Job
from apps.jobs.operations.submit import Submitted
from apps.jobs.queries import LogLine
from apps.jobs.types import REGISTRY


def job(
    row: Job,
    *,
    evidence: Mapping[UUID, tuple[str, str | None]],
    decisions: Mapping[UUID, Mapping[str, Decision]],
    broker_away: bool,
    upstreams: Mapping[UUID, Sequence[UUID]],
    point_away: str | None = None,
) -> dict[str, Any]:
    """Return the job as read; `evidence`, `decisions` and `upstreams` hold at least this job's."""
    held_up = row.status == "deferred" or (broker_away and row.status == "queued")
    gate = "broker_down" if held_up else f"{point_away}_away" if point_away and row.status == "queued" else None
    address = f"/operations/jobs/{row.job_id}"
    state, ref = evidence.get(row.evidence_id, (None, None)) if row.evidence_id else (None, None)
    made = decisions.get(row.job_id, {})
    return {
        "job_id": str(row.job_id),
        "tenant_id": row.tenant_id,
        "type": row.type,
        "status": row.status,
        "outcome": row.outcome,
        "reason_code": row.reason_code,
        "retries": row.retries,
        "attempt": row.attempt,
        "max_attempts": row.max_attempts,
        "submitted_at": instant(row.submitted_at),
        "queued_at": instant(row.queued_at),
        "started_at": instant(row.started_at),
        "finished_at": instant(row.finished_at),
        "run_at": instant(row.run_at),
        "next_attempt_at": instant(row.due_at) if row.status == "retrying" else None,
        "start_by": instant(row.start_by),
        "deadline_at": instant(row.deadline_at),
        "cancel_requested_at": instant(row.cancel_requested_at),
        "cancel_requested_by": row.cancel_requested_by,
        "cancel_reason": row.cancel_reason,
        "priority": Priority(row.priority).word,
        "environment": row.environment_id,
        "region": row.region,
        "contract": row.contract,
        "trigger": row.trigger,
        "submitted_by": row.submitted_by,
        "params": REGISTRY.shown(row.type, row.params),
        "timeout_s": row.timeout_s,
        "start_by_s": row.start_by_s,
        "deadline_s": row.deadline_s,
        "heartbeat_s": row.heartbeat_s,
        "retry": row.retry,
        "concurrency_key": row.concurrency_key,
        "parent_id": row.parent_id and str(row.parent_id),
        "step": row.step,
        "depends_on": row.depends_rule
        and {"jobs": [str(each) for each in upstreams.get(row.job_id, ())], "rule": row.depends_rule},
        "progress": row.progress,
        "result": row.result,
        "error": row.error,
        "evidence": {"state": state, "ref": ref or (str(row.evidence_id) if row.evidence_id else None)},
        "decision": {
            point: decision(made[point]) if point in made else None for point in ("governance", "subscription")
        },
        "waiting_for": gate,
        "links": _links(row, address=address),
    }


_COLUMNS = frozenset(column.attname for column in Job._meta.concrete_fields)


def entered(made: Submitted) -> dict[str, Any]:
    """Return a job as it was just written, without reading it back; of one that is refused the rest says why."""
    row = Job(**{name: value for name, value in made.row.items() if name in _COLUMNS} | {"job_id": made.job_id})
    decided = {each["point"]: Decision(**each) for each in made.decisions}
    return job(
        row, evidence={}, decisions={made.job_id: decided}, broker_away=False, upstreams={made.job_id: made.upstreams}
    )


def _links(row: Job, *, address: str) -> dict[str, str]:
    links = {
        "self": address,
        "why": f"{address}/why",
        "timeline": f"{address}/timeline",
        "logs": f"{address}/logs",
        "evidence": f"{address}/evidence",
    }
    if row.plan is not None:
        links["children"] = f"/operations/jobs?parent_id={row.job_id}"
    if row.parent_id is not None:
        links["parent"] = f"/operations/jobs/{row.parent_id}"
    return links


def decision(row: Decision) -> dict[str, Any]:
    """Return a decision as read."""
    return {
        "decision_id": str(row.decision_id),
        "allowed": row.allowed,
        "reason_code": row.reason_code,
        "reason": row.reason or None,
        "policy_revision": row.policy_revision,
        "decided_at": instant(row.decided_at),
    }


def log_line(line: LogLine) -> dict[str, Any]:
    """Return a log line as read."""
    return {
        "fence": line.fence,
        "line": line.line,
        "at": line.at.replace("+00:00", "Z"),
        "level": line.level,
        "message": line.message,
        "fields": line.fields,
    }


def log_of(attempt: Attempt) -> dict[str, Any]:
    """Return what an ended dispatch's log came to."""
    return {
        "fence": attempt.fence,
        "lines": attempt.log_lines,
        "digest": attempt.log_digest,
        "dropped": (attempt.result or {}).get("log_lines_dropped", 0),
    }


class Moment(NamedTuple):
    """One thing that happened to a job."""

    at: datetime
    what: str
    detail: dict[str, Any]


def timeline(row: Job, *, attempts: Iterable[Attempt], decisions: Iterable[Decision]) -> list[dict[str, Any]]:
    """Return the job's story, oldest first: derived from what is kept, so that it cannot disagree with it."""
    moments = [Moment(row.submitted_at, "submitted", {"by": row.submitted_by, "trigger": row.trigger})]
    moments += [
        Moment(
            each.decided_at,
            "decided",
            {
                "point": each.point,
                "action": each.action,
                "allowed": each.allowed,
                "reason_code": each.reason_code,
                "decision_id": str(each.decision_id),
            },
        )
        for each in decisions
    ]
    ready_at = row.run_at or row.submitted_at
    for each in attempts:
        moments += _of_dispatch(each.fence, each.dispatched_at, each.started_at, each.number, ready_at=ready_at)
        ready_at = each.retry_at or each.finished_at
        if row.nudged_at is not None and row.nudged_at >= each.finished_at:
            ready_at = min(ready_at, row.nudged_at)
        moments.append(
            Moment(
                each.finished_at,
                each.ending,
                {
                    "fence": each.fence,
                    "attempt": each.number or None,
                    "error": each.error,
                    "noticed_by": each.noticed_by,
                    "next_attempt_at": instant(each.retry_at),
                    "log_lines": each.log_lines,
                    "log_digest": each.log_digest,
                    "log_lines_dropped": log_of(each)["dropped"] or None,
                },
            )
        )
        if each.late_at is not None:
            moments.append(Moment(each.late_at, "finished_late", {"fence": each.fence, "ending": each.late_ending}))
    if row.nudged_at is not None:
        moments.append(Moment(row.nudged_at, "called_back", {}))
    if row.status in {"dispatched", "running"}:
        started_at = row.started_at if row.status == "running" else None
        moments += _of_dispatch(row.fence, row.dispatched_at, started_at, row.attempt, ready_at=ready_at)
    elif State(row.status) in WAITING:
        since = max(_last(moments), ready_at) if row.status == "queued" else _last(moments)
        moments.append(Moment(since, "waiting", {"status": row.status, "until": instant(row.due_at)}))
    if row.cancel_requested_at is not None:
        asked = {"by": row.cancel_requested_by, "reason": row.cancel_reason}
        moments.append(Moment(row.cancel_requested_at, "cancel_requested", asked))
    if row.finished_at is not None:
        moments.append(Moment(row.finished_at, "ended", {"outcome": row.outcome, "reason_code": row.reason_code}))
    ordered = sorted(moments, key=lambda moment: moment.at)
    return [{"at": instant(moment.at), "what": moment.what, **_said(moment.detail)} for moment in ordered]


def _of_dispatch(
    fence: int, dispatched_at: datetime | None, started_at: datetime | None, attempt: int, *, ready_at: datetime
) -> Sequence[Moment]:
    """Return a dispatch's beginning: the slot it got after waiting for it from `ready_at` on, and who took it."""
    moments = []
    if dispatched_at is not None:
        waited_s = max(0.0, round((dispatched_at - ready_at).total_seconds(), 3))
        moments.append(Moment(dispatched_at, "dispatched", {"fence": fence, "waited_s": waited_s}))
    if started_at is not None:
        moments.append(Moment(started_at, "started", {"fence": fence, "attempt": attempt}))
    return moments


def _last(moments: Iterable[Moment]) -> datetime:
    return max(moment.at for moment in moments)


def instant(value: datetime | None) -> str | None:
    """Return a time in RFC 3339, UTC."""
    return None if value is None else value.isoformat().replace("+00:00", "Z")


def _said(detail: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in detail.items() if value is not None}

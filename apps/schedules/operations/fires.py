"""Fire times become rows, and rows become jobs. For the submitter; two of them do no harm.

A fire time's row is unique and written with the schedule's step to the next one; the row is settled in the transaction
that submits its job. So a process killed anywhere leaves either both or neither, and nobody fires a time twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from uuid import UUID

from django.db import connection, transaction

from apps.core.database import clock
from apps.core.ids import uuid7
from apps.jobs.lifecycle import Priority
from apps.jobs.models import Job
from apps.jobs.operations import control
from apps.schedules import cron
from apps.schedules.models import Fire, Schedule
from apps.schedules.operations.submitting import Came, submit_template

SCHEDULES_A_PASS = 50
# The oldest waiting of each schedule and kind: one that has to wait holds up its own schedule and nobody else's.
NEXT = """
SELECT DISTINCT ON (f.schedule_id, f.backfill) f.fire_id, f.tenant_id
  FROM schedule_fires f JOIN schedules s USING (schedule_id)
 WHERE f.state = 'waiting' AND f.due_at <= clock_timestamp() AND s.paused_at IS NULL
 ORDER BY f.schedule_id, f.backfill, f.fire_at LIMIT 200
"""
REST = """
SELECT extract(epoch FROM least(
    (SELECT min(next_fire_at) FROM schedules WHERE paused_at IS NULL AND deleted_at IS NULL),
    (SELECT min(due_at) FROM schedule_fires WHERE state = 'waiting' AND due_at > clock_timestamp())
) - clock_timestamp())::float8
"""


def plan_due() -> int:
    """Write a row for each fire time that has come, and step on; return how many schedules did. Across tenants."""
    with transaction.atomic():
        now = clock()
        live = Schedule.every.filter(next_fire_at__lte=now, paused_at=None, deleted_at=None)
        found = list(live.select_for_update(skip_locked=True).order_by("next_fire_at")[:SCHEDULES_A_PASS])
        for schedule in found:
            _plan(schedule, now=now)
    return len(found)


def waiting_now() -> Sequence[tuple[UUID, str]]:
    """Return (fire, tenant) of what is to be settled now. Across tenants."""
    with connection.cursor() as cursor:
        cursor.execute(NEXT)
        return [(each, tenant_id) for each, tenant_id in cursor.fetchall()]


def settle(fire_id: UUID) -> bool:
    """Submit the fire's job, or say why there is none; return whether it is settled. In its tenant's context.

    One that must wait for a running job of its schedule stays as it is. Lets `DecisionPointAwayError` through.
    """
    fire = Fire.objects.select_for_update(skip_locked=True).filter(fire_id=fire_id, state="waiting").first()
    if fire is None:
        return False
    schedule = Schedule.objects.get(schedule_id=fire.schedule_id)
    came = _came(fire, schedule=schedule)
    if came is None:
        return False
    state, reason_code, job_id = came
    settled = {"state": state, "reason_code": reason_code, "job_id": job_id, "settled_at": clock()}
    Fire.objects.filter(fire_id=fire_id, state="waiting").update(**settled)
    return True


def rest_s(*, most: float) -> float:
    """Return the seconds until the next fire time, `most` at most. Across tenants."""
    with connection.cursor() as cursor:
        cursor.execute(REST)
        (left,) = cursor.fetchone() or (None,)
    return most if left is None else min(max(left, 0.0), most)


def first_after(schedule: Schedule, *, instant: datetime) -> datetime | None:
    """Return the schedule's first fire time later than `instant`, within its bounds."""
    start = instant
    if schedule.starts_at is not None:
        start = max(instant, schedule.starts_at - timedelta(microseconds=1))
    found = next(cron.times(schedule.cron, zone=schedule.time_zone, after=start), None)
    return found if found is not None and (schedule.ends_at is None or found < schedule.ends_at) else None


def _plan(schedule: Schedule, *, now: datetime) -> None:
    assert schedule.next_fire_at is not None  # noqa: S101 - it was found by that
    come, done = cron.due(
        schedule.cron,
        zone=schedule.time_zone,
        first=schedule.next_fire_at,
        now=now,
        catch_up=schedule.catch_up,
        window=timedelta(seconds=schedule.catch_up_window_s),
    )
    fires = [
        Fire(
            fire_id=uuid7(),
            schedule_id=schedule.schedule_id,
            tenant_id=schedule.tenant_id,
            fire_at=each.fire_at,
            due_at=cron.jittered(each.fire_at, schedule_id=str(schedule.schedule_id), jitter_s=schedule.jitter_s),
            state="skipped" if each.skipped else "waiting",
            reason_code=each.skipped,
            settled_at=now if each.skipped else None,
        )
        for each in come
        if schedule.ends_at is None or each.fire_at < schedule.ends_at
    ]
    Fire.every.bulk_create(fires, ignore_conflicts=True)
    step = Schedule.every.filter(schedule_id=schedule.schedule_id, next_fire_at=schedule.next_fire_at)
    step.update(next_fire_at=first_after(schedule, instant=done))


def _came(fire: Fire, *, schedule: Schedule) -> Came | None:
    """Return what the fire comes to now, None = it waits."""
    if schedule.deleted_at is not None:
        return Came("skipped", "schedule_deleted", None)
    overlap = schedule.overlap
    if fire.backfill and overlap in {"skip", "cancel_running"}:
        overlap = "wait"  # a range that was asked for is run through
    if overlap != "allow":
        unfinished = _unfinished(fire)
        if unfinished and overlap == "skip":
            return Came("skipped", "overlap", None)
        if unfinished and overlap == "cancel_running":
            if _newer_waits(fire):
                return Came("skipped", "superseded", None)
            for job_id in unfinished:
                with suppress(control.ControlRefusedError):  # it ended meanwhile
                    control.cancel(job_id=job_id, by=schedule.owner, why="its schedule's next fire time has come")
            unfinished = _unfinished(fire)
        if unfinished:
            return None
    return submit_template(
        schedule.job,
        tenant_id=schedule.tenant_id,
        owner=schedule.owner,
        trigger="schedule",
        priority=Priority.BULK if fire.backfill else None,
    )


def _unfinished(fire: Fire) -> list[UUID]:
    """Return the schedule's jobs of this kind that are not over, among its last 100."""
    mine = Fire.objects.filter(schedule_id=fire.schedule_id, state="submitted").order_by("-fire_id")
    last = mine.values_list("job_id", "backfill")[:100]
    jobs = [job_id for job_id, backfill in last if backfill == fire.backfill and job_id is not None]
    return list(Job.objects.filter(job_id__in=jobs, outcome=None).values_list("job_id", flat=True))


def _newer_waits(fire: Fire) -> bool:
    newer = Fire.objects.filter(schedule_id=fire.schedule_id, state="waiting", backfill=False, due_at__lte=clock())
    return newer.filter(fire_at__gt=fire.fire_at).exists()

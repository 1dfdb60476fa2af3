"""A step of a target becomes a job, and the job's end the step's. For the migrator.

A step's row names its job in the transaction that submits it: killed anywhere, there is neither or both. What a job did
to the target, the target's own ledger knows; what is written here says how the campaign stands.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection, transaction

from apps.core.database import ClockTimestamp, clock
from apps.jobs import points
from apps.jobs.operations import control
from apps.jobs.operations.asking import asked_ahead
from apps.jobs.operations.submit import NotTakenError, Submission, Submitted, submit
from apps.jobs.types import UnknownJobTypeError
from apps.migrations import events, stall
from apps.migrations.definition import Definition, Phase
from apps.migrations.lifecycle import State, StepState
from apps.migrations.models import Migration, Step, Target
from apps.migrations.operations.moving import halt
from apps.migrations.operations.step_jobs import DOWN, UP, BadParamsError, submission_of
from apps.migrations.operations.writing import Change, ChangedMeanwhileError, hold, write
from apps.tenancy.context import in_tenant

# What a step's next job may follow, by its direction.
NEEDS_FIRST = {UP: [StepState.PENDING], DOWN: [StepState.PENDING, StepState.DONE, StepState.FAILED]}
WANTED = "SELECT status, contract_begun_at IS NOT NULL FROM migrations WHERE id = %s FOR SHARE"

# What a job says of itself is a finite number from 0, and may be greater than any that a column holds.
DONE, TOTAL = (f"least((j.progress ->> '{name}')::float8, 9e18)::bigint" for name in ("done", "total"))

# What became of jobs that are over. A job that was stopped for a pause leaves its step to be gone on with.
ENDED = f"""
UPDATE migration_steps s SET
       state = CASE
           WHEN j.outcome = 'succeeded' AND s.direction = 'up' THEN 'done'
           WHEN j.outcome = 'succeeded' THEN 'reverted'
           WHEN j.outcome = 'cancelled' AND s.state = 'stopping' AND s.direction = 'up' THEN 'pending'
           WHEN j.outcome = 'cancelled' AND s.state = 'stopping' THEN 'done'
           ELSE 'failed' END,
       done = coalesce({DONE}, s.done),
       total = coalesce({TOTAL}, s.total),
       error_code = CASE WHEN j.outcome IN ('succeeded') OR (j.outcome = 'cancelled' AND s.state = 'stopping') THEN NULL
                    ELSE left(coalesce(j.error ->> 'code', j.reason_code, j.outcome), 64) END,
       error = CASE WHEN j.outcome IN ('succeeded') OR (j.outcome = 'cancelled' AND s.state = 'stopping') THEN NULL
               ELSE left(coalesce(j.error ->> 'message', j.reason_code, j.outcome), 500) END,
       finished_at = clock_timestamp()
  FROM jobs j
 WHERE s.migration_id = %(migration)s AND s.state IN ('running', 'stopping') AND j.job_id = s.job_id
   AND j.outcome IS NOT NULL
"""
MOVED = f"""
UPDATE migration_steps s SET
       done = {DONE}, total = {TOTAL},
       cursor = left(j.progress ->> 'message', 200)
  FROM jobs j
 WHERE s.migration_id = %(migration)s AND s.state = 'running' AND j.job_id = s.job_id AND j.status = 'running'
   AND j.progress IS NOT NULL
   AND (s.done, s.total, s.cursor) IS DISTINCT FROM ({DONE}, {TOTAL}, left(j.progress ->> 'message', 200))
"""
# Nor does one that waits for another attempt: it has its whole time again when that begins.
WAITS = """
UPDATE migration_steps s SET mark_at = NULL FROM jobs j
 WHERE s.migration_id = %(migration)s AND s.state = 'running' AND j.job_id = s.job_id AND j.status <> 'running'
   AND s.mark_at IS NOT NULL
"""
# A job that does not run yet makes no progress, and is no stall: its mark is not laid.
AT_WORK = """
SELECT s.step_id, s.target_id, s.name, s.job_id, s.done, s.total, s.mark_at, s.mark_done, clock_timestamp(), t.key
  FROM migration_steps s JOIN jobs j ON j.job_id = s.job_id JOIN migration_targets t ON t.target_id = s.target_id
 WHERE s.migration_id = %s AND s.state = 'running' AND j.status = 'running'
"""
PROGRESS = """
UPDATE migrations m SET progress = found.part FROM (
    SELECT s.migration_id, sum(CASE WHEN s.state = 'done' THEN 1.0
               WHEN s.state IN ('running', 'stopping', 'pending') AND s.direction = 'up' AND s.total > 0
               THEN least(coalesce(s.done, 0)::float8 / s.total, 0.99) ELSE 0 END) / count(*) AS part
      FROM migration_steps s JOIN migration_targets t ON t.target_id = s.target_id AND t.state <> 'set_aside'
     WHERE s.migration_id = %(migration)s GROUP BY s.migration_id) AS found
 WHERE m.id = found.migration_id AND abs(m.progress - found.part) >= 0.0005
"""


class AtWork(NamedTuple):
    """A step whose job runs, and the mark of how far it came when."""

    step_id: UUID
    target_id: UUID
    name: str
    job_id: UUID
    done: int | None
    total: int | None
    mark_at: datetime | None
    mark_done: int
    now: datetime
    target: str


def look(migration_id: UUID) -> None:
    """Take over what jobs say: their ends, how far they came, and what that makes of the whole. Across tenants."""
    with transaction.atomic(), connection.cursor() as cursor:
        for statement in (ENDED, WAITS, MOVED, PROGRESS):
            cursor.execute(statement, {"migration": migration_id})


def stalled(migration_id: UUID, *, definition: Definition) -> bool:
    """Move the marks of steps at work; pause or bring back a migration one of whose steps stalled. Across tenants."""
    with connection.cursor() as cursor:
        cursor.execute(AT_WORK, [migration_id])
        at_work = [AtWork(*row) for row in cursor.fetchall()]
    for each in at_work:
        done = each.done or 0
        mark = stall.Mark(each.mark_at, each.mark_done) if each.mark_at else stall.Mark(each.now, done)
        again = stall.moved(mark, done=done, now=each.now, stall=definition.stall)
        if again != (each.mark_at, each.mark_done):
            Step.objects.filter(step_id=each.step_id).update(mark_at=again.at, mark_done=again.done)
        elif stall.stalled(again, now=each.now, stall=definition.stall):
            return _stall(each, migration_id=migration_id, definition=definition)
    return False


def _stall(step: AtWork, *, migration_id: UUID, definition: Definition) -> bool:
    with transaction.atomic():
        held = hold(migration_id)
        if held.state is State.REVERTING:
            # There is nothing to go back to from a way back: a person is told, once a mark, and it is tried on.
            Step.objects.filter(step_id=step.step_id).update(mark_at=step.now, mark_done=step.done or 0)
            kept, why = held.migration.reason_code, held.migration.reason
            told = [_stalled_event(step)]
            write(Change(code=kept, why=why, tells=told, facts={"stalled": step.name}), held=held)
            return False
        if held.state is not State.RUNNING:
            return False
        why = f"step {step.name} of {step.target} came no further than {step.done or 0} of {step.total or '?'}"
        facts = {"target": step.target, "step": step.name, "done": step.done, "total": step.total}
        halt(
            held,
            code="stalled",
            then=definition.stall.then,
            why=why,
            wave=held.migration.wave,
            tells=[_stalled_event(step)],
            facts=facts,
        )
        return True


def _stalled_event(step: AtWork) -> tuple[str, Mapping[str, Any]]:
    says = {"target": step.target, "step": step.name, "job_id": str(step.job_id), "severity": "error"}
    return events.STALLED, {**says, "done": step.done, "total": step.total}


def begin(step_id: UUID, *, direction: str, definition: Definition) -> Submitted | None:
    """Submit a step's job, in its target's tenant's name and limits; None where the step moved on meanwhile.

    A limit's refusal lets the step wait as long as the limit says; any other fails it. With nothing written, lets
    `DecisionPointAwayError` through, and raises `ChangedMeanwhileError` where the migration wants no such job by now.
    """
    tenant_id = _tenant_of(step_id)
    with in_tenant(tenant_id):
        submission = _prepared(step_id, direction=direction, definition=definition)
    if submission is None:
        return None
    # A remote decision point is asked outside of any transaction.
    asked = asked_ahead([submission], points=points.in_force())
    with in_tenant(tenant_id):
        submission = _prepared(step_id, direction=direction, definition=definition)
        step = Step.objects.get(step_id=step_id)
        if submission is None:
            return None
        try:
            made = submit(submission, points=asked)
        except NotTakenError as error:
            _fail(step, direction=direction, code="job_not_taken", why=str(error))
            return None
        _still_wanted(step, direction=direction)
        refusal = made.refusal
        if refusal is not None and refusal.retry_after_s is not None:
            wait = timedelta(seconds=refusal.retry_after_s)
            Step.objects.filter(step_id=step_id).update(not_before=clock() + wait, error_code=refusal.code)
        elif refusal is not None:
            _fail(step, direction=direction, code=refusal.code, why=refusal.reason)
        else:
            Step.objects.filter(step_id=step_id).update(
                state=StepState.RUNNING, direction=direction, run=step.run + 1, job_id=made.job_id, not_before=None,
                error_code=None, error=None, mark_at=None, mark_done=0, started_at=ClockTimestamp(), finished_at=None,
            )  # fmt: skip
        return made


def stop(step_id: UUID, *, why: str) -> None:
    """Ask a step's job to stop; its ledger keeps how far it came."""
    with in_tenant(_tenant_of(step_id)):
        step = Step.objects.select_for_update().filter(step_id=step_id, state=StepState.RUNNING).first()
        if step is None or step.job_id is None:
            return
        with suppress(control.ControlRefusedError):  # it ended meanwhile, which the next look sees
            control.cancel(job_id=step.job_id, by="plane", why=why)
        Step.objects.filter(step_id=step_id).update(state=StepState.STOPPING)


def skip(step_id: UUID) -> None:
    """Note that a step has nothing to take back."""
    Step.objects.filter(step_id=step_id).exclude(state__in=[StepState.RUNNING, StepState.STOPPING]).update(
        state=StepState.REVERTED, direction=DOWN
    )


def _prepared(step_id: UUID, *, direction: str, definition: Definition) -> Submission | None:
    """Return the submission of a step's next job, its row held; None where it moved on, or fails for what it says."""
    step = Step.objects.select_for_update().filter(step_id=step_id, state__in=NEEDS_FIRST[direction]).first()
    if step is None:
        return None
    target = Target.objects.get(target_id=step.target_id)
    migration = Migration.every.get(id=step.migration_id)
    try:
        return submission_of(step, target=target, migration=migration, direction=direction, definition=definition)
    except (UnknownJobTypeError, BadParamsError) as error:
        _fail(step, direction=direction, code="job_not_taken", why=str(error))
        return None


def _tenant_of(step_id: UUID) -> str:
    return Step.every.values_list("tenant_id", flat=True).get(step_id=step_id)


def _still_wanted(step: Step, *, direction: str) -> None:
    """Hold the migration as it is until the job is written; raise where somebody paused it or turned it around.

    The look that decided is older than this: a pause, or worse a revert before the contract phase, may have come since.
    """
    with connection.cursor() as cursor:
        cursor.execute(WANTED, [step.migration_id])
        status, contracts = cursor.fetchone() or (None, False)
    wanted = {State.RUNNING} if direction == UP else {State.RUNNING, State.REVERTING}
    if status not in wanted or (direction == UP and step.phase == Phase.CONTRACT and not contracts):
        raise ChangedMeanwhileError(str(step.migration_id))


def _fail(step: Step, *, direction: str, code: str, why: str) -> None:
    Step.objects.filter(step_id=step.step_id).update(
        state=StepState.FAILED, direction=direction, error_code=code[:64], error=why[:500], finished_at=ClockTimestamp()
    )

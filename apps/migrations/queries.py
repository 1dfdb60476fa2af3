"""What others ask about migrations, and what a campaign is decided by; the migrator reads across tenants."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from apps.core.database import rows
from apps.migrations.campaign import StepView, TargetView, View, WaveView
from apps.migrations.definition import Definition, Kind, Phase
from apps.migrations.lifecycle import ACTIVE, Drill, Stage, State, StepState, TargetState, WaveState
from apps.migrations.models import Migration, Step, Target, Wave

STEPS = """
SELECT s.step_id, s.target_id, s.number, s.phase, s.kind, s.undoes, s.state, s.direction,
       s.run > 0 AND (s.state <> 'pending' OR s.job_id IS NOT NULL),
       coalesce(j.status IN ('running', 'waiting_children'), false),
       coalesce(s.not_before <= clock_timestamp(), true), s.error_code
  FROM migration_steps s LEFT JOIN jobs j ON j.job_id = s.job_id AND s.state IN ('running', 'stopping')
 WHERE s.target_id = ANY(%s) ORDER BY s.target_id, s.number
"""


class Active(NamedTuple):
    """A campaign that is to be carried on."""

    migration_id: UUID
    tenant_id: str
    status: State


def unfinished() -> list[Active]:
    """Return what is under way or waits to begin, oldest first."""
    wanted = [state.value for state in (*ACTIVE, State.AWAITING_APPROVAL)]
    found = Migration.objects.filter(status__in=wanted).order_by("id")
    return [
        Active(key, tenant, State(status)) for key, tenant, status in found.values_list("id", "tenant_id", "status")
    ]


def view(migration_id: UUID, *, definition: Definition | None) -> View:
    """Return a campaign as `campaign.decide` wants it; of one that runs forward, only the wave under way.

    Without its definition, what is needed to end it.
    """
    migration = Migration.objects.get(id=migration_id)
    waves = [
        WaveView(number=each.number, state=WaveState(each.state), drill=Drill(each.drill))
        for each in Wave.objects.filter(migration_id=migration_id).order_by("number")
    ]
    touched = Target.objects.filter(migration_id=migration_id).exclude(state=TargetState.SET_ASIDE)
    wanted = touched.order_by("wave", "position")
    if migration.status == State.RUNNING:
        wanted = wanted.filter(wave=migration.wave)
    targets = list(wanted)
    steps = _steps([each.target_id for each in targets])
    return View(
        status=State(migration.status),
        stage=Stage(migration.stage),
        wave=migration.wave,
        waves=waves,
        targets=[
            TargetView(
                target_id=each.target_id,
                wave=each.wave or 0,
                state=TargetState(each.state),
                steps=steps.get(each.target_id, []),
                reason_code=each.reason_code,
            )
            for each in targets
        ],
        parallel=definition.parallel if definition else 1,
        reverting_wave=migration.reverting_wave,
        contracts=any(step.phase is Phase.CONTRACT for step in (definition.steps if definition else ())),
    )


def why_failed(migration_id: UUID, *, wave: int) -> str | None:
    """Return in a sentence which target of a wave failed first, at which step and why."""
    target = Target.objects.filter(migration_id=migration_id, wave=wave, state__in=["failed", "stuck"]).first()
    if target is None:
        return None
    step = Step.objects.filter(target_id=target.target_id, state="failed").first()
    if step is None:
        return f"{target.key}: {target.reason or target.reason_code}"
    return f"{target.key}: step {step.name}: {step.error or step.error_code}"


def recorded(*, module: str, kind: str, keys: Sequence[str]) -> dict[str, str]:
    """Return target → the version that the last migration verified there, of those that had any."""
    found = (
        Target.objects.filter(module=module, kind=kind, key__in=list(keys), version_after__isnull=False)
        .order_by("key", "-finished_at")
        .distinct("key")
    )
    return {each.key: each.version_after for each in found if each.version_after is not None}


def _steps(target_ids: Sequence[UUID]) -> dict[UUID, list[StepView]]:
    found: dict[UUID, list[StepView]] = {}
    for key, target, number, phase, kind, undoes, state, direction, begun, started, due, code in rows(
        STEPS, [list(target_ids)]
    ):
        step = StepView(
            step_id=key,
            number=number,
            phase=Phase(phase),
            kind=Kind(kind),
            undoes=undoes,
            state=StepState(state),
            direction=direction,
            begun=begun,
            started=started,
            due=due,
            error_code=code,
        )
        found.setdefault(target, []).append(step)
    return found

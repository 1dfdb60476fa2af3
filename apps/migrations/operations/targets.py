"""What becomes of a migration's targets: each end with its event, and with evidence in its tenant's own log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import orjson
from django.db import connection, transaction

from apps.core.database import ClockTimestamp
from apps.core.digests import digest_of
from apps.core.ids import uuid7
from apps.events import operations as event_log
from apps.evidence import operations as evidence_log
from apps.evidence.models import Predicate
from apps.evidence.statements import statement
from apps.migrations import events
from apps.migrations.lifecycle import Drill, StepState, TargetState
from apps.migrations.models import Migration, Step, Target, Wave
from apps.tenancy.queries import region_of

KIND = "migration_target"
END = f"""
WITH changed AS (
    UPDATE migration_targets SET state = %(state)s, reason_code = %(code)s, reason = %(why)s,
           version_after = %(version)s, digest_after = %(digest)s, finished_at = clock_timestamp()
     WHERE target_id = %(id)s AND state = %(source)s
    RETURNING tenant_id
), news AS (
    SELECT %(event)s::uuid AS event_id, tenant_id, %(event_type)s AS event_type, %(subject)s AS event_subject,
           %(data)s::jsonb AS event_data
      FROM changed
), told AS ({event_log.APPEND.format(source="news")}), proof AS (
    SELECT changed.tenant_id, p.* FROM changed,
           jsonb_to_recordset(%(proof)s) AS p(region text, fence bigint, {evidence_log.COLUMNS})
), proven AS ({evidence_log.APPEND.replace("'job'", f"'{KIND}'").format(source="proof")})
SELECT 1 FROM changed
"""

# From where each end of a target's way is reached.
ENDS_FROM = {
    TargetState.SET_ASIDE: [TargetState.WAITING],
    TargetState.UPGRADED: [TargetState.VERIFYING],
    TargetState.FAILED: [TargetState.RUNNING, TargetState.VERIFYING],
    TargetState.REVERTED: [TargetState.VERIFYING_BACK],
    TargetState.STUCK: [TargetState.REVERTING, TargetState.VERIFYING_BACK],
}


def begin(target_id: UUID, *, back: bool) -> None:
    """Let a target's turn begin, upwards or on its way back."""
    rows = Target.objects.filter(target_id=target_id)
    if back:
        upwards = [TargetState.RUNNING, TargetState.VERIFYING, TargetState.UPGRADED, TargetState.FAILED]
        rows.filter(state__in=upwards).update(state=TargetState.REVERTING, reason_code=None, reason=None)
    else:
        rows.filter(state__in=[TargetState.WAITING, TargetState.UPGRADED]).update(
            state=TargetState.RUNNING, started_at=ClockTimestamp(), reason_code=None, reason=None
        )


def set_aside(target_id: UUID, *, code: str, why: str, version: str | None, digest: str | None) -> None:
    """Leave a target alone that is no longer what it was when the plan was made; other migrations may have it."""
    with transaction.atomic():
        ended = {"code": code, "why": why, "version": version, "digest": digest}
        _end(target_id, state=TargetState.SET_ASIDE, event=events.TARGET_SET_ASIDE, **ended)
        Target.objects.filter(target_id=target_id, state=TargetState.SET_ASIDE).update(holds=False)


def verifying(target_id: UUID, *, back: bool) -> None:
    """Note that a target's steps are done, and that it is being read."""
    source, target = (
        (TargetState.REVERTING, TargetState.VERIFYING_BACK) if back else (TargetState.RUNNING, TargetState.VERIFYING)
    )
    Target.objects.filter(target_id=target_id, state=source).update(state=target)


def verified(target_id: UUID, *, back: bool, version: str | None, digest: str | None) -> None:
    """End a target's way up, or back: it was read, and is what it had to be."""
    if back:
        _end(target_id, state=TargetState.REVERTED, event=events.TARGET_REVERTED, version=version, digest=digest)
    else:
        _end(target_id, state=TargetState.UPGRADED, event=events.TARGET_UPGRADED, version=version, digest=digest)


def failed(
    target_id: UUID,
    *,
    back: bool,
    code: str,
    why: str | None = None,
    version: str | None = None,
    digest: str | None = None,
) -> None:
    """End a target's way by a failure: on its way back it is stuck, and a person has to look."""
    state = TargetState.STUCK if back else TargetState.FAILED
    _end(target_id, state=state, event=events.TARGET_FAILED, code=code, why=why, version=version, digest=digest)


def up_again(migration_id: UUID, *, wave: int) -> None:
    """Have a wave that came back go up once more."""
    with transaction.atomic():
        rows = Target.objects.filter(migration_id=migration_id, wave=wave, state=TargetState.REVERTED)
        keys = list(rows.values_list("target_id", flat=True))
        rows.update(state=TargetState.WAITING, finished_at=None)
        # A step that failed before it had a job was never taken back: it is tried again with the others.
        Step.objects.filter(target_id__in=keys, state__in=[StepState.REVERTED, StepState.FAILED]).update(
            state=StepState.PENDING, direction="up", job_id=None, done=None, total=None, cursor=None, finished_at=None,
            error_code=None, error=None,
        )  # fmt: skip


def try_again(migration_id: UUID) -> int:
    """Have what failed upwards tried again where it stands, and a drill's way back; return how many targets."""
    with transaction.atomic():
        failed_ones = Target.objects.filter(migration_id=migration_id, state=TargetState.FAILED)
        keys = list(failed_ones.values_list("target_id", flat=True))
        failed_ones.update(state=TargetState.RUNNING, finished_at=None, reason_code=None, reason=None)
        # Of every target that goes up: a step that failed while the campaign was paused failed none yet.
        Step.objects.filter(
            target__state=TargetState.RUNNING, migration_id=migration_id, state=StepState.FAILED
        ).update(state=StepState.PENDING, error_code=None, error=None, not_before=None)
        drilled = Wave.objects.filter(migration_id=migration_id, drill=Drill.DOWN).exists()
        return len(keys) + (back_again(migration_id) if drilled else 0)


def back_again(migration_id: UUID) -> int:
    """Have what could not be brought back tried again; return how many targets."""
    stuck = Target.objects.filter(migration_id=migration_id, state=TargetState.STUCK)
    count = stuck.update(state=TargetState.REVERTING, finished_at=None, reason_code=None, reason=None)
    # Of every target on its way back: a step that failed while the campaign stood still has stuck none yet.
    Step.objects.filter(migration_id=migration_id, target__state=TargetState.REVERTING, state=StepState.FAILED).update(
        state=StepState.DONE, error_code=None, error=None, not_before=None
    )
    return count


def at_work(migration_id: UUID) -> bool:
    """Say whether a job is at any of the targets."""
    under_way = [StepState.RUNNING, StepState.STOPPING]
    return Step.objects.filter(migration_id=migration_id, state__in=under_way).exists()


def left(migration_id: UUID, *, wave: int | None = None) -> int:
    """Return how many targets of a migration, or of one of its waves, were not set aside."""
    rows = Target.objects.filter(migration_id=migration_id, **({} if wave is None else {"wave": wave}))
    return rows.exclude(state=TargetState.SET_ASIDE).count()


def let_go(migration_id: UUID) -> None:
    """Leave the targets to other migrations."""
    Target.objects.filter(migration_id=migration_id, holds=True).update(holds=False)


def _end(
    target_id: UUID,
    *,
    state: TargetState,
    event: str,
    code: str | None = None,
    why: str | None = None,
    version: str | None = None,
    digest: str | None = None,
) -> None:
    with transaction.atomic():
        rows = Target.objects.select_related("migration").select_for_update(of=("self",))
        target = rows.filter(target_id=target_id, state__in=ENDS_FROM[state]).first()
        if target is None:
            return  # it goes another way by now: what was found of this one says nothing
        said = _says(target, migration=target.migration, code=code, version=version, digest=digest)
        values: dict[str, Any] = {
            "id": target_id,
            "source": target.state,
            "state": state.value,
            "code": code,
            "why": why and why[:500],
            "version": version,
            "digest": digest,
            "event": uuid7(),
            "event_type": event,
            "subject": str(target.migration_id),
            "data": orjson.dumps(said).decode(),
            "proof": orjson.dumps([_proof(target, state=state, said=said)]).decode(),
        }
        with connection.cursor() as cursor:
            cursor.execute(END, values)


def _says(
    target: Target, *, migration: Migration, code: str | None, version: str | None, digest: str | None
) -> dict[str, Any]:
    return {
        "migration_id": str(migration.id),
        "name": migration.name,
        "module": migration.module,
        "version_from": migration.version_from,
        "version_to": migration.version_to,
        "wave": target.wave,
        "reason": code,
        "target": target.key,
        "read_version": version,
        "digest_before": target.digest_before,
        "digest_after": digest,
    }


def _proof(target: Target, *, state: TargetState, said: Mapping[str, Any]) -> dict[str, Any]:
    """Return the evidence row of a target's end: by which steps, and what was read before and after."""
    migration, region = target.migration, region_of(target.tenant_id)
    steps = Step.objects.filter(target_id=target.target_id).order_by("number")
    ran = [
        {
            "name": each.name,
            "checksum": each.checksum,
            "direction": each.direction,
            "state": each.state,
            "job": str(each.job_id) if each.job_id else None,
            "done": each.done,
        }
        for each in steps
    ]
    made = statement(
        predicate=Predicate.OUTCOME,
        kind=KIND,
        subject_id=str(target.target_id),
        subject_digest=digest_of({"definition": migration.definition_checksum, "target": target.key}),
        body={
            "tenant": target.tenant_id,
            "region": region,
            **said,
            "definition_checksum": migration.definition_checksum,
            "plan_checksum": migration.plan_checksum,
            "outcome": state.value,
            "version_before": target.version_before,
            "steps": ran,
        },
    )
    # The clock as fence: a target may end several times, after a drill or a retry, and each is another record.
    with connection.cursor() as cursor:
        cursor.execute("SELECT floor(extract(epoch FROM clock_timestamp()) * 1000000)::bigint")
        (fence,) = cursor.fetchone() or (0,)
    return evidence_log.row(made, subject_id=str(target.target_id)) | {"region": region, "fence": fence}

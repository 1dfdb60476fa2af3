"""Verdicts on waves: gates asked while a wave bakes, and what is written of what they say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from apps.core.database import clock
from apps.core.digests import digest_of
from apps.jobs import points
from apps.jobs.models import Job
from apps.jobs.operations.asking import asked_ahead
from apps.jobs.operations.submit import NotTakenError, Submission, submit
from apps.jobs.types import REGISTRY, UnknownJobTypeError
from apps.migrations import gates
from apps.migrations.definition import Check, Definition, Kind
from apps.migrations.gates import Found, Verdict
from apps.migrations.lifecycle import TargetState
from apps.migrations.models import Migration, Target, Wave
from apps.migrations.operations import moving
from apps.migrations.operations.step_jobs import filled
from apps.tenancy.context import across_tenants, in_tenant
from workers.migrations import judging
from workers.migrations.errands import Errands

NOT_SUBMITTED = "none"
# A check's job may wait for its tenant's turn, or for a queue that somebody paused: a person is asked in the end.
ANSWER_PATIENCE_S: Final = 900.0
UNANSWERED = "a check of this wave has not been answered: its job waits, or still runs"


class Verdicts:
    """The checks that are being asked."""

    def __init__(self, errands: Errands) -> None:
        self._errands = errands

    def judge(self, number: int, *, migration: Migration, definition: Definition) -> None:
        """Ask a baking wave's gates: a failing one ends it at once, the rest are heard when its time is over."""
        with across_tenants():
            wave = Wave.objects.get(migration_id=migration.id, number=number)
            now = clock()
            baked_s = (now - (wave.baking_since or now)).total_seconds()
            found = judging.standing(definition, migration=migration, wave=wave, now=now)
            asked = _asked(migration.id, number)
            if not asked:
                # Nobody is left of it: nothing was changed here that a gate could judge, or somebody would look at.
                moving.pass_wave(migration.id, number=number, verdict=Verdict.SUCCEED.value, facts={})
                return
        over = baked_s >= definition.gates.bake_s
        if over:
            jobs = self._jobs(definition, migration=migration, wave=wave, asked=asked)
            # Once, and last: what a wait for jobs would only make old.
            others = None if jobs is None else self._others(definition, migration=migration, wave=wave, asked=asked)
            if gates.overall(found).verdict is not Verdict.FAIL and (jobs is None or others is None):
                if baked_s > definition.gates.bake_s + ANSWER_PATIENCE_S:
                    with across_tenants():
                        moving.doubt(migration.id, code="gate_unanswered", why=UNANSWERED, facts={})
                return  # some check is still being asked
            found += [*(jobs or ()), *(others or ())]
        with across_tenants():
            _write(found, over=over, number=number, migration=migration, definition=definition)

    def _others(
        self, definition: Definition, *, migration: Migration, wave: Wave, asked: Sequence[judging.Asked]
    ) -> list[Found] | None:
        """Return what the checks say that are no jobs, None until they were asked."""
        if not any(each.kind is not Kind.JOB for each in definition.gates.checks):
            return []
        answer = self._errands.ask(
            # Nor is what was asked before it stood still an answer once it goes on.
            ("checks", migration.id, wave.number, _place(migration, wave), migration.version),
            lambda: judging.checks(definition, account=migration.tenant_id, asked=asked),
        )
        if answer is None:
            return None
        if answer.error is not None:
            raise answer.error
        found: list[Found] = answer.value
        return found

    def _jobs(
        self, definition: Definition, *, migration: Migration, wave: Wave, asked: Sequence[judging.Asked]
    ) -> list[Found] | None:
        """Return what the checks say that are jobs, None until all are over; submits them the first time."""
        found: list[Found] = []
        kept: Mapping[str, Any] = wave.facts.get(_place(migration, wave), {})
        for check in definition.gates.checks:
            if check.kind is not Kind.JOB:
                continue
            if check.name not in kept:
                place = f"{wave.number} {_place(migration, wave)}"
                made = {each.key: _submit(check, asked=each, migration=migration, place=place) for each in asked}
                kept = {**kept, check.name: made}
                with across_tenants():
                    moving.note_facts(migration.id, number=wave.number, facts={_place(migration, wave): kept})
                return None
            said = judging.of_jobs(check, outcomes=_outcomes(kept[check.name]))
            if said is None:
                return None
            found.append(said)
        return found


def _write(
    found: Sequence[Found], *, over: bool, number: int, migration: Migration, definition: Definition
) -> None:  # fmt: skip
    said = gates.overall(found)
    facts = {each.gate: {"verdict": each.verdict.value, **each.facts} for each in found}
    if said.verdict is Verdict.FAIL:
        moving.fail_wave(
            migration.id,
            number=number,
            code=f"gate_{said.gate}"[:64],
            gate=said.gate,
            why=said.why,
            then=definition.on_failure,
            facts=facts,
        )
    elif not over:
        moving.note_facts(migration.id, number=number, facts={"gates": facts})
    elif said.verdict is Verdict.INCONCLUSIVE:
        moving.note_facts(migration.id, number=number, facts={"gates": facts})
        moving.doubt(migration.id, code=f"gate_{said.gate}"[:64], why=said.why or "a gate cannot tell", facts=facts)
    else:
        moving.pass_wave(migration.id, number=number, verdict=said.verdict.value, facts=facts)


def _submit(check: Check, *, asked: judging.Asked, migration: Migration, place: str) -> str:
    """Submit a check's job in its tenant's name, unless that was done; return its id, or that there is none.

    Whoever was killed, or heard no decision, before all of a wave's were noted finds those that are there by their key.
    """
    try:
        job_type = REGISTRY.get(check.job_type or "")
    except UnknownJobTypeError:
        return NOT_SUBMITTED
    only = digest_of({"place": place, "check": check.name, "target": asked.key})
    submission = Submission(
        tenant_id=asked.tenant_id,
        job_type=job_type,
        params=filled(check.params, target=asked.key, migration=migration),
        submitted_by=migration.requested_by,
        trigger="system",
        concurrency_key=f"gate:{migration.id}:{only}",
    )
    with in_tenant(asked.tenant_id):
        mine = Job.objects.filter(tenant_id=asked.tenant_id, concurrency_key=submission.concurrency_key)
        known = mine.values_list("job_id", flat=True).first()
    if known is not None:
        return str(known)
    # A remote decision point is asked outside of any transaction.
    answered = asked_ahead([submission], points=points.in_force())
    with in_tenant(asked.tenant_id):
        try:
            made = submit(submission, points=answered)
        except NotTakenError:
            return NOT_SUBMITTED
        return str(made.job_id)


def _outcomes(jobs: Mapping[str, str]) -> dict[str, str | None]:
    """Return target → how its job ended, None while it is not over."""
    wanted = [UUID(each) for each in jobs.values() if each != NOT_SUBMITTED]
    with across_tenants():
        ended = {
            str(key): outcome for key, outcome in Job.objects.filter(job_id__in=wanted).values_list("job_id", "outcome")
        }
    return {key: "rejected" if each == NOT_SUBMITTED else ended.get(each) for key, each in jobs.items()}


def _place(migration: Migration, wave: Wave) -> str:
    """Return the name under which a wave's facts keep its checks' jobs: a wave that bakes anew is checked anew."""
    since = wave.baking_since.isoformat() if wave.baking_since else ""
    return f"checks {migration.stage} {since}"


def _asked(migration_id: UUID, number: int) -> list[judging.Asked]:
    found = Target.objects.filter(migration_id=migration_id, wave=number).exclude(state=TargetState.SET_ASIDE)
    found = found.order_by("position")
    return [judging.Asked(key, tenant) for key, tenant in found.values_list("key", "tenant_id")]

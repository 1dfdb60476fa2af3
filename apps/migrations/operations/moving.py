"""How a campaign moves by itself: its waves, and the migration with them. For the migrator, across tenants."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction

from apps.migrations import events
from apps.migrations.definition import OnFailure
from apps.migrations.lifecycle import Drill, Move, Stage, State, StepState, TargetState, WaveState
from apps.migrations.models import Step, Target, Wave
from apps.migrations.operations import targets
from apps.migrations.operations.writing import Change, Held, hold, write

ERROR = {"severity": "error"}
WARNING = {"severity": "warning"}
CRITICAL = {"severity": "critical"}


def begin_wave(migration_id: UUID, *, number: int, facts: Mapping[str, Any]) -> None:
    """Let a wave's turn begin; `facts` are what its gates compare with later."""
    with transaction.atomic():
        held = running(migration_id)
        if held is None:
            return
        wave = _wave(migration_id, number)
        _set(
            wave,
            state=WaveState.RUNNING,
            facts={**wave.facts, held.migration.stage: dict(facts)},
            started_at=held.now,
            held_since=None,
            baking_since=None,
            finished_at=None,
            verdict=None,
        )
        says = {"stage": held.migration.stage, "targets": targets.left(migration_id, wave=number)}
        write(Change(sets={"wave": number}, tells=[(events.WAVE_STARTED, says)], facts=says), held=held)


def hold_wave(migration_id: UUID, *, number: int, by: list[str], patience_s: float) -> None:
    """Keep a wave from contracting while something reports the old version; after a while, ask a person."""
    with transaction.atomic():
        held = running(migration_id)
        if held is None:
            return
        wave = _wave(migration_id, number)
        since = wave.held_since or held.now
        if wave.state != WaveState.HELD or wave.facts.get("held_by") != by or wave.held_since is None:
            _set(wave, state=WaveState.HELD, held_since=since, facts={**wave.facts, "held_by": by})
        if held.migration.wave != number:
            write(Change(sets={"wave": number}, code="old_version_alive", facts={"held_by": by}), held=held)
            held = hold(migration_id)
        if (held.now - since).total_seconds() > patience_s:
            why = f"the old version is still reported by {', '.join(by[:5])}"
            doubt(migration_id, code="old_version_alive", why=why, facts={"held_by": by})


def bake(migration_id: UUID, *, number: int) -> None:
    """Give a wave's gates their time."""
    with transaction.atomic():
        held = running(migration_id)
        if held is not None:
            wave = _wave(migration_id, number)
            _set(wave, state=WaveState.BAKING, baking_since=held.now)


def note_facts(migration_id: UUID, *, number: int, facts: Mapping[str, Any]) -> None:
    """Keep what a wave's gates found so far."""
    with transaction.atomic():
        wave = _wave(migration_id, number)
        if any(wave.facts.get(name) != value for name, value in facts.items()):
            _set(wave, facts={**wave.facts, **facts})


def pass_wave(migration_id: UUID, *, number: int, verdict: str, facts: Mapping[str, Any]) -> None:
    """Let a wave pass its gates."""
    with transaction.atomic():
        held = running(migration_id)
        if held is None:
            return
        wave = _wave(migration_id, number)
        _set(
            wave, state=WaveState.PASSED, verdict="succeed", facts={**wave.facts, "gates": dict(facts)},
            finished_at=held.now,
        )  # fmt: skip
        says = {"stage": held.migration.stage, "verdict": verdict}
        write(Change(tells=[(events.WAVE_PASSED, says)], facts={**says, "gates": dict(facts)}), held=held)


def fail_wave(
    migration_id: UUID,
    *,
    number: int,
    code: str,
    then: OnFailure,
    gate: str | None = None,
    why: str | None = None,
    facts: Mapping[str, Any] | None = None,
) -> None:
    """Let a wave fail, and pause or bring back as the definition says; once contracting, there is only the pause."""
    with transaction.atomic():
        held = running(migration_id)
        if held is None:
            return
        wave = _wave(migration_id, number)
        found = dict(facts or {})
        verdict = "fail" if gate else None
        _set(
            wave, state=WaveState.FAILED, verdict=verdict, finished_at=held.now,
            facts={**wave.facts, **({"gates": found} if found else {})},
        )  # fmt: skip
        failed = (events.WAVE_FAILED, {"stage": held.migration.stage, "gate": gate})
        halt(held, code=code, then=then, why=why, wave=number, tells=[failed], facts={"gate": gate, **found})


def halt(
    held: Held,
    *,
    code: str,
    then: OnFailure,
    why: str | None,
    wave: int | None,
    tells: list[tuple[str, Mapping[str, Any]]],
    facts: Mapping[str, Any],
) -> None:
    """Pause a running migration, or bring it back, by itself; in the transaction that holds it."""
    if then is OnFailure.PAUSE or held.migration.contract_begun_at is not None:
        tells = [*tells, (events.PAUSED, ERROR)]
        write(Change(move=Move.PAUSE, code=code, why=why, tells=tells, facts=facts), held=held)
        return
    only = wave if then is OnFailure.REVERT_WAVE else None
    tells = [*tells, (events.REVERTING, {"scope": "all" if only is None else "wave"})]
    sets = {"reverting_wave": only}
    write(Change(move=Move.REVERT, code=code, why=why, sets=sets, tells=tells, facts=facts), held=held)


def give_up(migration_id: UUID, *, code: str, why: str) -> None:
    """Stop a migration where it stands: nobody knows its way forward, or back, any more."""
    with transaction.atomic():
        held = hold(migration_id)
        if held.state is State.RUNNING:
            halt(held, code=code, then=OnFailure.PAUSE, why=why, wave=None, tells=[], facts={})
        elif held.state is State.REVERTING and not targets.at_work(migration_id):
            write(Change(move=Move.STICK, code=code, why=why, tells=[(events.FAILED, CRITICAL)]), held=held)
            targets.let_go(migration_id)


def doubt(migration_id: UUID, *, code: str, why: str, facts: Mapping[str, Any]) -> None:
    """Stop until a person has judged what a gate could not."""
    with transaction.atomic():
        held = running(migration_id)
        if held is None:
            return
        if held.migration.wave is not None and code != "old_version_alive":
            _set(_wave(migration_id, held.migration.wave), verdict="inconclusive")
        tells = [(events.INCONCLUSIVE, WARNING)]
        write(Change(move=Move.DOUBT, code=code, why=why, tells=tells, facts=dict(facts)), held=held)


def begin_contract(migration_id: UUID) -> None:
    """Go through the waves once more, to take away what only the old version needed."""
    with transaction.atomic():
        held = running(migration_id)
        if held is None or _emptied(held):
            return
        waiting = {"state": WaveState.WAITING, "held_since": None, "baking_since": None, "finished_at": None}
        Wave.objects.filter(migration_id=migration_id).update(**waiting)
        write(Change(sets={"stage": Stage.CONTRACT.value, "wave": 0}), held=held)


def contract(migration_id: UUID) -> None:
    """Note that something is being taken away now: from here on there is no way back."""
    with transaction.atomic():
        held = running(migration_id)
        if held is not None and held.migration.contract_begun_at is None:
            write(Change(sets={"contract_begun_at": held.now}, tells=[(events.CONTRACTING, {})]), held=held)


def complete(migration_id: UUID) -> None:
    """End a migration whose every target is verified at the new version."""
    with transaction.atomic():
        held = running(migration_id)
        if held is None or _emptied(held):
            return
        says = {"targets": Target.objects.filter(migration_id=migration_id, state=TargetState.UPGRADED).count()}
        aside = Target.objects.filter(migration_id=migration_id, state=TargetState.SET_ASIDE).count()
        facts = {**says, "set_aside": aside}
        write(Change(move=Move.COMPLETE, tells=[(events.COMPLETED, says)], facts=facts), held=held)
        targets.let_go(migration_id)


def abandon(migration_id: UUID) -> None:
    """End an abort: nothing runs any more."""
    with transaction.atomic():
        held = hold(migration_id)
        if held.state is State.ABORTING:
            tells = [(events.FAILED, WARNING)]
            write(Change(move=Move.ABANDON, code="aborted", why=held.migration.reason, tells=tells), held=held)
            targets.let_go(migration_id)


def come_back(migration_id: UUID, *, stuck: int) -> None:
    """End the way back: of everything, of one wave, or with targets that could not be brought back."""
    with transaction.atomic():
        held = hold(migration_id)
        if held.state is not State.REVERTING:
            return
        migration = held.migration
        code, why = migration.reason_code, migration.reason
        if stuck:
            why = f"{stuck} targets could not be brought back: look at them, then revert again"
            tells = [(events.FAILED, CRITICAL)]
            write(Change(move=Move.STICK, code="revert_failed", why=why, tells=tells), held=held)
            targets.let_go(migration_id)
            return
        only = migration.reverting_wave
        back = Wave.objects.filter(migration_id=migration_id, **({} if only is None else {"number": only}))
        back.exclude(state=WaveState.WAITING).update(state=WaveState.REVERTED, finished_at=held.now)
        if only is not None:
            tells = [(events.PAUSED, ERROR)]
            sets = {"reverting_wave": None}
            write(Change(move=Move.SETTLE, code="wave_reverted", why=why, sets=sets, tells=tells), held=held)
            return
        write(Change(move=Move.COME_BACK, code=code, why=why, tells=[(events.REVERTED, {})]), held=held)
        targets.let_go(migration_id)


def hold_again(migration_id: UUID) -> bool:
    """Take the targets of a migration that goes back after it was over; return whether none is another's by now."""
    try:
        with transaction.atomic():
            held = hold(migration_id)
            touched = Target.objects.exclude(state__in=[TargetState.WAITING, TargetState.SET_ASIDE])
            mine = touched.filter(migration_id=migration_id, holds=False)
            if held.state is State.REVERTING and mine.exists():
                mine.update(holds=True)
                targets.back_again(migration_id)
    except IntegrityError:
        with transaction.atomic():
            held = hold(migration_id)
            if held.state is State.REVERTING:
                tells = [(events.FAILED, ERROR)]
                why = "another migration holds one of its targets by now"
                write(Change(move=Move.STICK, code="target_busy", why=why, tells=tells), held=held)
        return False
    return True


def carry_out(migration_id: UUID) -> None:
    """Do to the waves and targets what a person asked of the migration."""
    with transaction.atomic():
        held = hold(migration_id)
        order, number = held.migration.order, held.migration.wave
        if order is None or held.state is not State.RUNNING:
            return
        tells = _ORDERS[order](migration_id, number, held) if number is not None else None
        # What stood still while it was paused has its whole time again to come further.
        Step.objects.filter(migration_id=migration_id, state=StepState.RUNNING).update(mark_at=None)
        write(Change(sets={"order": None}, tells=tells or (), facts={"order": order}), held=held)


def _go_on(migration_id: UUID, number: int, held: Held) -> None:
    """A wave whose gates failed is judged anew; whatever failed at a target stays so."""
    wave = _wave(migration_id, number)
    if wave.state == WaveState.FAILED and wave.baking_since is not None:
        # What failed before a person looked is judged already.
        facts = {**wave.facts, "judged_since": held.now.isoformat()}
        _set(wave, state=WaveState.BAKING, baking_since=held.now, verdict=None, finished_at=None, facts=facts)
    elif wave.state == WaveState.FAILED:
        _set(wave, state=WaveState.RUNNING, finished_at=None)


def _pass_wave(migration_id: UUID, number: int, held: Held) -> list[tuple[str, Mapping[str, Any]]]:
    """A person's verdict stands for the gate's; what holds a contract phase back is asked again all the same."""
    wave = _wave(migration_id, number)
    if wave.state == WaveState.BAKING:
        _set(wave, state=WaveState.PASSED, verdict="succeed", finished_at=held.now)
        return [(events.WAVE_PASSED, {"stage": held.migration.stage, "verdict": "a person's"})]
    if wave.state == WaveState.HELD:
        _set(wave, held_since=held.now)
    return []


def _retry(migration_id: UUID, number: int, held: Held) -> None:
    targets.try_again(migration_id)
    wave = _wave(migration_id, number)
    if wave.state == WaveState.REVERTED:
        targets.up_again(migration_id, wave=number)
        # One that came back in the middle of its drill has the drill before it again.
        drill = Drill.UP if wave.drill == Drill.DOWN else Drill(wave.drill)
        anew = {"started_at": held.now, "baking_since": None, "verdict": None, "finished_at": None}
        _set(wave, state=WaveState.RUNNING, drill=drill, **anew)
    elif wave.state == WaveState.BAKING and wave.verdict == "inconclusive":
        _set(wave, baking_since=held.now, verdict=None)
    elif wave.state == WaveState.HELD:
        _set(wave, held_since=held.now)
    else:
        _go_on(migration_id, number, held)


_Order = Callable[[UUID, int, Held], list[tuple[str, Mapping[str, Any]]] | None]
_ORDERS: dict[str, _Order] = {"go_on": _go_on, "pass_wave": _pass_wave, "retry": _retry}


def running(migration_id: UUID) -> Held | None:
    """Hold a migration that runs; None where it was paused, aborted or over before this came."""
    held = hold(migration_id)
    return held if held.state is State.RUNNING else None


def _emptied(held: Held) -> bool:
    """Pause a migration of which nobody is left: what was done to nobody is no success, and has nothing to contract."""
    if targets.left(held.migration.id):
        return False
    why = "every target was set aside when its turn came: abort it and plan anew"
    halt(held, code="no_targets", then=OnFailure.PAUSE, why=why, wave=None, tells=[], facts={})
    return True


def _wave(migration_id: UUID, number: int) -> Wave:
    return Wave.objects.select_for_update(no_key=True).get(migration_id=migration_id, number=number)


def _set(wave: Wave, **values: Any) -> None:
    Wave.objects.filter(migration_id=wave.migration_id, number=wave.number).update(**values)

"""What a campaign does next: the state of its waves, targets and steps in, a few actions out. Pure.

Called again and again with how things stand; an action that was carried out shows in the next look, one that was not is
decided again. So whoever is killed between any two of them loses nothing, and nothing here remembers anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from apps.migrations.definition import Kind, Phase
from apps.migrations.lifecycle import Drill, Stage, State, StepState, TargetState, WaveState

UP: Final = "up"
DOWN: Final = "down"


@dataclass(frozen=True, kw_only=True, slots=True)
class StepView:
    """A step of a target. `begun`: by a job since it last came back; `started`: that runs; `due`: no limit holds it."""

    step_id: UUID
    number: int
    phase: Phase
    kind: Kind
    undoes: bool
    state: StepState
    direction: str = UP
    begun: bool = False
    started: bool = False
    due: bool = True
    error_code: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class TargetView:
    """A target with its steps in order."""

    target_id: UUID
    wave: int
    state: TargetState
    steps: Sequence[StepView]
    reason_code: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class WaveView:
    """A wave."""

    number: int
    state: WaveState
    drill: Drill = Drill.NONE  # UP: it is to be tried, and has not been


@dataclass(frozen=True, kw_only=True, slots=True)
class View:
    """A campaign as it stands; `targets` are at least those of the wave under way, or all that may go back."""

    status: State
    stage: Stage
    wave: int | None
    waves: Sequence[WaveView]
    targets: Sequence[TargetView]
    parallel: int
    reverting_wave: int | None = None
    contracts: bool = False


@dataclass(frozen=True, slots=True)
class Submit:
    """Make a job for a step, in a direction."""

    step_id: UUID
    direction: str


@dataclass(frozen=True, slots=True)
class Stop:
    """Ask a step's job to stop; its ledger keeps how far it came."""

    step_id: UUID


@dataclass(frozen=True, slots=True)
class Skip:
    """A step has nothing to take back, and no ledger that would have to know."""

    step_id: UUID


@dataclass(frozen=True, slots=True)
class Begin:
    """A target's turn has come; `back`: to be brought back."""

    target_id: UUID
    back: bool = False


@dataclass(frozen=True, slots=True)
class Verify:
    """Read a target's version and schema; `back`: it has to be what it was."""

    target_id: UUID
    back: bool = False


@dataclass(frozen=True, slots=True)
class FailTarget:
    """A step of it failed for good; `back`: on the way back, so that it is stuck."""

    target_id: UUID
    code: str
    back: bool = False


@dataclass(frozen=True, slots=True)
class BeginWave:
    """The next wave's turn has come; where it contracts, once nothing reports the old version."""

    number: int
    contract: bool = False


@dataclass(frozen=True, slots=True)
class Bake:
    """All of a wave's targets are upgraded: its gates have their time."""

    number: int


@dataclass(frozen=True, slots=True)
class Judge:
    """Ask a baking wave's gates."""

    number: int


@dataclass(frozen=True, slots=True)
class FailWave:
    """A target of the wave failed: what then is the definition's to say."""

    number: int
    code: str


@dataclass(frozen=True, slots=True)
class DrillDown:
    """The first wave is up: bring it back, to see that this can be done."""

    number: int


@dataclass(frozen=True, slots=True)
class DrillAgain:
    """The first wave came back: up with it again."""

    number: int


@dataclass(frozen=True, slots=True)
class Contract:
    """Every wave passed: from here on nothing can be taken back."""


@dataclass(frozen=True, slots=True)
class Complete:
    """Everything is done."""


@dataclass(frozen=True, slots=True)
class Abandon:
    """Nothing runs any more: the abort is done."""


@dataclass(frozen=True, slots=True)
class ComeBack:
    """Everything that was to go back did; `stuck`: how many could not."""

    stuck: int = 0


Action = (
    Submit | Stop | Skip | Begin | Verify | FailTarget | BeginWave | Bake | Judge | FailWave | DrillDown | DrillAgain
    | Contract | Complete | Abandon | ComeBack
)  # fmt: skip

ENDED_BACK: Final = frozenset({TargetState.REVERTED, TargetState.STUCK})
UNTOUCHED: Final = frozenset({TargetState.WAITING, TargetState.SET_ASIDE})
UNDER_WAY: Final = frozenset({StepState.RUNNING, StepState.STOPPING})


def decide(view: View) -> list[Action]:
    """Return what is to be done now; an empty list where something has to end first."""
    if view.status is State.RUNNING:
        return _forward(view)
    if view.status in {State.PAUSED, State.INCONCLUSIVE}:
        return _halted(view)
    if view.status is State.ABORTING:
        stopping = [Stop(each.step_id) for each in _running(view.targets)]
        waiting = any(step.state is StepState.STOPPING for target in view.targets for step in target.steps)
        return [*stopping] if stopping or waiting else [Abandon()]
    if view.status is State.REVERTING:
        return _back(view)
    return []


def needs_a_job_back(step: StepView) -> bool:
    """Say whether taking the step back is a job's: of one with a ledger always, so that the ledger knows."""
    return step.undoes or step.kind is not Kind.JOB


def _forward(view: View) -> list[Action]:
    if view.wave is None:
        return [BeginWave(view.waves[0].number)]
    wave = next(each for each in view.waves if each.number == view.wave)
    mine = [each for each in view.targets if each.wave == wave.number]
    if wave.state in {WaveState.WAITING, WaveState.HELD}:
        return [BeginWave(wave.number, view.stage is Stage.CONTRACT)]
    if wave.state is WaveState.PASSED:
        return [_after(wave, view=view)]
    if (code := _failure(wave, mine=mine)) is not None:
        return [FailWave(wave.number, code)]
    if wave.state is WaveState.BAKING:
        return [Judge(wave.number)]
    return _drilled_back(wave, mine=mine, view=view) if wave.drill is Drill.DOWN else _up(wave, mine=mine, view=view)


def _failure(wave: WaveView, *, mine: Sequence[TargetView]) -> str | None:
    """Return why a wave cannot go on: a target failed, or it was brought back, which does not go up by itself."""
    if wave.state is WaveState.REVERTED:
        return "wave_reverted"
    return next((each.reason_code or "target_failed" for each in mine if each.state is TargetState.FAILED), None)


def _up(wave: WaveView, *, mine: Sequence[TargetView], view: View) -> list[Action]:
    """Bring a wave's targets up, and the first one down again where that is to be tried."""
    if not all(_is_up(each, stage=view.stage) for each in mine):
        return _bring_up(mine, stage=view.stage, parallel=view.parallel)
    return [DrillDown(wave.number)] if wave.drill is Drill.UP else [Bake(wave.number)]


def _drilled_back(wave: WaveView, *, mine: Sequence[TargetView], view: View) -> list[Action]:
    if all(each.state is TargetState.REVERTED for each in mine):
        return [DrillAgain(wave.number)]
    if stuck := [each for each in mine if each.state is TargetState.STUCK]:
        return [FailWave(wave.number, stuck[0].reason_code or "drill_failed")]
    return _bring_back(mine, parallel=view.parallel)


def _after(wave: WaveView, *, view: View) -> Action:
    """Return what follows a wave that passed."""
    later = [each.number for each in view.waves if each.number > wave.number]
    contract = view.stage is Stage.CONTRACT
    if later:
        return BeginWave(min(later), contract)
    return Contract() if view.contracts and not contract else Complete()


def _of_stage(target: TargetView, *, stage: Stage) -> list[StepView]:
    return [step for step in target.steps if (step.phase is Phase.CONTRACT) is (stage is Stage.CONTRACT)]


def _is_up(target: TargetView, *, stage: Stage) -> bool:
    done = (step.state is StepState.DONE for step in _of_stage(target, stage=stage))
    return target.state is TargetState.UPGRADED and all(done)


def _bring_up(targets: Sequence[TargetView], *, stage: Stage, parallel: int) -> list[Action]:
    actions: list[Action] = []
    active = sum(each.state in {TargetState.RUNNING, TargetState.VERIFYING} for each in targets)
    for target in targets:
        if target.state is TargetState.RUNNING:
            actions += _next_up(target, stage=stage)
        elif target.state is TargetState.VERIFYING:
            actions.append(Verify(target.target_id))
        elif not _is_up(target, stage=stage) and active < parallel:
            active += 1
            actions.append(Begin(target.target_id))
    return actions


def _next_up(target: TargetView, *, stage: Stage) -> list[Action]:
    left = [step for step in _of_stage(target, stage=stage) if step.state is not StepState.DONE]
    if not left:
        return [Verify(target.target_id)]
    step = left[0]
    if step.state is StepState.FAILED:
        return [FailTarget(target.target_id, step.error_code or "step_failed")]
    return [Submit(step.step_id, UP)] if step.state is StepState.PENDING and step.due else []


def _halted(view: View) -> list[Action]:
    """Let nothing new begin: a job that waits is called off, a backfill stops at its next batch, the rest ends."""
    running = _running(view.targets)
    return [Stop(step.step_id) for step in running if step.phase is Phase.BACKFILL or not step.started]


def _running(targets: Iterable[TargetView]) -> list[StepView]:
    return [step for target in targets for step in target.steps if step.state is StepState.RUNNING]


def _back(view: View) -> list[Action]:
    """Bring back what was touched, the last wave first: what came last depends on what came before."""
    touched = [each for each in view.targets if each.state not in UNTOUCHED]
    in_scope = [each for each in touched if view.reverting_wave in {None, each.wave}]
    left = [each for each in in_scope if each.state not in ENDED_BACK]
    if not left:
        return [ComeBack(sum(each.state is TargetState.STUCK for each in in_scope))]
    last = max(each.wave for each in left)
    return _bring_back([each for each in left if each.wave == last], parallel=view.parallel)


def _bring_back(targets: Sequence[TargetView], *, parallel: int) -> list[Action]:
    actions: list[Action] = []
    active = sum(map(_at_work_back, targets))
    for target in reversed(targets):
        if target.state is TargetState.REVERTING:
            actions += _next_down(target)
        elif target.state is TargetState.VERIFYING_BACK:
            actions.append(Verify(target.target_id, back=True))
        elif target.state not in ENDED_BACK and (_at_work_back(target) or active < parallel):
            active += not _at_work_back(target)
            actions.append(Begin(target.target_id, back=True))
    return actions


def _at_work_back(target: TargetView) -> bool:
    """Say whether a target counts among those at once: on its way back, or with a job still on its way up."""
    on_its_way = target.state in {TargetState.REVERTING, TargetState.VERIFYING_BACK}
    return on_its_way or any(step.state in UNDER_WAY for step in target.steps)


def _next_down(target: TargetView) -> list[Action]:
    """Return the next thing on a target's way back: what runs upwards stops first, then the last step goes first."""
    if upwards := [step for step in target.steps if step.state in UNDER_WAY and step.direction == UP]:
        return [Stop(step.step_id) for step in upwards if step.state is StepState.RUNNING]
    touched = [step for step in target.steps if step.begun and step.state is not StepState.REVERTED]
    if not touched:
        return [Verify(target.target_id, back=True)]
    step = touched[-1]
    if step.state in UNDER_WAY:
        return []
    if step.direction == DOWN and step.state is StepState.FAILED:
        return [FailTarget(target.target_id, step.error_code or "revert_failed", back=True)]
    if not needs_a_job_back(step):
        return [Skip(step.step_id)]
    return [Submit(step.step_id, DOWN)] if step.due else []

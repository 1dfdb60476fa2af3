"""A campaign's rows in a world that it is tried in, and what the operations make of them beside each action."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from apps.migrations import campaign
from apps.migrations.campaign import UP
from apps.migrations.definition import Kind, OnFailure, Phase
from apps.migrations.lifecycle import Drill, Stage, State, StepState, TargetState, WaveState


class Chance(Protocol):
    """Draws."""

    def random(self) -> float: ...
    def choice(self, of: Sequence[Any], /) -> Any: ...


class Odds(NamedTuple):
    """How often what goes wrong; all zero: nothing does."""

    fails: float = 0.0
    refused: float = 0.0
    unread: float = 0.0
    gate: float = 0.0
    lost: float = 0.0
    person: float = 0.0
    stall: float = 0.0


@dataclass(kw_only=True)
class Job:
    """A job under way."""

    direction: str
    started: bool = False
    cancelled: bool = False


@dataclass(kw_only=True)
class Step:
    """A step of a target, as its row says; `job`: what is under way."""

    id: UUID
    number: int
    phase: Phase
    kind: Kind
    undoes: bool
    state: StepState = StepState.PENDING
    direction: str = UP
    begun: bool = False
    due: bool = True
    job: Job | None = None
    ended: str | None = None


@dataclass(kw_only=True)
class Target:
    """A target as its row says; `been`: every state it was in.

    In truth, `has` steps were done to it, and `half` of them were begun.
    """

    id: UUID
    wave: int
    steps: list[Step]
    state: TargetState = TargetState.WAITING
    has: set[int] = field(default_factory=set)
    half: set[int] = field(default_factory=set)
    been: list[TargetState] = field(default_factory=list)

    def become(self, state: TargetState) -> None:
        self.state = state
        self.been.append(state)

    def open_jobs(self) -> list[Job]:
        return [step.job for step in self.steps if step.job is not None]


@dataclass(kw_only=True)
class Wave:
    """A wave as its row says."""

    number: int
    state: WaveState = WaveState.WAITING
    drill: Drill = Drill.NONE
    baked: bool = False


@dataclass(kw_only=True)
class Rows:
    """A campaign with all that it touches, and what the operations make of it."""

    chance: Chance
    odds: Odds
    waves: list[Wave]
    targets: list[Target]
    parallel: int
    on_failure: OnFailure
    on_stall: OnFailure
    contracts: bool
    status: State = State.RUNNING
    stage: Stage = Stage.FORWARD
    wave: int | None = None
    reverting_wave: int | None = None
    contract_begun: bool = False
    order: str | None = None
    settled: bool = False
    passed: set[int] = field(default_factory=set)
    said: list[str] = field(default_factory=list)

    def carry_out(self) -> None:
        if self.status is not State.RUNNING or self.order is None:
            return
        order, self.order = self.order, None
        if self.wave is None:
            return
        wave = self.waves[self.wave]
        if order == "retry":
            self._try_again()
            if wave.state is WaveState.REVERTED:
                self.up_again(wave.number)
                wave.state, wave.baked = WaveState.RUNNING, False
                wave.drill = Drill.UP if wave.drill is Drill.DOWN else wave.drill
                return
        if order == "pass_wave" and wave.state is WaveState.BAKING:
            wave.state = WaveState.PASSED
            self.pass_wave(wave)
        elif wave.state is WaveState.FAILED:
            wave.state = WaveState.BAKING if wave.baked else WaveState.RUNNING

    def _try_again(self) -> None:
        for target in self.targets:
            if target.state is TargetState.FAILED:
                target.become(TargetState.RUNNING)
            if target.state is TargetState.RUNNING:
                for step in target.steps:
                    step.state = StepState.PENDING if step.state is StepState.FAILED else step.state
        if any(wave.drill is Drill.DOWN for wave in self.waves):
            self.back_again()

    def back_again(self) -> None:
        for target in self.targets:
            if target.state is TargetState.STUCK:
                target.become(TargetState.REVERTING)
            if target.state is TargetState.REVERTING:
                for step in target.steps:
                    step.state = StepState.DONE if step.state is StepState.FAILED else step.state

    def up_again(self, number: int) -> None:
        for target in self.targets:
            if target.wave == number and target.state is TargetState.REVERTED:
                target.become(TargetState.WAITING)
                for step in target.steps:
                    if step.state in {StepState.REVERTED, StepState.FAILED}:
                        step.state, step.direction, step.begun = StepState.PENDING, UP, False

    def fail_wave(self, wave: Wave) -> None:
        wave.state = WaveState.FAILED
        self.halt(self.on_failure)

    def halt(self, then: OnFailure) -> None:
        """Pause, or go back, as a definition says."""
        if then is OnFailure.PAUSE or self.contract_begun:
            self.status = State.PAUSED
            return
        self.status = State.REVERTING
        self.reverting_wave = self.wave if then is OnFailure.REVERT_WAVE else None

    def pass_wave(self, wave: Wave) -> None:
        if self.stage is Stage.FORWARD:
            self.passed.add(wave.number)

    def take_ends(self) -> None:
        for target in self.targets:
            for step in target.steps:
                if step.state not in campaign.UNDER_WAY or step.job is not None or step.ended is None:
                    continue
                stopped = step.ended == "cancelled" and step.state is StepState.STOPPING
                up = step.direction == UP
                if step.ended == "succeeded":
                    step.state = StepState.DONE if up else StepState.REVERTED
                elif stopped:
                    step.state = StepState.PENDING if up else StepState.DONE
                else:
                    step.state = StepState.FAILED

    def goes_on(self, target: Target, step: Step) -> None:
        """Let a job begin, or end: done, failed or stopped half way, which leaves something behind on the way up."""
        job = step.job
        assert job is not None
        if job.cancelled and not job.started:
            step.job, step.ended = None, "cancelled"
            return
        if not job.started:
            job.started = True
            return
        drawn = self.chance.random()
        target.half.add(step.number)
        if drawn < self.odds.fails:
            step.job, step.ended = None, "failed"
        elif job.cancelled and drawn < 0.7:
            step.job, step.ended = None, "cancelled"
        else:
            step.job, step.ended = None, "succeeded"
            target.half.discard(step.number)
            if job.direction == UP:
                target.has.add(step.number)
            else:
                target.has.discard(step.number)

    def step_of(self, step_id: UUID) -> tuple[Target, Step]:
        return next((target, step) for target in self.targets for step in target.steps if step.id == step_id)

    def target_of(self, target_id: UUID) -> Target:
        return next(each for each in self.targets if each.id == target_id)

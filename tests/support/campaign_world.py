"""A small world that campaigns are tried in: it carries out what `campaign.decide` says as the operations do.

Jobs end as a draw has it; whatever is decided may be lost on the way, as by a kill; people pause, resume, abort, revert
and retry between any two actions. What must hold at each of them is asserted where it happens, against what the targets
themselves have by then (`has`), not against what the campaign's rows say of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from apps.migrations import campaign
from apps.migrations.campaign import DOWN, UP, StepView, TargetView, View, WaveView
from apps.migrations.definition import Phase
from apps.migrations.lifecycle import (
    OVER,
    STOPPED,
    Drill,
    IllegalMoveError,
    Move,
    Stage,
    State,
    StepState,
    TargetState,
    WaveState,
    after,
)
from tests.support.campaign_rows import Job, Odds, Rows, Step, Target

MOST_LOOKS = 2000
ACTIVE_UP = {TargetState.RUNNING, TargetState.VERIFYING}
ENDED_BACK = {TargetState.REVERTED, TargetState.STUCK}
ORDERS = {Move.RESUME: "go_on", Move.RETRY: "retry"}


class Changed(Exception):  # noqa: N818 - as the operations' own
    """The migration is another one than the look saw: the rest of what it decided is left."""


@dataclass(kw_only=True)
class World(Rows):
    """A campaign, the migrator that carries it on, jobs, limits and people."""

    # what the migrator does

    def look(self, *, meanwhile: Callable[[], None] = lambda: None) -> list[campaign.Action]:
        """Look once and carry out what is decided; `meanwhile` happens between any two actions."""
        self.carry_out()
        self.take_ends()
        self._stalls()
        decided = campaign.decide(self.view())
        if self.status in STOPPED:
            assert all(isinstance(each, campaign.Stop) for each in decided), decided
        for action in decided:
            meanwhile()
            if self.chance.random() < self.odds.lost:
                self.said.append(f"lost from {action}")
                return decided
            self.said.append(repr(action))
            try:
                getattr(self, f"_do_{type(action).__name__}")(action)
            except Changed:
                self.said.append("changed meanwhile")
                return decided
            self.check()
        return decided

    def _stalls(self) -> None:
        at_work = [step for target in self.targets for step in target.steps if step.state is StepState.RUNNING]
        if at_work and self.status is State.RUNNING and self.chance.random() < self.odds.stall:
            self.said.append("stalled")
            self.halt(self.on_stall)

    def view(self) -> View:
        running = self.status is State.RUNNING
        return View(
            status=self.status,
            stage=self.stage,
            wave=self.wave,
            waves=[WaveView(number=each.number, state=each.state, drill=each.drill) for each in self.waves],
            targets=[
                TargetView(target_id=each.id, wave=each.wave, state=each.state, steps=[_seen(s) for s in each.steps])
                for each in self.targets
                if not running or each.wave == self.wave
            ],
            parallel=self.parallel,
            reverting_wave=self.reverting_wave,
            contracts=self.contracts,
        )

    def standing(self) -> str:
        """Return all that is remembered, to see whether a look changed anything."""
        return repr(
            (self.status, self.stage, self.wave, self.reverting_wave, self.order, self.waves, self.targets)
        )  # fmt: skip

    def waiting(self) -> bool:
        """Say whether a job is under way, or a limit's time is."""
        return any(step.job is not None or not step.due for target in self.targets for step in target.steps)

    # what jobs, limits and people do

    def jobs_go_on(self) -> None:
        """Let each job begin, go on or end; limits' times are over now and then."""
        for target in self.targets:
            for step in target.steps:
                step.due = step.due or self.chance.random() < 0.5
                if step.job is not None and self.chance.random() < 0.6:
                    self.goes_on(target, step)

    def person(self, move: Move) -> None:
        """Ask what a person asks; refused where it may not be."""
        if move is Move.RESUME and self.settled:
            return
        before = self.status
        try:
            self.status = after(before, move, contract_begun=self.contract_begun)
        except IllegalMoveError:
            return
        self.said.append(f"a person: {move}")
        self.order = "pass_wave" if (before, move) == (State.INCONCLUSIVE, Move.RESUME) else ORDERS.get(move)
        self.settled = False
        if move is Move.REVERT:
            self.reverting_wave = None
            if before is State.FAILED:
                self.back_again()

    # what must hold

    def check(self) -> None:
        """Assert what holds at every instant."""
        at_work = [target for target in self.targets if target.open_jobs()]
        assert len(at_work) <= self.parallel, "more at once than is allowed"
        assert all(len(target.open_jobs()) == 1 for target in at_work), "two jobs under way for one target"

    # the actions

    def _do_Submit(self, action: campaign.Submit) -> None:  # noqa: N802 - named as its action
        target, step = self.step_of(action.step_id)
        wanted = {State.RUNNING} if action.direction == UP else {State.RUNNING, State.REVERTING}
        first = {StepState.PENDING} if action.direction == UP else set(StepState) - campaign.UNDER_WAY
        if step.phase is Phase.CONTRACT and self.status is State.RUNNING:
            self.contract_begun = True
        if self.status not in wanted:
            raise Changed
        if step.state not in first:
            return
        assert not target.open_jobs(), "a job is submitted while the one before it is under way"
        if action.direction == UP:
            self._may_go_up(target, step)
        else:
            self._may_go_down(target, step)
        if self.chance.random() < self.odds.refused:
            if self.chance.random() < 0.5:
                step.due = False
            else:
                step.state, step.direction = StepState.FAILED, action.direction
            return
        step.state, step.direction, step.begun = StepState.RUNNING, action.direction, True
        step.job, step.ended = Job(direction=action.direction), None

    def _may_go_up(self, target: Target, step: Step) -> None:
        before = {each.number for each in target.steps if each.number < step.number}
        assert target.has >= before, f"step {step.number} begins before all that stands before it is done"
        if step.phase is Phase.CONTRACT:
            assert self.passed >= {wave.number for wave in self.waves}, "it contracts before every wave passed"
            assert self.contract_begun

    def _may_go_down(self, target: Target, step: Step) -> None:
        later = {each.number for each in target.steps if each.number > step.number}
        assert not (target.has | target.half) & later, f"step {step.number} goes back before what came after it"
        assert not self.contract_begun, "it goes back after its contract phase began"
        if self.status is State.REVERTING and self.reverting_wave is None:
            for other in self.targets:
                if other.wave > target.wave:
                    assert other.state in {*ENDED_BACK, TargetState.WAITING}, "a wave goes back before a later one"

    def _do_Stop(self, action: campaign.Stop) -> None:  # noqa: N802
        _, step = self.step_of(action.step_id)
        if step.state is StepState.RUNNING:
            step.state = StepState.STOPPING
            if step.job is not None:
                step.job.cancelled = True

    def _do_Skip(self, action: campaign.Skip) -> None:  # noqa: N802
        target, step = self.step_of(action.step_id)
        if step.job is None:
            step.state, step.direction = StepState.REVERTED, DOWN
            target.has.discard(step.number)
            target.half.discard(step.number)

    def _do_Begin(self, action: campaign.Begin) -> None:  # noqa: N802
        target = self.target_of(action.target_id)
        if action.back and target.state in {*ACTIVE_UP, TargetState.UPGRADED, TargetState.FAILED}:
            target.become(TargetState.REVERTING)
        elif not action.back and target.state in {TargetState.WAITING, TargetState.UPGRADED}:
            target.become(TargetState.RUNNING)

    def _do_Verify(self, action: campaign.Verify) -> None:  # noqa: N802
        target = self.target_of(action.target_id)
        begun, reading, well, ill = (
            (TargetState.REVERTING, TargetState.VERIFYING_BACK, TargetState.REVERTED, TargetState.STUCK)
            if action.back
            else (TargetState.RUNNING, TargetState.VERIFYING, TargetState.UPGRADED, TargetState.FAILED)
        )
        if target.state is begun:
            target.become(reading)
        if target.state is not reading or self.chance.random() < 0.5:
            return
        if self.chance.random() < self.odds.unread:
            target.become(ill)
            return
        contract = self.stage is Stage.CONTRACT
        steps = {each.number for each in target.steps if contract or each.phase is not Phase.CONTRACT}
        assert target.has == (set() if action.back else steps), "it would be read as something else than it has to be"
        assert not target.half, "a step is half done"
        target.become(well)

    def _do_FailTarget(self, action: campaign.FailTarget) -> None:  # noqa: N802
        target = self.target_of(action.target_id)
        if action.back and target.state in {TargetState.REVERTING, TargetState.VERIFYING_BACK}:
            target.become(TargetState.STUCK)
        elif not action.back and target.state in ACTIVE_UP:
            target.become(TargetState.FAILED)

    def _do_BeginWave(self, action: campaign.BeginWave) -> None:  # noqa: N802
        if self.status is not State.RUNNING:
            return
        wave = self.waves[action.number]
        assert all(each.state is WaveState.PASSED for each in self.waves[: action.number]), "a wave was not waited for"
        assert self.waves[0].drill in {Drill.NONE, Drill.DONE} or action.number == 0, "the drill was not waited for"
        self.wave = action.number
        held = action.contract and self.chance.random() < self.odds.gate
        wave.state, wave.baked = (WaveState.HELD if held else WaveState.RUNNING), False

    def _do_Bake(self, action: campaign.Bake) -> None:  # noqa: N802
        if self.status is State.RUNNING:
            self.waves[action.number].state, self.waves[action.number].baked = WaveState.BAKING, True

    def _do_Judge(self, action: campaign.Judge) -> None:  # noqa: N802
        if self.status is not State.RUNNING:
            return
        wave = self.waves[action.number]
        if self.chance.random() >= self.odds.gate:
            wave.state = WaveState.PASSED
            self.pass_wave(wave)
        elif self.chance.random() < 0.5:
            self.status = State.INCONCLUSIVE
        else:
            self.fail_wave(wave)

    def _do_FailWave(self, action: campaign.FailWave) -> None:  # noqa: N802
        if self.status is State.RUNNING:
            self.fail_wave(self.waves[action.number])

    def _do_DrillDown(self, action: campaign.DrillDown) -> None:  # noqa: N802
        assert action.number == 0
        assert all(each.state is TargetState.UPGRADED for each in self.targets if each.wave == 0)
        self.waves[0].drill = Drill.DOWN

    def _do_DrillAgain(self, action: campaign.DrillAgain) -> None:  # noqa: N802
        assert action.number == 0
        if self.status is State.RUNNING:
            self.waves[0].drill = Drill.DONE
            self.up_again(0)

    def _do_Contract(self, _: campaign.Contract) -> None:  # noqa: N802
        if self.status is State.RUNNING:
            for wave in self.waves:
                wave.state, wave.baked = WaveState.WAITING, False
            self.stage, self.wave = Stage.CONTRACT, 0

    def _do_Complete(self, _: campaign.Complete) -> None:  # noqa: N802
        if self.status is State.RUNNING:
            self.status = State.SUCCEEDED
            for target in self.targets:
                assert target.state is TargetState.UPGRADED
                assert target.has == {step.number for step in target.steps}
                assert not target.open_jobs()

    def _do_Abandon(self, _: campaign.Abandon) -> None:  # noqa: N802
        if self.status is State.ABORTING:
            assert not any(target.open_jobs() for target in self.targets), "it was abandoned while something runs"
            self.status = State.FAILED

    def _do_ComeBack(self, action: campaign.ComeBack) -> None:  # noqa: N802
        if self.status is not State.REVERTING:
            return
        if action.stuck:
            self.status = State.FAILED
            return
        only = self.reverting_wave
        scope = [each for each in self.targets if only in {None, each.wave} and each.state is not TargetState.WAITING]
        for target in scope:
            assert target.state is TargetState.REVERTED
            assert not target.has | target.half, "it is said to be back, and something is still there"
            assert not target.open_jobs()
        for wave in self.waves:
            if wave.state is not WaveState.WAITING and only in {None, wave.number}:
                wave.state = WaveState.REVERTED
                self.passed.discard(wave.number)
        self.reverting_wave = None
        self.status = State.REVERTED if only is None else State.PAUSED
        self.settled = only is not None


def _seen(step: Step) -> StepView:
    return StepView(
        step_id=step.id,
        number=step.number,
        phase=step.phase,
        kind=step.kind,
        undoes=step.undoes,
        state=step.state,
        direction=step.direction,
        begun=step.begun,
        started=step.job is not None and step.job.started,
        due=step.due,
    )


def settle(world: World, *, hopeful: bool) -> State:
    """Let a world come to its end with nothing going wrong any more; a person answers whenever it stops by itself.

    `hopeful`: with a retry, else with a revert where there may be one. Returns how it ended; fails where a look changes
    nothing though nothing is under way.
    """
    world.odds = Odds()
    for _ in range(MOST_LOOKS):
        if world.status in OVER:
            return world.status
        if world.status in STOPPED:
            back = not hopeful and not world.contract_begun
            world.person(Move.REVERT if back else Move.RETRY)
        before = world.standing()
        decided = world.look()
        reads = any(isinstance(each, campaign.Verify) for each in decided)  # an answer may take its time
        assert world.standing() != before or world.waiting() or reads, f"nothing moves: {decided}"
        world.jobs_go_on()
    raise AssertionError("it does not end")

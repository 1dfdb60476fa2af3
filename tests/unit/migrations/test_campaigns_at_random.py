"""Whole campaigns in a world where everything goes wrong: what must hold at each instant, and that they end."""

from __future__ import annotations

from random import Random
from uuid import UUID

from hypothesis import given, note, settings
from hypothesis import strategies as st

from apps.migrations.definition import Kind, OnFailure, Phase
from apps.migrations.lifecycle import Drill, Move, State, TargetState
from tests.support.campaign_rows import Odds, Step, Target, Wave
from tests.support.campaign_world import World, settle


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Draw a campaign: some waves of some targets, steps of any kind, and how much goes wrong."""
    sizes = draw(st.lists(st.integers(1, 3), min_size=1, max_size=3))
    phases = sorted(draw(st.lists(st.sampled_from(list(Phase)), min_size=1, max_size=4)))
    made = [(phase, draw(st.sampled_from([Kind.SQL, Kind.JOB])), draw(st.booleans())) for phase in phases]
    part = st.sampled_from([0.0, 0.1, 0.3])
    chance = Random(draw(st.integers(0, 2**32)))  # noqa: S311 - a test's chance, drawn so that it can be told
    waves = [Wave(number=number) for number in range(len(sizes))]
    waves[0].drill = draw(st.sampled_from([Drill.NONE, Drill.UP]))
    homes = [number for number, size in enumerate(sizes) for _ in range(size)]
    return World(
        chance=chance,
        odds=Odds(*(draw(part) for _ in Odds._fields)),
        waves=waves,
        targets=[
            Target(
                id=UUID(int=1000 + place),
                wave=home,
                steps=[
                    Step(id=UUID(int=place * 100 + n), number=n, phase=phase, kind=kind, undoes=undoes)
                    for n, (phase, kind, undoes) in enumerate(made)
                ],
            )
            for place, home in enumerate(homes)
        ],
        parallel=draw(st.integers(1, 3)),
        on_failure=draw(st.sampled_from(list(OnFailure))),
        on_stall=draw(st.sampled_from(list(OnFailure))),
        contracts=Phase.CONTRACT in phases,
    )


MOVES = (Move.PAUSE, Move.RESUME, Move.RESUME, Move.RETRY, Move.RETRY, Move.ABORT, Move.REVERT)


def hurt(world: World, *, looks: int) -> None:
    """Have a campaign go on for some looks while all of it goes wrong that may."""

    def meanwhile() -> None:
        if world.chance.random() < world.odds.person / 4:
            world.person(world.chance.choice(MOVES))
        if world.chance.random() < world.odds.person / 4:
            world.jobs_go_on()

    for _ in range(looks):
        world.look(meanwhile=meanwhile)
        world.jobs_go_on()
        if world.chance.random() < world.odds.person:
            world.person(world.chance.choice(MOVES))


@settings(max_examples=400, deadline=None)
@given(world=worlds(), looks=st.integers(0, 120), hopeful=st.booleans())
def test_whatever_goes_wrong_a_campaign_keeps_its_promises_and_ends_once_nothing_does(
    world: World, looks: int, hopeful: bool
) -> None:
    try:
        hurt(world, looks=looks)
        settle(world, hopeful=hopeful)
    except AssertionError:
        note("\n".join(world.said[-80:]))
        raise
    assert not any(each.open_jobs() for each in world.targets)
    if world.status is State.REVERTED:
        assert all(each.state in {TargetState.REVERTED, TargetState.WAITING} for each in world.targets)
        assert not any(each.has | each.half for each in world.targets)


@settings(max_examples=150, deadline=None)
@given(world=worlds(), hopeful=st.booleans())
def test_a_campaign_in_which_nothing_goes_wrong_succeeds_without_a_person(world: World, hopeful: bool) -> None:
    world.odds = Odds()
    settle(world, hopeful=hopeful)
    assert world.status is State.SUCCEEDED
    assert not any("a person" in each for each in world.said)


@settings(max_examples=150, deadline=None)
@given(world=worlds(), looks=st.integers(0, 60))
def test_kills_alone_change_nothing_about_where_a_campaign_ends(world: World, looks: int) -> None:
    world.odds = Odds(lost=0.5)
    hurt(world, looks=looks)
    settle(world, hopeful=True)
    assert world.status is State.SUCCEEDED


@settings(max_examples=100, deadline=None)
@given(world=worlds())
def test_a_drill_takes_the_first_wave_up_down_and_up_and_no_other(world: World) -> None:
    world.odds, world.waves[0].drill = Odds(), Drill.UP
    settle(world, hopeful=True)
    for each in world.targets:
        ends = [state.value for state in each.been if state in {TargetState.UPGRADED, TargetState.REVERTED}]
        up = ["upgraded"] * (2 if world.contracts and _has_contract(each) else 1)
        assert ends == (["upgraded", "reverted", *up] if each.wave == 0 else up)


@settings(max_examples=150, deadline=None)
@given(world=worlds(), looks=st.integers(0, 80))
def test_an_aborted_campaign_can_be_brought_back_unless_it_contracted(world: World, looks: int) -> None:
    hurt(world, looks=looks)
    world.odds = Odds()
    world.person(Move.ABORT)
    settle(world, hopeful=True)
    if world.status is State.FAILED and not world.contract_begun:
        world.person(Move.REVERT)
        assert settle(world, hopeful=True) is State.REVERTED
        assert not any(each.has | each.half for each in world.targets)


def _has_contract(target_: Target) -> bool:
    return any(each.phase is Phase.CONTRACT for each in target_.steps)

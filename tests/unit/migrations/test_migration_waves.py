"""Targets in waves: who goes first, and that nobody is forgotten or touched twice."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.migrations import waves
from apps.migrations.waves import Candidate, divide, percent_of, problems


def many(count: int) -> list[Candidate]:
    return [Candidate(key=f"t{number:03}", tenant_id=f"t{number:03}", size_bytes=1000) for number in range(count)]


def sizes(candidates: list[Candidate], spec: Any) -> list[int]:
    assert problems(spec) == []
    return [len(wave) for wave in divide(candidates, spec=spec).waves]


def keys(candidates: list[Candidate], spec: Any) -> list[list[str]]:
    return [[each.key for each in wave] for wave in divide(candidates, spec=spec).waves]


@st.composite
def specs(draw: st.DrawFn) -> Any:
    """Any spec that is right, over keys of which some exist."""
    if draw(st.booleans()):
        return {"by": "risk", "waves": draw(st.integers(1, 12))}
    percents = iter(sorted(draw(st.sets(st.one_of(st.integers(1, 100), st.floats(0.01, 100)), min_size=8, max_size=8))))
    names = iter(draw(st.permutations([f"t{number:03}" for number in range(40)])))
    found: list[dict[str, Any]] = []
    for form in draw(st.lists(st.sampled_from(["count", "percent", "targets"]), min_size=1, max_size=8)):
        if form == "count":
            found.append({"count": draw(st.integers(1, 30))})
        elif form == "percent":
            found.append({"percent": next(percents)})
        else:
            found.append({"targets": [next(names) for _ in range(draw(st.integers(1, 4)))]})
    return found


candidates = st.builds(
    Candidate,
    key=st.integers(0, 60).map("t{:03}".format),
    tenant_id=st.just("acme"),
    size_bytes=st.none() | st.integers(0, 1 << 40),
    internal=st.booleans(),
    alike=st.floats(0, 1),
)
several = st.lists(candidates, max_size=60, unique_by=lambda candidate: candidate.key)


@given(several, specs())
def test_every_candidate_is_in_exactly_one_wave_and_no_wave_is_empty(given_: list[Candidate], spec: Any) -> None:
    assert problems(spec) == []
    division = divide(given_, spec=spec)
    assert all(division.waves)
    assert Counter(each for wave in division.waves for each in wave) == Counter(given_)


@given(several, specs())
def test_within_a_wave_risk_only_grows(given_: list[Candidate], spec: Any) -> None:
    for wave in divide(given_, spec=spec).waves:
        assert wave == sorted(wave, key=lambda each: each.risk)


@given(several, specs())
def test_a_target_that_a_wave_names_is_in_it_or_told_to_be_missing(given_: list[Candidate], spec: Any) -> None:
    division = divide(given_, spec=spec)
    here = {each.key for each in given_}
    asked = [] if isinstance(spec, dict) else [key for wave in spec for key in wave.get("targets", [])]
    assert division.missing == [key for key in asked if key not in here]
    for wave in [] if isinstance(spec, dict) else spec:
        if present := [key for key in wave.get("targets", []) if key in here]:
            assert any(set(present) == {each.key for each in found} for found in division.waves)


@given(several, st.lists(st.floats(0.01, 100), min_size=1, max_size=6, unique=True).map(sorted))
def test_percentages_are_of_all_rounded_up_and_only_grow(given_: list[Candidate], percents: list[float]) -> None:
    spec = [{"percent": percent} for percent in percents]
    assert problems(spec) == []
    ends = [percent_of(len(given_), percent=percent) for percent in percents]
    assert ends == sorted(ends)
    touched, found = 0, set()
    for wave in divide(given_, spec=spec).waves:
        touched += len(wave)
        found.add(touched)
    assert found == {end for end in [*ends, len(given_)] if end}


@given(st.integers(1, 2000), st.integers(2, 12))
def test_by_risk_one_goes_first_and_waves_only_grow(count: int, waves_: int) -> None:
    found = sizes(many(count), {"by": "risk", "waves": waves_})
    assert found[0] == 1
    assert len(found) <= waves_
    assert sum(found) == count


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ([{"count": 1}, {"percent": 10}, {"percent": 100}], [1, 19, 180]),
        ([{"count": 3}], [3, 197]),
        ([{"percent": 0.1}, {"percent": 7}], [1, 13, 186]),
        ({"by": "risk", "waves": 3}, [1, 14, 185]),
        ({"by": "risk", "waves": 1}, [200]),
        ([{"percent": 100}, {"targets": ["t000"]}], [199, 1]),
        ([{"count": 10}, {"percent": 2}, {"percent": 100}], [10, 190]),
    ],
)
def test_two_hundred_targets_divide(spec: Any, expected: list[int]) -> None:
    assert sizes(many(200), spec) == expected


def test_a_percentage_is_exact() -> None:
    assert percent_of(100, percent=7) == 7, "in binary 7 % of 100 are a little more, and would make 8"
    assert percent_of(3, percent=33.4) == 2


def test_ours_go_first_then_the_small_then_the_alike() -> None:
    ours = Candidate(key="ours", tenant_id="ours", internal=True, size_bytes=1 << 40)
    odd = Candidate(key="odd", tenant_id="odd", size_bytes=1_000_000, alike=0.5)
    alike = Candidate(key="alike", tenant_id="alike", size_bytes=1_000_100)
    small = Candidate(key="small", tenant_id="small", size_bytes=10)
    unknown = Candidate(key="unknown", tenant_id="unknown")
    assert keys([unknown, odd, alike, small, ours], [{"count": 1}, {"count": 2}]) == [
        ["ours"],
        ["small", "alike"],
        ["odd", "unknown"],
    ]


def test_named_targets_wait_for_their_own_wave() -> None:
    spec: Any = [{"count": 2}, {"targets": ["t000", "gone"]}]
    assert keys(many(4), spec) == [["t001", "t002"], ["t000"], ["t003"]]
    assert divide(many(4), spec=spec).missing == ["gone"]


def test_no_candidates_make_no_waves() -> None:
    assert divide([], spec=[{"percent": 10}]).waves == []
    assert divide([], spec={"by": "risk", "waves": 3}).waves == []


@pytest.mark.parametrize(
    ("spec", "at"),
    [
        (None, [""]),
        ("all", [""]),
        ([], [""]),
        ([{"count": 1}] * (waves.MOST_WAVES + 1), [""]),
        ([3], ["/0"]),
        ([{}], ["/0"]),
        ([{"count": 1, "percent": 5}], ["/0"]),
        ([{"count": 0}], ["/0/count"]),
        ([{"count": True}], ["/0/count"]),
        ([{"percent": 0}, {"percent": 101}, {"percent": "5"}], ["/0/percent", "/1/percent", "/2/percent"]),
        ([{"percent": float("nan")}], ["/0/percent"]),
        ([{"percent": 50}, {"count": 1}, {"percent": 50}], ["/2/percent"]),
        ([{"targets": "acme"}, {"targets": []}], ["/0/targets", "/1/targets"]),
        ([{"targets": ["acme", 7]}], ["/0/targets/1"]),
        ([{"targets": ["acme"]}, {"targets": ["globex", "acme"]}], ["/1/targets/1"]),
        ([{"size/of": 3}], ["/0/size~1of"]),
        ({"by": "size", "waves": 3}, ["/by"]),
        ({"by": "risk"}, ["/waves"]),
        ({"by": "risk", "waves": 3, "first": "acme"}, ["/first"]),
    ],
)
def test_what_is_wrong_is_named_with_its_place(spec: Any, at: list[str]) -> None:
    found = problems(spec)
    assert [pointer for pointer, _ in found] == at
    assert all(right.startswith(("must", "is no field")) for _, right in found)

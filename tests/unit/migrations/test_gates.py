"""What gates say: figures made by hand, the edges too."""

from __future__ import annotations

import pytest

from apps.migrations import gates
from apps.migrations.definition import FailureRate
from apps.migrations.gates import Counts, Found, Verdict

RULE = FailureRate(above_baseline=0.05, at_least=20, when_few="succeed")
UNSURE = FailureRate(above_baseline=0.05, at_least=20, when_few="inconclusive")


# Attempts since the wave began that ended/failed, before it, what is to be said.
RATES = """
20/1     100/0     succeed       exactly so much above a baseline of zero as is allowed
20/2     100/0     fail          a failure more
100/5    0/0       succeed       nobody knows a baseline: it counts as zero
100/6    0/0       fail          and a failure more is one too many
100/25   100/20    succeed       exactly so much above a bad baseline
100/26   100/20    fail          a failure more
100/1    100/50    succeed       better than before
20/20    20/20     succeed       as bad as it ever was
20/20    100/94    fail          all fail now
0/0      100/0     succeed       nothing ended: too few to tell
19/19    100/0     succeed       one short of what it takes to tell, and all of them failed
"""


@pytest.mark.parametrize("line", [line for line in RATES.split("\n") if line])
def test_the_rate_of_failures_is_judged_as_the_table_says(line: str) -> None:
    now, before, verdict, _ = line.split(maxsplit=3)
    ended, failed = (int(part) for part in now.split("/"))
    ended_before, failed_before = (int(part) for part in before.split("/"))
    found = gates.failure_rate(Counts(ended, failed), baseline=Counts(ended_before, failed_before), rule=RULE)
    assert found.verdict.value == verdict
    assert (found.facts["ended"], found.facts["failed"]) == (ended, failed)


@pytest.mark.parametrize("ended", [0, 1, 19])
def test_too_few_attempts_are_what_the_definition_takes_them_for(ended: int) -> None:
    lenient = gates.failure_rate(Counts(ended, ended), baseline=Counts(0, 0), rule=RULE)
    strict = gates.failure_rate(Counts(ended, ended), baseline=Counts(0, 0), rule=UNSURE)
    assert (lenient.verdict, lenient.why) == (Verdict.SUCCEED, None)
    assert strict.verdict is Verdict.INCONCLUSIVE
    assert strict.why == f"only {ended} of the 20 attempts it takes to tell"
    assert lenient.facts["few"] is strict.facts["few"] is True


def test_enough_attempts_are_judged_by_strict_and_lenient_alike() -> None:
    for rule in (RULE, UNSURE):
        found = gates.failure_rate(Counts(20, 5), baseline=Counts(200, 0), rule=rule)
        assert found.verdict is Verdict.FAIL
        assert found.why == "5 of 20 attempts failed, 0.0% did before"
        assert "few" not in found.facts


def test_the_rate_of_nothing_is_zero_and_not_an_error() -> None:
    assert Counts(0, 0).rate == 0.0


# Component standings now, before, what is to be said.
STANDINGS: list[tuple[str, dict[str, str], dict[str, str], Verdict]] = [
    ("nobody reports", {}, {}, Verdict.SUCCEED),
    ("all are up", {"api": "up", "db": "up"}, {"api": "up", "db": "up"}, Verdict.SUCCEED),
    ("one is degraded that was up", {"api": "degraded"}, {"api": "up"}, Verdict.FAIL),
    ("one is down that was up", {"api": "down"}, {"api": "up"}, Verdict.FAIL),
    ("one is down that was down before", {"api": "down"}, {"api": "down"}, Verdict.SUCCEED),
    ("one is down that was degraded before", {"api": "down"}, {"api": "degraded"}, Verdict.SUCCEED),
    ("one that nobody knew before is down", {"new": "down"}, {}, Verdict.FAIL),
    ("one was unknown before and is down", {"api": "down"}, {"api": "unknown"}, Verdict.FAIL),
    ("one is unknown", {"api": "unknown"}, {"api": "up"}, Verdict.INCONCLUSIVE),
    ("one is unknown and was so before", {"api": "unknown"}, {"api": "unknown"}, Verdict.INCONCLUSIVE),
    ("one is unknown and another down", {"api": "unknown", "db": "down"}, {}, Verdict.FAIL),
    ("one is in its grace", {"api": "grace"}, {"api": "up"}, Verdict.SUCCEED),
    ("one is paused", {"api": "paused"}, {"api": "up"}, Verdict.SUCCEED),
    ("one is new", {"api": "new"}, {}, Verdict.SUCCEED),
    ("one is gone", {}, {"api": "up"}, Verdict.SUCCEED),
]


@pytest.mark.parametrize(("now", "before", "verdict"), [each[1:] for each in STANDINGS], ids=[s[0] for s in STANDINGS])
def test_health_is_judged_against_what_it_was_before_the_wave(
    now: dict[str, str], before: dict[str, str], verdict: Verdict
) -> None:
    assert gates.health(now, before=before).verdict is verdict


def test_health_names_who_is_not_well_and_whom_nobody_knows() -> None:
    found = gates.health({"b": "down", "a": "degraded", "c": "unknown", "d": "up"}, before={})
    assert found.facts == {"unwell": ["a", "b"], "unknown": ["c"], "components": 4}
    assert found.why == "not well: a, b"
    unsure = gates.health({"c": "unknown"}, before={})
    assert unsure.why == "nobody knows how these are: c"


def test_targets_that_were_alike_must_be_alike_afterwards() -> None:
    same = gates.alike([("acme", "x", "y"), ("globex", "x", "y"), ("initech", "z", "w")])
    assert (same.verdict, same.facts) == (Verdict.SUCCEED, {"differ": []})
    odd = gates.alike([("acme", "x", "y"), ("globex", "x", "q"), ("hooli", "x", "y"), ("initech", "z", "w")])
    assert (odd.verdict, odd.facts) == (Verdict.FAIL, {"differ": ["globex"]})
    assert odd.why == "upgraded, but not like the others: globex"


def test_one_target_alone_is_like_itself_and_none_is_no_difference() -> None:
    assert gates.alike([("acme", "x", "y")]).verdict is Verdict.SUCCEED
    assert gates.alike([]).verdict is Verdict.SUCCEED


def test_of_two_that_differ_somebody_is_odd() -> None:
    found = gates.alike([("acme", "x", "y"), ("globex", "x", "q")])
    assert found.verdict is Verdict.FAIL
    assert len(found.facts["differ"]) == 1


def test_a_check_that_failed_outweighs_one_that_could_not_be_asked() -> None:
    assert gates.check("smoke", failed=[]).verdict is Verdict.SUCCEED
    unsure = gates.check("smoke", failed=[], unknown=["b", "a"])
    assert (unsure.verdict, unsure.why) == (Verdict.INCONCLUSIVE, "check smoke could not be asked of a, b")
    failed = gates.check("smoke", failed=["c"], unknown=["a"])
    assert (failed.gate, failed.verdict, failed.why) == ("smoke", Verdict.FAIL, "check smoke failed for c")
    assert failed.facts == {"failed": ["c"], "unknown": ["a"]}


def _said(*verdicts: str) -> list[Found]:
    return [Found(gate=f"g{number}", verdict=Verdict(word)) for number, word in enumerate(verdicts)]


@pytest.mark.parametrize(
    ("said", "gate", "verdict"),
    [
        ([], "all", Verdict.SUCCEED),
        (["succeed", "succeed"], "all", Verdict.SUCCEED),
        (["inconclusive", "fail", "fail"], "g1", Verdict.FAIL),
        (["succeed", "inconclusive", "inconclusive"], "g1", Verdict.INCONCLUSIVE),
    ],
)
def test_all_together_say_what_the_worst_of_them_says(said: list[str], gate: str, verdict: Verdict) -> None:
    found = gates.overall(_said(*said))
    assert (found.gate, found.verdict) == (gate, verdict)

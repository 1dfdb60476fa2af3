"""Which targets are set aside, and what is said of each."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.migrations import drift
from apps.migrations.drift import Found, Judgement, Reason, differing, judge, likeness

USUAL = {"table customers": "a1", "column customers.id": "b1", "column customers.name": "c1"}


def target(key: str, **changes: object) -> Found:
    usual = Found(key=key, tenant_id=key, version="1.4", digest="sha256:usual", objects=USUAL, size_bytes=8192)
    return replace(usual, **changes)  # type: ignore[arg-type] # a test's own names


def judged(*found: Found, baseline: bool = False) -> Judgement:
    return judge(found, version_from="1.4", version_to="1.5", baseline=baseline)


def reasons(judgement: Judgement) -> dict[str, str]:
    return {each.key: each.reason.value for each in judgement.set_aside}


def test_of_twenty_the_one_that_somebody_changed_is_set_aside_by_the_column() -> None:
    odd = target("odd", digest="sha256:odd", objects={**USUAL, "column customers.nick": "d1"})
    judgement = judged(*(target(f"t{number}") for number in range(19)), odd)
    assert reasons(judgement) == {"odd": "schema_differs"}
    assert judgement.set_aside[0].differs == ["column customers.nick"]
    assert judgement.set_aside[0].digest == "sha256:odd"
    assert (len(judgement.fit), judgement.digest, judgement.warnings) == (19, "sha256:usual", [])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"problem": "unreachable", "version": None, "digest": None}, "unreachable"),
        ({"problem": "schema_absent", "version": None, "digest": None}, "schema_absent"),
        ({"problem": "something_new"}, "unreachable"),
        ({"problem": "version_absent", "version": None}, "version_absent"),
        ({"version": None}, "version_absent"),
        ({"version": "1.3"}, "version_differs"),
        ({"version": "1.5", "digest": "sha256:new"}, "already_there"),
    ],
)
def test_each_reason_has_its_word(changes: dict[str, object], reason: str) -> None:
    judgement = judged(target("acme"), target("globex", **changes))
    assert reasons(judgement) == {"globex": reason}
    assert [each.key for each in judgement.fit] == ["acme"]


def test_a_baseline_takes_who_says_no_version_for_being_where_it_starts_but_not_with_another_schema() -> None:
    silent = target("silent", problem="version_absent", version=None)
    strange = target("strange", problem="version_absent", version=None, digest="sha256:odd", objects={})
    judgement = judged(target("acme"), silent, strange, baseline=True)
    assert [each.key for each in judgement.fit] == ["acme", "silent"]
    assert reasons(judgement) == {"strange": "schema_differs"}


def test_who_is_elsewhere_has_no_say_in_what_is_usual() -> None:
    there = [target(f"t{number}", version="1.5", digest="sha256:new") for number in range(5)]
    judgement = judged(target("acme"), *there)
    assert (judgement.digest, [each.key for each in judgement.fit]) == ("sha256:usual", ["acme"])


def test_without_a_majority_nobody_is_set_aside_and_the_plan_says_so() -> None:
    judgement = judged(target("acme"), target("globex", digest="sha256:odd", objects={}))
    assert (len(judgement.fit), judgement.digest) == (2, None)
    assert "no schema is had by more than half of the 2 targets" in judgement.warnings[0]


def test_who_has_no_schema_goes_by_its_word() -> None:
    module = target("module", digest=None, objects=None)
    assert judged(module).fit == [module]
    assert judged(module, target("acme"), target("globex")).set_aside == []


def test_what_differs_is_missing_more_or_otherwise() -> None:
    changed = {"table customers": "a2", "column customers.id": "b1", "view v": "e1"}
    assert differing(USUAL, changed) == ["column customers.name", "table customers", "view v"]
    many = {f"column t.c{number:04}": "x" for number in range(150)}
    assert differing({}, many)[-1] == "and 50 more"
    assert len(differing({}, many)) == drift.MOST_NAMED + 1


def test_likeness_counts_what_is_as_most_have_it() -> None:
    odd = target("odd", digest="sha256:odd", objects={**USUAL, "view v": "e1"})
    assert likeness([target("acme"), target("globex"), odd]) == {"acme": 1.0, "globex": 1.0, "odd": 0.75}
    assert likeness([target("module", digest=None, objects=None)]) == {"module": 1.0}


found = st.builds(
    Found,
    key=st.uuids().map(str),
    tenant_id=st.just("acme"),
    version=st.sampled_from([None, "1.3", "1.4", "1.4", "1.5"]),
    digest=st.sampled_from([None, "one", "one", "other"]),
    problem=st.sampled_from([None, None, None, *(reason.value for reason in Reason)]),
)


@given(st.lists(found, max_size=40, unique_by=lambda each: each.key), st.booleans())
def test_each_is_fit_or_set_aside_and_only_who_is_at_the_start_is_fit(several: list[Found], baseline: bool) -> None:
    judgement = judge(several, version_from="1.4", version_to="1.5", baseline=baseline)
    assert sorted([*(each.key for each in judgement.fit), *reasons(judgement)]) == sorted(each.key for each in several)
    for each in judgement.fit:
        assert each.version == "1.4" or (baseline and each.version is None)
        assert judgement.digest in {None, each.digest} or each.digest is None

"""What was different when it went wrong."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from apps.core.digests import digest_of
from apps.tickets.diff import Run, between, same

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


def run(**values: Any) -> Run:
    return Run(**{"job_id": "1", "finished_at": None, **values})


def changes(good: Run, bad: Run) -> list[tuple[str, Any, Any]]:
    return [(each.field, each.good, each.bad) for each in between(good=good, bad=bad)]


def test_each_thing_that_differs_is_named_by_its_place() -> None:
    good = run(
        params={"a": {"x": [1, 2]}, "gone": 1, "k": "v"}, contract="kpi@3", worker="w1", inputs={"i": "sha256:1"}
    )
    bad = run(
        params={"a": {"x": [1, 3]}, "new": None, "k": "v"}, contract="kpi@4", worker="w1", inputs={"i": "sha256:2"}
    )
    assert changes(good, bad) == [
        ("params.a.x[1]", 2, 3),
        ("params.gone", 1, None),
        ("contract", "kpi@3", "kpi@4"),
        ("inputs.i", "sha256:1", "sha256:2"),
    ]
    assert "worker" in same(good=good, bad=bad)
    assert "params" not in same(good=good, bad=bad)


def test_what_is_long_is_told_by_its_digest() -> None:
    long = "SELECT " + "x" * 300
    assert changes(run(params={"sql": "SELECT 1"}), run(params={"sql": long})) == [
        ("params.sql", "SELECT 1", digest_of(long))
    ]
    many = {"list": list(range(500))}
    ((_, good, bad),) = changes(run(params=many), run(params={"list": []}))
    assert (good, bad) == (digest_of(many["list"]), [])


def test_a_number_is_no_text_and_no_truth() -> None:
    assert changes(run(params={"n": 1}), run(params={"n": True})) == [("params.n", 1, True)]
    assert changes(run(params={"n": 1}), run(params={"n": "1"})) == [("params.n", 1, "1")]


@given(JSON)
def test_a_run_does_not_differ_from_itself(params: Any) -> None:
    one = run(params={"p": params})
    assert changes(one, one) == []


@given(JSON, JSON)
def test_two_that_differ_are_never_told_as_the_same(good: Any, bad: Any) -> None:
    found = changes(run(params={"p": good}), run(params={"p": bad}))
    # A name that is missing and one that holds nothing read the same, at any depth.
    assert bool(found) == (_without_nothing(good) != _without_nothing(bad))


def _without_nothing(value: Any) -> Any:
    """Return a value as text, in which a number is no truth, and what a name holds is left out where it is nothing."""
    if isinstance(value, dict):
        kept = {name: each for name, each in value.items() if each is not None}
        return {name: _without_nothing(kept[name]) for name in sorted(kept)}
    return [_without_nothing(each) for each in value] if isinstance(value, list) else repr(value)


def test_at_most_a_hundred_changes_are_told() -> None:
    assert len(changes(run(params={str(n): n for n in range(500)}), run())) == 100

"""Plans compiled from a contract's text, their references, and what their steps' ends make of the whole."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from apps.jobs import plans
from apps.jobs.plans import BadPlanError, StepEnd, UnresolvedError

INGEST = {"name": "ingest", "type": "ingest.file", "params": {"source": "a.csv", "dataset": "a"}}
RESULT = {"artifacts": [{"name": "dataset", "uri": "file:///a", "digest": "sha256:1", "rows": 3}]}


def step(name: str = "check", **more: Any) -> dict[str, Any]:
    return {"name": name, "type": "ops.noop", **more}


def compiled(*steps: Any) -> list[plans.Step]:
    return plans.compile_plan({"plan": {"steps": list(steps)}})


def test_both_forms_of_a_contract_make_the_same_steps() -> None:
    plan = {"steps": [INGEST, step(needs=["ingest"], rule="all_done", required=False, timeout_s=5)]}
    made = plans.compile_plan({"plan": plan})
    assert made == plans.compile_plan({"customProperties": [{"property": "x"}, {"property": "plan", "value": plan}]})
    assert [each.kept()["rule"] for each in made] == ["all_success", "all_done"]
    assert (made[1].needs, made[1].required, made[1].timeout_s) == (["ingest"], False, 5)


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({}, "it has no plan"),
        ({"customProperties": "x"}, "it has no plan"),
        ({"plan": {"steps": []}}, "plan.steps must be"),
        ({"plan": {"steps": [step()] * 51}}, "plan.steps must be"),
        ({"plan": {"steps": [step(nedes=[])]}}, "plan.steps.0.nedes is not known"),
        ({"plan": {"steps": [step(rule="maybe")]}}, "plan.steps.0.rule must be one of"),
        ({"plan": {"steps": [step(), step()]}}, "two steps are called 'check'"),
        ({"plan": {"steps": [step(needs=["check"])]}}, "needs 'check', which is no step before it"),
        ({"plan": {"steps": [step("a", needs=["b"]), step("b")]}}, "needs 'b', which is no step before it"),
        ({"plan": {"steps": [INGEST, step(params={"x": "${steps.ingest.artifacts.dataset}"})]}}, "in its needs"),
        ({"plan": {"steps": [INGEST, step(needs=["ingest"], params={"x": ["a ${steps.ingest}"]})]}}, "params.x.0"),
        (
            {
                "plan": {
                    "steps": [
                        INGEST,
                        step(needs=["ingest"], rule="always", params={"x": "${steps.ingest.artifacts.a}"}),
                    ]
                }
            },
            "waits for nothing",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_plan_that_cannot_run_is_refused_by_what_is_wrong(document: Any, said: str) -> None:
    with pytest.raises(BadPlanError) as raised:
        plans.compile_plan(document)
    assert said in str(raised.value)


def test_a_reference_is_the_whole_value_and_becomes_a_uri_or_digest() -> None:
    params = {
        "inputs": {"t": "${steps.ingest.artifacts.dataset}", "u": "${steps.ingest.artifacts.dataset.uri}"},
        "of": ["${steps.ingest.artifacts.dataset.digest}", 1, "$plain"],
    }
    assert [each.path for each in plans.references(params)] == ["/inputs/t", "/inputs/u", "/of/0"]
    made = plans.resolved(params, {"ingest": RESULT})
    assert made == {"inputs": {"t": "file:///a", "u": "file:///a"}, "of": ["sha256:1", 1, "$plain"]}


@pytest.mark.parametrize("results", [{}, {"ingest": None}, {"ingest": {"artifacts": []}}])
def test_a_reference_to_what_was_not_made_is_named(results: Any) -> None:
    with pytest.raises(UnresolvedError, match="step 'ingest' recorded no artifact 'dataset'"):
        plans.resolved({"x": "${steps.ingest.artifacts.dataset}"}, results)


def at(minute: int) -> datetime:
    return datetime(2026, 1, 1, 0, minute, tzinfo=UTC)


def end(name: str, outcome: str | None, reason: str | None = None, minute: int = 0, required: bool = True) -> StepEnd:
    return StepEnd(name, required, outcome, reason, at(minute))


@pytest.mark.parametrize(
    ("steps", "failed"),
    [
        ([end("a", "succeeded")], None),
        ([end("a", "succeeded"), end("b", "failed", required=False)], None),
        ([end("a", "succeeded"), end("b", "cancelled", "skipped")], None),
        ([end("a", "failed", minute=2), end("b", "timed_out", minute=1)], "b"),
        ([end("a", "failed", minute=2), end("b", "cancelled", "upstream_failed", minute=1)], "a"),
        ([end("x", "failed", required=False), end("b", "cancelled", "upstream_failed")], "b"),
        ([end("a", "cancelled", "cancelled")], "a"),
        ([end("a", "rejected")], "a"),
    ],
)
def test_how_a_plan_ends_and_which_step_it_names(steps: list[StepEnd], failed: str | None) -> None:
    over = plans.ended(steps)
    assert over is not None
    assert (over.failed and over.failed.name) == failed
    assert plans.ended([*steps, end("open", None)]) is None, "a step that is not over decides nothing yet"

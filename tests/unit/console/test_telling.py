"""A job's story in words: no ending, gate or status is left without any, and nothing is dumped on a reader."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from apps.console import telling
from apps.jobs import events
from apps.jobs.gates import GATES
from apps.jobs.glances import ByHand
from apps.jobs.lifecycle import Ending

AT = datetime(2026, 1, 31, 12, tzinfo=UTC)
NOON = "2026-01-31T12:00:00Z"


def attempt(fence: int, ending: str, **more: Any) -> Any:
    values = {"finished_at": AT, "number": fence, "noticed_by": "worker", "late_at": None, "late_ending": None}
    return SimpleNamespace(fence=fence, ending=ending, **{**values, **more})


@pytest.mark.parametrize("ending", list(Ending))
def test_every_ending_has_its_sentence(ending: Ending) -> None:
    (moment,) = telling.timeline([{"at": NOON, "what": ending.value, "attempt": 2}])
    assert ending.value in telling.ENDINGS
    assert not {"{", "_"} & set(moment.title)


@pytest.mark.parametrize("ending", sorted(set(Ending) - {"succeeded", "cancelled", "expired"}))
def test_every_ending_that_is_followed_by_another_try_says_what_was_done_and_what_it_cost(ending: Ending) -> None:
    told = telling.recoveries([attempt(1, ending), attempt(2, "succeeded")], over=True)
    assert [each.happened for each in told] == [telling.ENDINGS[ending].format(attempt=1)]
    assert told[0].done
    assert told[0].cost in {"one attempt", "no attempt"}


def test_costs_are_those_of_the_lifecycle() -> None:
    from apps.jobs.lifecycle import COSTS_ATTEMPT  # noqa: PLC0415 - beside its use

    costing = {ending for ending, (_, cost) in telling.RECOVERED.items() if cost == "one attempt"}
    assert costing == {ending.value for ending in COSTS_ATTEMPT} & set(telling.RECOVERED)


def test_the_end_of_a_job_that_is_over_was_not_recovered_from() -> None:
    assert telling.recoveries([attempt(1, "failed")], over=True) == []
    assert len(telling.recoveries([attempt(1, "failed")], over=False)) == 1


def test_a_report_that_came_too_late_is_told() -> None:
    late = attempt(1, "worker_lost", late_at=AT, late_ending="succeeded")
    happened = [each.happened for each in telling.recoveries([late, attempt(2, "succeeded")], over=True)]
    assert happened == ["The worker of attempt 1 was lost", "A worker that no longer held it reported: succeeded"]


def test_what_was_done_by_hand_stands_in_its_place() -> None:
    items = [{"at": NOON, "what": "submitted", "by": "a", "trigger": "user"}]
    by_hand = [
        ByHand(events.RESUBMITTED, AT.replace(hour=14), "b", None),
        ByHand(events.REPRIORITIZED, AT.replace(hour=13), "c", "high"),
    ]
    titles = [each.title for each in telling.timeline(items, by_hand=by_hand)]
    assert titles == ["Submitted by a", "c moved it to priority high", "b had it run again"]


def test_who_decided_what_is_told() -> None:
    said = {"at": NOON, "what": "decided", "point": "governance", "allowed": False, "reason_code": "contract_required"}
    titles = [
        telling.timeline([{**said, "action": f"operations.{each}"}])[0].title
        for each in ("submit", "dispatch", "continue")
    ]
    assert titles == [
        "Governance refused its submission",
        "Governance refused its start",
        "Governance refused that it goes on",
    ]


@pytest.mark.parametrize("gate", [gate.name for gate in GATES])
def test_every_gate_can_be_waited_for(gate: str) -> None:
    ((seconds, what),) = telling.waited([{"gate": gate, "seconds": 2.0}])
    assert seconds == 2.0
    assert "_" not in what


def test_waits_of_one_kind_are_added_up_and_the_longest_comes_first() -> None:
    parts = [("turn", 0.5), ("retry_pause", 2.0), ("turn", 0.75), ("paused", 0.0001)]
    told = telling.waited([{"gate": gate, "seconds": seconds} for gate, seconds in parts])
    assert told == [(2.0, "the pause before another attempt"), (1.25, "its turn")]


def test_values_are_laid_flat() -> None:
    value = {"source": {"table": "rain", "keys": ["a", "b"]}, "steps": [{"n": 1}], "dry": True, "none": None, "no": {}}
    assert telling.flat(value) == [
        ("source.table", "rain"),
        ("source.keys", "a, b"),
        ("steps 1.n", "1"),
        ("dry", "yes"),
        ("none", "none"),
        ("no", "none"),
    ]


def test_a_long_value_is_cut_and_says_so() -> None:
    told = telling.flat({str(n): n for n in range(300)}, most=200)
    assert len(told) == 201
    assert told[-1] == ("…", "and 100 more")

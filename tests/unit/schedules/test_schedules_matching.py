"""Which events meet a trigger, and how its placeholders are filled."""

from __future__ import annotations

from typing import Any

import pytest

from apps.schedules import matching

EVENT = {"id": "e1", "type": "operations.job.completed", "subject": "j1", "data": {"attempt": 2, "by": "${event.id}"}}


@pytest.mark.parametrize(
    ("pattern", "fits"),
    [
        ("operations.job.completed", True),
        ("operations.job.*", True),
        ("operations.*", True),
        ("operations.job.complete", False),
        ("operations.jo.*", False),
        ("operations.job.failed", False),
    ],
)
def test_types(pattern: str, fits: bool) -> None:
    assert matching.type_fits(pattern, "operations.job.completed") is fits


@pytest.mark.parametrize(
    ("conditions", "fits"),
    [
        ({}, True),
        ({"data.attempt": 2, "subject": "j1"}, True),
        ({"data.attempt": [1, 2]}, True),
        ({"data.attempt": 3}, False),
        ({"data.attempt": "2"}, False),
        ({"data.missing": None}, True),
        ({"data.missing": 1}, False),
        ({"data.attempt": True}, False),
    ],
)
def test_conditions(conditions: dict[str, Any], fits: bool) -> None:
    assert matching.fits(conditions, EVENT) is fits


def test_a_whole_placeholder_keeps_its_kind_and_what_is_filled_in_is_final() -> None:
    text = "job ${event.subject} x${event.data.attempt}"
    template = {"n": "${event.data.attempt}", "text": text, "l": [1, "${event.data.by}"]}
    assert matching.filled(template, event=EVENT) == {"n": 2, "text": "job j1 x2", "l": [1, "${event.id}"]}


def test_what_is_not_there_is_told() -> None:
    with pytest.raises(matching.UnresolvedError):
        matching.filled({"x": "${event.data.nothing}"}, event=EVENT)


def test_placeholders_are_strict() -> None:
    assert matching.bad_placeholders({"a": ["${event.subject}", "${event.data.a.b}"]}) == []
    for bad in ("${subject}", "${event.secret}", "${event.data}", "${}", "${event.subject", "${event.data.__x.}"):
        assert matching.bad_placeholders([bad]), bad

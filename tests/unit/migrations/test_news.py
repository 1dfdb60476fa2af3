"""What each of a migration's events means to people; every one of the whole list has a meaning, and one trouble one."""

from __future__ import annotations

from typing import Any

import pytest

from apps.migrations import events
from apps.migrations.news import HEARD, Meaning, meaning, sentence

BASE: dict[str, Any] = {"name": "crm", "version_from": "1.4", "version_to": "1.5", "wave": 0, "by": "plane"}


@pytest.mark.parametrize(
    ("kind", "data", "means"),
    [
        (events.STALLED, {}, Meaning.TROUBLE),
        (events.PAUSED, {"reason": "stalled"}, Meaning.NOTHING),
        (events.PAUSED, {"reason": "wave_reverted"}, Meaning.NOTHING),
        (events.PAUSED, {"reason": "gate_failed"}, Meaning.TROUBLE),
        (events.PAUSED, {"reason": "internal_error"}, Meaning.TROUBLE),
        (events.PAUSED, {"reason": "asked", "by": "olga"}, Meaning.NOTHING),
        (events.REVERTING, {"reason": "stalled"}, Meaning.NOTHING),
        (events.REVERTING, {"reason": "gate_failed"}, Meaning.TROUBLE),
        (events.REVERTING, {"reason": "asked", "by": "olga"}, Meaning.NOTHING),
        (events.INCONCLUSIVE, {"reason": "few_jobs"}, Meaning.QUESTION),
        (events.FAILED, {"reason": "plan_changed", "wave": None}, Meaning.NOT_BEGUN),
        (events.FAILED, {"reason": "revert_failed"}, Meaning.TROUBLE),
        (events.FAILED, {"reason": "aborted"}, Meaning.GIVEN_UP),
        (events.FAILED, {"reason": "aborted", "wave": None}, Meaning.GIVEN_UP),
        (events.ABORTING, {"by": "olga"}, Meaning.GIVEN_UP),
        (events.RESUMED, {"by": "olga"}, Meaning.GOES_ON),
        (events.COMPLETED, {}, Meaning.WELL),
        (events.REVERTED, {}, Meaning.WELL),
        (events.STARTED, {}, Meaning.NOTHING),
        (events.WAVE_FAILED, {}, Meaning.NOTHING),
    ],
)
def test_what_an_event_means(kind: str, data: dict[str, Any], means: Meaning) -> None:
    assert meaning(kind, {**BASE, **data}) is means


def test_what_is_not_heard_means_nothing() -> None:
    silent = set(events.ALL) - set(HEARD)
    assert {meaning(kind, BASE) for kind in silent} == {Meaning.NOTHING}
    assert all(meaning(kind, {**BASE, "reason": "gate_failed"}) is not Meaning.NOTHING for kind in HEARD)


@pytest.mark.parametrize("kind", HEARD)
def test_a_sentence_names_the_migration_and_no_target(kind: str) -> None:
    said = sentence(kind, {**BASE, "reason": "gate_failed", "target": "globex", "step": "fill"})
    assert said.startswith("crm 1.4 → 1.5 ")
    assert "globex" not in said

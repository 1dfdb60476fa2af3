"""Whoever reads that a migration stopped reads what to do next."""

from __future__ import annotations

import pytest

from apps.migrations.advice import what_next
from apps.migrations.lifecycle import State

BY_ITSELF = {State.DRAFT, State.RUNNING, State.ABORTING, State.REVERTING, State.REVERTED, State.SUCCEEDED}


@pytest.mark.parametrize("status", State)
def test_what_waits_for_a_person_says_for_what_and_nothing_else_does(status: State) -> None:
    assert (what_next(status=status, reason="sql_23514") is None) == (status in BY_ITSELF)


@pytest.mark.parametrize(
    ("status", "reason", "says"),
    [
        (State.PAUSED, "asked", "resume"),
        (State.PAUSED, "stalled", "retry"),
        (State.PAUSED, "gate_no_orphans", "what the gate saw"),
        (State.PAUSED, "wave_reverted", "retry"),
        (State.PAUSED, "unreachable", "databases answer"),
        (State.PAUSED, "internal_error", "migrator's log"),
        (State.PAUSED, "no_targets", "abort it, then ask again"),
        (State.PAUSED, "sql_23514", "the step's job says"),
        (State.INCONCLUSIVE, "gate_failure_rate", "resume is the verdict"),
        (State.INCONCLUSIVE, "old_version_alive", "old version"),
        (State.FAILED, "aborted", "revert"),
        (State.FAILED, "revert_failed", "stuck"),
        (State.FAILED, "no_targets", "set aside"),
        (State.FAILED, "lint_errors", "migration_lint"),
    ],
)
def test_each_reason_has_its_way_on(status: State, reason: str, says: str) -> None:
    assert says in (what_next(status=status, reason=reason) or "")


def test_no_way_back_is_offered_where_every_target_was_set_aside() -> None:
    assert "revert" not in (what_next(status=State.PAUSED, reason="no_targets") or "")


@pytest.mark.parametrize("status", [State.PAUSED, State.INCONCLUSIVE])
def test_the_way_back_is_offered_until_the_contract_phase_has_begun(status: State) -> None:
    assert "or revert" in (what_next(status=status, reason="asked") or "")
    forward = what_next(status=status, reason="asked", contracting=True) or ""
    assert "revert" not in forward
    assert "no way back" in forward

"""What a person may do next about a migration that does not go by itself, in a sentence. Pure.

Names nobody: the account's people read it, who may not know the other targets.
"""

from __future__ import annotations

from typing import Final

from apps.migrations.lifecycle import State

_BACK: Final = "or revert, which brings every target back"
_FORWARD: Final = "there is no way back, since its contract phase has begun"
_PAUSED: Final[dict[str, str]] = {
    "asked": "A person paused it: resume lets it go on",
    "stalled": "See what holds its step up (its job's log and progress), then retry",
    "wave_reverted": "Its wave is back at the version before: repair what failed, then retry",
    "old_version_alive": "Upgrade or stop what still reports the old version, then resume",
    "unreachable": "See that its targets' databases answer, and that their secrets are right, then retry",
    "internal_error": "A defect of the plane stopped it: the migrator's log says which; once that is repaired, retry",
    "definition_changed": "Put the folder back as it was planned on every worker, then retry",
    "definition_missing": "Give every worker the definition's folder (OPS_MIGRATIONS), then retry",
}
_FAILED: Final[dict[str, str]] = {
    "aborted": "Its targets stand as they were left: revert brings back what was touched",
    "revert_failed": "See why its stuck targets did not come back, repair them, then revert again",
    "lint_errors": "`manage.py migration_lint` says what is wrong: repair the definition, then ask again",
    "no_targets": "See why each target was set aside; once that is repaired, ask again",
    "plan_changed": "Read the new plan, and ask again with its checksum",
    "target_busy": "Ask again once the other migration is over",
}


def what_next(*, status: State, reason: str | None, begun: bool = True, contracting: bool = False) -> str | None:
    """Return what a person may do next; None where it goes by itself, or is over and well.

    `begun`: a target may have been touched; `contracting`: its contract phase has begun.
    """
    if status is State.AWAITING_APPROVAL:
        return "Somebody other than its author reads the plan and approves it, or aborts it."
    if status is State.INCONCLUSIVE:
        said = _PAUSED.get(reason or "", "Look at what the gate saw: resume is the verdict that the wave may pass")
        return f"{said}; {_FORWARD if contracting else _BACK}."
    if status is State.PAUSED and reason == "no_targets":
        return "Every target was set aside when its turn came: see why each was, abort it, then ask again."
    if status is State.PAUSED:
        said = _PAUSED.get(reason or "") or _stopped(reason or "")
        return f"{said}; {_FORWARD if contracting else _BACK}."
    if status is State.FAILED:
        said = _FAILED.get(reason or "", "See its reason" if begun else "Repair what its reason says, and ask again")
        return f"{said}."
    return None


def _stopped(reason: str) -> str:
    if reason.startswith("gate_"):
        return "Look at what the gate saw and repair it; retry has it judged anew"
    return "Repair what its step met (the step's job says which error), then retry"

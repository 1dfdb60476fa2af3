"""What migrations publish: names and payload shapes. Ids, keys, versions, digests, words of the field; no data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apps.migrations.definition import Risk
from apps.migrations.lifecycle import State

if TYPE_CHECKING:
    from apps.migrations.models import Migration

REQUESTED = "operations.migration.requested"
PLANNED = "operations.migration.planned"
APPROVED = "operations.migration.approved"
STARTED = "operations.migration.started"
WAVE_STARTED = "operations.migration.wave_started"
WAVE_PASSED = "operations.migration.wave_passed"
WAVE_FAILED = "operations.migration.wave_failed"
DRILLED = "operations.migration.drilled"
CONTRACTING = "operations.migration.contracting"
STALLED = "operations.migration.stalled"
PAUSED = "operations.migration.paused"
INCONCLUSIVE = "operations.migration.inconclusive"
RESUMED = "operations.migration.resumed"
ABORTING = "operations.migration.aborting"
REVERTING = "operations.migration.reverting"
REVERTED = "operations.migration.reverted"
COMPLETED = "operations.migration.completed"
FAILED = "operations.migration.failed"
TARGET_SET_ASIDE = "operations.migration.target_set_aside"
TARGET_UPGRADED = "operations.migration.target_upgraded"
TARGET_FAILED = "operations.migration.target_failed"
TARGET_REVERTED = "operations.migration.target_reverted"

_ID: dict[str, Any] = {"type": "string", "format": "uuid"}
_TEXT: dict[str, Any] = {"type": "string"}
_MAYBE: dict[str, Any] = {"type": ["string", "null"]}
_COUNT: dict[str, Any] = {"type": "integer", "minimum": 0}

BASE: dict[str, Any] = {
    "migration_id": _ID,
    "name": {**_TEXT, "description": "the definition's"},
    "module": {**_TEXT, "description": "whose it is"},
    "version_from": _TEXT,
    "version_to": _TEXT,
    "status": {"enum": [state.value for state in State], "description": "the state it is in now"},
    "version": {"type": "integer", "minimum": 1, "description": "grows with every transition"},
    "wave": {"type": ["integer", "null"], "description": "the wave under way"},
    "reason": {**_MAYBE, "description": "why, as a word"},
    "by": {**_TEXT, "description": "the module or person; `plane`: by itself"},
}
OF_TARGET: dict[str, Any] = {
    name: BASE[name] for name in ("migration_id", "name", "module", "version_from", "version_to", "wave", "reason")
} | {
    "target": {**_TEXT, "description": "the tenant, module or environment"},
    "read_version": {**_MAYBE, "description": "the version read back from it"},
    "digest_before": {**_MAYBE, "description": "of its schema"},
    "digest_after": _MAYBE,
}


def _schema(base: dict[str, Any] = BASE, **more: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": list(base),
        "properties": {**base, **more},
    }


# Event type -> (what it says, the shape of its data).
MEANINGS: dict[str, tuple[str, dict[str, Any]]] = {
    REQUESTED: ("It is asked for, and will be planned.", _schema(dry_run={"type": "boolean"})),
    PLANNED: (
        "Its plan is there: who, in which waves, and who was set aside.",
        _schema(
            dry_run={"type": "boolean"},
            plan_checksum=_TEXT,
            risk={"enum": [risk.value for risk in Risk]},
            approvals_needed=_COUNT,
            targets=_COUNT,
            set_aside=_COUNT,
        ),
    ),
    APPROVED: ("Somebody agreed to its plan.", _schema(plan_checksum=_TEXT, approvals=_COUNT, approvals_needed=_COUNT)),
    STARTED: ("It began.", _schema(plan_checksum=_TEXT, targets=_COUNT)),
    WAVE_STARTED: ("A wave's turn has come.", _schema(stage=_TEXT, targets=_COUNT)),
    WAVE_PASSED: ("A wave's gates let it pass.", _schema(stage=_TEXT, verdict=_TEXT)),
    WAVE_FAILED: ("A target or a gate of the wave failed.", _schema(stage=_TEXT, gate=_MAYBE)),
    DRILLED: ("The first wave went up, down and up again: the way back is known to work.", _schema(targets=_COUNT)),
    CONTRACTING: ("Its contract phase begins: from here on nothing can be taken back.", _schema()),
    STALLED: (
        "A step came no further for as long as its definition allows.",
        _schema(
            target=_TEXT,
            step=_TEXT,
            job_id=_ID,
            done={"type": ["integer", "null"]},
            total={"type": ["integer", "null"]},
            severity=_TEXT,
        ),
    ),
    PAUSED: ("Nothing new begins: a person asked for it, or something failed.", _schema(severity=_TEXT)),
    INCONCLUSIVE: ("A gate cannot tell: a person has to.", _schema(severity=_TEXT)),
    RESUMED: ("It goes on.", _schema(retried=_COUNT)),
    ABORTING: ("What runs is being stopped.", _schema()),
    REVERTING: ("Its targets are brought back.", _schema(scope={**_TEXT, "description": "all, or wave"})),
    REVERTED: ("Every target that was touched is verified back at its version.", _schema()),
    COMPLETED: ("Every target that was not set aside is verified at the new version.", _schema(targets=_COUNT)),
    FAILED: (
        "It ended otherwise: no plan, aborted, or a target that could not be brought back.",
        _schema(severity=_TEXT),
    ),
    TARGET_SET_ASIDE: (
        "A target is no longer what it was when the plan was made: it is left alone.",
        _schema(OF_TARGET),
    ),
    TARGET_UPGRADED: ("A target is verified at the new version.", _schema(OF_TARGET)),
    TARGET_FAILED: ("A step failed at a target, or what was read back is not what it had to be.", _schema(OF_TARGET)),
    TARGET_REVERTED: ("A target is verified back at its old version.", _schema(OF_TARGET)),
}
ALL = tuple(MEANINGS)


def payload(migration: Migration, *, by: str, **more: Any) -> dict[str, Any]:
    """Return the data of an event about a migration as it is now."""
    return {
        "migration_id": str(migration.id),
        "name": migration.name,
        "module": migration.module,
        "version_from": migration.version_from,
        "version_to": migration.version_to,
        "status": migration.status,
        "version": migration.version,
        "wave": migration.wave,
        "reason": migration.reason_code,
        "by": by,
        **more,
    }

"""What health publishes: names and payload shapes. Codes, counts, states; no module's message, no tenant's name."""

from __future__ import annotations

from typing import Any

from apps.health.lifecycle import Status
from apps.health.remedies import Outcome

DEGRADED = "operations.health.degraded"
RECOVERED = "operations.health.recovered"
DISTRUSTED = "operations.health.distrusted"
TRUSTED = "operations.health.trusted"
RECOVERY = "operations.health.recovery"
EXHAUSTED = "operations.health.recovery_exhausted"
ALL = (DEGRADED, RECOVERED, DISTRUSTED, TRUSTED, RECOVERY, EXHAUSTED)

_COMPONENT: dict[str, Any] = {
    "component_id": {"type": "string", "format": "uuid"},
    "module": {"type": "string"},
    "component": {"type": "string"},
    "region": {"type": "string"},
    "classification": {"type": "string"},
}
FLIP_SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": [*_COMPONENT, "status", "previous", "reason", "at", "muted_by", "affected"],
    "properties": {
        **_COMPONENT,
        "status": {"enum": [each.value for each in Status]},
        "previous": {"enum": [each.value for each in Status]},
        "reason": {"type": "string", "description": "a code: timeout, never_seen, failed, lost, stalled, error_rate …"},
        "at": {"type": "string", "description": "when it became true: a deadline, or a signal's time"},
        "muted_by": {
            "type": "array",
            "items": {"type": "string"},
            "description": "module/component of what it depends on and is down: nobody need be told of this one",
        },
        "affected": {
            "type": "object",
            "additionalProperties": False,
            "required": ["tenants", "jobs"],
            "properties": {"tenants": {"type": "integer"}, "jobs": {"type": "integer"}},
            "description": "the blast radius, as counted last: tenants with work there, and their unfinished jobs",
        },
    },
}
TRUST_SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["reason"],
    "properties": {"reason": {"type": "string", "description": "why the plane does not trust its own ears"}},
}
_RECEIPT: dict[str, Any] = {
    **_COMPONENT,
    "receipt_id": {"type": "string", "format": "uuid"},
    "policy": {"type": "string"},
    "action": {"type": "string"},
    "condition": {"type": "object", "description": "how it stood: status, reason, since"},
}
RECOVERY_SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": [*_RECEIPT, "outcome", "proof"],
    "properties": {
        **_RECEIPT,
        "outcome": {"enum": [each.value for each in Outcome]},
        "proof": {"type": "object", "description": "what was done, in counts, and how it stands since"},
    },
}
EXHAUSTED_SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": [*_COMPONENT, "policy", "action", "budget_per_hour", "condition"],
    "properties": {
        **_COMPONENT,
        "policy": {"type": "string"},
        "action": {"type": "string"},
        "budget_per_hour": {"type": "integer"},
        "condition": {"type": "object"},
    },
}

# Event type -> (what it says, the shape of its data).
MEANINGS: dict[str, tuple[str, dict[str, Any]]] = {
    DEGRADED: ("A component is not well: degraded, or down.", FLIP_SCHEMA),
    RECOVERED: ("A component that was not well is up again, or was paused.", FLIP_SCHEMA),
    DISTRUSTED: ("The plane does not trust its own ears: silences read unknown, recovery rests.", TRUST_SCHEMA),
    TRUSTED: ("The plane trusts its ears again.", TRUST_SCHEMA),
    RECOVERY: ("A recovery action is over: its receipt, and whether it helped.", RECOVERY_SCHEMA),
    EXHAUSTED: (
        "A recovery action would be needed again, and its hour's budget is spent: a person's turn.",
        EXHAUSTED_SCHEMA,
    ),
}

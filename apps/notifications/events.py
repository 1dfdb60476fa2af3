"""What notifications publish: names and payload shapes. No summary, no detail, no address."""

from __future__ import annotations

from typing import Any

from apps.notifications.lifecycle import Category, Severity

RAISED = "operations.alert.raised"
ACKNOWLEDGED = "operations.alert.acknowledged"
RESOLVED = "operations.alert.resolved"
UNDELIVERED = "operations.alert.undelivered"
ALL = (RAISED, ACKNOWLEDGED, RESOLVED, UNDELIVERED)

SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["notification_id", "severity", "category", "source", "component", "by"],
    "properties": {
        "notification_id": {"type": "string", "format": "uuid"},
        "severity": {"enum": [each.value for each in Severity]},
        "category": {"enum": [each.value for each in Category]},
        "source": {"type": "string", "description": "the module it is about"},
        "component": {"type": ["string", "null"]},
        "by": {"type": "string", "description": "who said so; `notifications`: the plane itself"},
    },
}

# Event type -> (what it says, the shape of its data).
MEANINGS: dict[str, tuple[str, dict[str, Any]]] = {
    RAISED: ("An alert was raised; repetitions under its key while it is open are not told again.", SCHEMA),
    ACKNOWLEDGED: ("Somebody has taken an alert on: it is not repeated any more.", SCHEMA),
    RESOLVED: ("What an alert was about is over.", SCHEMA),
    UNDELIVERED: ("A notification reached nobody within the time promised.", SCHEMA),
}

"""What webhooks publish of themselves: names and payload shapes. No address, no secret."""

from __future__ import annotations

from typing import Any

from apps.webhooks.lifecycle import Reason

DISABLED = "operations.webhook.disabled"
TEST = "operations.webhook.test"
ALL = (DISABLED, TEST)

DISABLED_SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["webhook_id", "reason", "failing_since", "by"],
    "properties": {
        "webhook_id": {"type": "string", "format": "uuid"},
        "reason": {"enum": [reason.value for reason in Reason]},
        "failing_since": {"type": ["string", "null"], "description": "since when there was nothing but failures"},
        "by": {"type": "string", "description": "who asked; `webhooks`: the plane itself"},
    },
}
TEST_SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["webhook_id", "by"],
    "properties": {
        "webhook_id": {"type": "string", "format": "uuid"},
        "by": {"type": "string", "description": "who asked"},
    },
}

# Event type -> (what it says, the shape of its data).
MEANINGS: dict[str, tuple[str, dict[str, Any]]] = {
    DISABLED: (
        "A webhook is told nothing more: by request, or its receiver is gone or fails.",
        DISABLED_SCHEMA,
    ),
    TEST: ("Somebody tries a webhook; sent to that webhook alone.", TEST_SCHEMA),
}

"""What the evidence log publishes: how its emission goes. Names, sizes and codes; never a statement."""

from __future__ import annotations

from typing import Any

FAILING = "operations.evidence.emission_failing"
RESUMED = "operations.evidence.emission_resumed"
ALL = (FAILING, RESUMED)

SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["region", "emitted", "size", "error"],
    "properties": {
        "region": {"type": "string", "description": "of the log"},
        "emitted": {"type": "integer", "minimum": 0, "description": "records of the log that the sink accepted"},
        "size": {"type": "integer", "minimum": 0, "description": "records that are sealed"},
        "error": {"type": ["string", "null"], "description": "what the sink said, or that it is away"},
    },
}

MEANINGS: dict[str, tuple[str, dict[str, Any]]] = {
    FAILING: ("The evidence sink did not accept a log's records; it is tried again.", SCHEMA),
    RESUMED: ("The evidence sink accepts a log's records again.", SCHEMA),
}

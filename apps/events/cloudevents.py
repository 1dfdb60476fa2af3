"""An event as the world reads it: CloudEvents 1.0, JSON."""

from __future__ import annotations

import json
from typing import Any

import orjson
import structlog

from apps.events.models import Event

log = structlog.get_logger(__name__)

SOURCE = "/operations"


def envelope(event: Event) -> dict[str, Any]:
    """Return `event` as a structured CloudEvent with the extensions `tenantid` and `sequence`."""
    made: dict[str, Any] = {
        "specversion": "1.0",
        "id": str(event.event_id),
        "source": SOURCE,
        "type": event.type,
        "subject": event.subject,
        "time": event.occurred_at.isoformat().replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        "data": event.data,
    }
    if event.tenant_id is not None:
        made["tenantid"] = event.tenant_id
    if event.sequence is not None:
        # CloudEvents' sequence extension is a string that sorts lexicographically.
        made["sequence"] = f"{event.sequence:020d}"
    return made


def encoded(event: Event) -> bytes:
    """Return the event's JSON. Whatever stands in a row must not hold up those behind it, so there is no way to fail.

    PostgreSQL's jsonb keeps numbers of any length, which the quick encoder refuses.
    """
    try:
        return orjson.dumps(envelope(event))
    except orjson.JSONEncodeError as error:
        log.error("event_hard_to_encode", event_id=str(event.event_id), error=str(error))  # noqa: TRY400 - it is told
        return json.dumps(envelope(event), default=str).encode()

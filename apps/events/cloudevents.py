"""An event as the world reads it: CloudEvents 1.0, JSON. Pure."""

from __future__ import annotations

from typing import Any

from apps.events.models import Event

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
